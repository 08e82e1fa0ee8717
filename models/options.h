// The command line of the scenario runners.
//
// Flags are Abseil's; each can also be set as HATCHECK_<FLAG> in the environment, which the command
// line overrides. Dashes in names count as underscores, and --context_bound and --iterations are
// other names of --preemptions and --executions. Bad input gives one message with what was
// expected and the nearest valid choice.
#ifndef HATCHECK_MODELS_OPTIONS_H_
#define HATCHECK_MODELS_OPTIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "platform/platform.h"
#include "platform/scenario.h"
#include "platform/search.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct RunnerOptions {
  std::string scenario;  // for select_scenarios
  // Without --search: the engine's own, or `bound` for a scenario that says how many preemptions.
  std::optional<Search> search;
  SearchOptions options;
  std::string json;
  std::string html;
  bool list = false;
  bool help = false;
  bool keep_going = false;
  bool clean_only = false;
  bool test = false;
};

// args: without the program's name.
absl::StatusOr<RunnerOptions> parse_options(const std::vector<std::string>& args);

std::string help_text();

// The scenarios that the text means: for each part between commas the one of that name, or all that
// match it as a pattern, or all whose names begin with it; all for an empty text. An error names
// the nearest if there is none.
absl::StatusOr<std::vector<AnyScenario>> select_scenarios(const std::vector<AnyScenario>& all,
                                                          const std::string& text);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_OPTIONS_H_
