// A schedule as a short string: "a12b3c=1" is twelve steps of thread 0, three of thread 1 and one
// of thread 2, whose last step took choice 1. Choice 0 is not written.
#ifndef HATCHECK_EXPLORER_SCHEDULE_H_
#define HATCHECK_EXPLORER_SCHEDULE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "explorer/engine.h"

namespace explorer {

std::string encode(const std::vector<Decision>& schedule);

// Nothing if the text is no schedule for so many threads; `error` says why.
std::optional<std::vector<Decision>> decode(std::string_view text, int threads, std::string* error);

// What the execution at hand did.
std::vector<Decision> schedule_of(const Engine& engine);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SCHEDULE_H_
