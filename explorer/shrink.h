// shrink(): the simplest schedule that leads to the same kind of finding, and its critical step.
//
// Simplest: with the fewest preemptions, that is switches away from a thread that could go on. The
// schedule found is reduced first, by running parts of a thread that are apart in one piece as long
// as the finding stays. Then all schedules without preemptions are searched, with one, and so on:
// the first finding is proved to have the fewest.
//
// Critical step: some schedule that begins like this one, up to this step, still succeeds; none
// does that goes on with this step. Found by searching on from beginnings of the schedule; that
// none succeeds is shown by all continuations (one of each trace).
//
// Both searches stop after so many steps (Effort) and then say less. They are deterministic.
#ifndef HATCHECK_EXPLORER_SHRINK_H_
#define HATCHECK_EXPLORER_SHRINK_H_

#include <cstdint>
#include <string>

#include "explorer/search.h"

namespace explorer {

// In steps of executions; 0: not at all. With `fewest` 0 the schedule stays as it is.
struct Effort {
  uint64_t fewest = 3'000'000;
  uint64_t critical = 3'000'000;
};

struct Shrunk {
  std::string schedule;
  int steps = 0;
  int preemptions = -1;   // -1: it could not be repeated
  bool fewest = false;    // proved
  uint64_t searched = 0;  // executions it took
  enum class Critical : uint8_t {
    kUnknown,  // not sought, or the effort did not suffice: it is one of [critical, until), or,
               // if `critical` is -1, there may be none
    kStep,     // it is step `critical`, from 0
    kNone,     // every schedule of the scenario fails
  };
  Critical critical_is = Critical::kUnknown;
  int critical = 0;
  int until = 0;
  uint64_t continuations = 0;  // executions it took
};

Shrunk shrink(Program& program, const EngineOptions& options, const Result& result,
              const Effort& effort);

// "2 preemptions, the fewest there can be (134 executions searched)" and what is known of the
// critical step, a sentence each.
std::string about_preemptions(const Shrunk& shrunk);
std::string about_critical_step(const Shrunk& shrunk);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SHRINK_H_
