// explain(): a violation as text, from a replay of its schedule.
//
// One line per step and per access to a plain variable that matters, in a column per thread: what
// was done to what, with the value, the place in the source, and the locks held. The accesses that
// conflict are marked.
#ifndef HATCHECK_EXPLORER_REPORT_H_
#define HATCHECK_EXPLORER_REPORT_H_

#include <string>

#include "explorer/search.h"

namespace explorer {

// What the search found. Replays result.schedule with the engine options of the search; says so if
// the replay ends differently (a nondeterministic scenario).
std::string explain(Program& program, const Options& options, const Result& result);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_REPORT_H_
