// Counterexample: an execution that violates something, in the form that reports print.
//
// A line per step, and per access to a plain variable that more than one thread uses: what was done
// to what, with which value, where in the source, and which locks the thread holds then.
#ifndef HATCHECK_EXPLORER_COUNTEREXAMPLE_H_
#define HATCHECK_EXPLORER_COUNTEREXAMPLE_H_

#include <string>
#include <vector>

#include "explorer/search.h"
#include "explorer/shrink.h"

namespace explorer {

struct Line {
  int thread = 0;
  int step = -1;      // which one of the schedule, from 0; -1 for what is none
  std::string what;   // "enter mlist[0]", "write page 7.p_share"
  std::string value;  // "3", "0 -> 1", or ""
  Site site;
  std::string source;  // the line there, "" if it could not be read
  std::vector<std::string> holds;
  bool conflict = false;  // one of the two that conflict
  bool critical = false;  // Shrunk::critical
};

struct Counterexample {
  std::string scenario;
  int threads = 0;
  Finding finding;
  Shrunk shrunk;
  // Why there are no lines: the finding is of no one execution, or does not come again.
  std::string problem;
  std::vector<Line> lines;
};

// Reduces what the search found (shrink.h) and replays it.
Counterexample counterexample(Program& program, const Options& options, const Result& result,
                              const Effort& effort);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_COUNTEREXAMPLE_H_
