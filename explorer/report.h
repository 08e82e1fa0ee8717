// A counterexample as text: a column per thread, a row per line, then the place in the source and
// the locks held. `>>` marks the lines that conflict, `**` the critical step, `>*` both in one.
#ifndef HATCHECK_EXPLORER_REPORT_H_
#define HATCHECK_EXPLORER_REPORT_H_

#include <string>

#include "explorer/counterexample.h"

namespace explorer {

std::string to_text(const Counterexample& example);

// The same for what a search found, with the usual effort.
std::string explain(Program& program, const Options& options, const Result& result);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_REPORT_H_
