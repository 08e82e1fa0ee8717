// Runs a workload on real threads: start, quiescent audits, watchdog, progress, stop.
//
// One thread per virtual CPU. At every audit interval all workers park at a barrier between two
// operations, the coordinator runs hat_audit, vm's audit and the oracle's comparison, and lets them go on.
// If no operation ends for `stuck_after`, the run is reported as stuck with what every CPU holds and
// waits for. Ctrl-C ends the run at the next operation boundary; the result is then partial but whole.
#ifndef HATCHECK_STRESS_RUNNER_H_
#define HATCHECK_STRESS_RUNNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "hat/audit.h"
#include "hat/system.h"
#include "stress/options.h"
#include "stress/workload.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct OpTotals {
  const char* name;
  uint64_t done = 0, nothing = 0, retries = 0;
};

struct RunResult {
  uint64_t operations = 0;
  absl::Duration elapsed;
  uint64_t audits = 0;
  AuditCounts last_audit;
  bool interrupted = false;
  std::vector<OpTotals> ops;
  HatStatTotals hatstat;
  uint64_t cross_calls = 0, tlb_fills = 0;
};

// Runs to the end of the options' duration (or ops). A violation does not return: the failure handler
// installed by hatstress writes the evidence and exits with 1.
RunResult run_workload(const Options& options, const Workload& workload, System& sys, World& world);

// The last operations of each thread, newest last: what the evidence folder gets.
std::string recent_operations();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_RUNNER_H_
