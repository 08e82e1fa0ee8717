// Runs a workload on real threads: start, quiescent audits, watchdog, progress, stop.
//
//   workers      one thread per virtual CPU 0 .. threads-1, each drawing operations from its own
//                stream (op_stream.h) until the time is over, its share is done or a stop is asked
//                for
//   pageout      one thread on CPU number `threads`, which frees pages when memory is short
//   coordinator  the caller of run(), on no CPU: audits, watchdog, clock, progress
//
// At every audit interval, and once at the end, all of them halt between two operations
// (checkpoint.h) and the coordinator runs hat_audit, which includes vm's audit, and the comparison
// with the oracle. Orders of locks that could deadlock are violations: as soon as both orders were
// seen, at the next audit if one was seen that is against the declared places. Workers stay in
// their processes meanwhile if they can, so that an audit sees TLBs in use.
//
// A violation does not return: it goes to the failure handler (platform/check.h). A handler on any
// thread may call the functions marked so; they take no lock of the seam.
//
// While workers run the coordinator takes no lock of the seam either: it must be able to say who is
// stuck. What only a lock gives (TLB counters) is read when nobody runs.
#ifndef HATCHECK_STRESS_RUNNER_H_
#define HATCHECK_STRESS_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "hat/audit.h"
#include "hat/system.h"
#include "platform/observe.h"
#include "stress/checkpoint.h"
#include "stress/op_log.h"
#include "stress/op_stream.h"
#include "stress/options.h"
#include "stress/watchdog.h"
#include "stress/workload.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct OpTotals {
  const char* name = "";
  uint64_t done = 0, nothing = 0, retries = 0;
  uint64_t total() const { return done + nothing + retries; }
};

struct AuditSummary {
  uint64_t count = 0;
  absl::Duration time;  // halts included
  AuditCounts last;
  AuditCounts most;  // the largest seen, field by field
};

struct MemoryCounters {
  int64_t pages = 0, freemem = 0, availrmem = 0, page_tables = 0;
  uint64_t htables_in_reserve = 0, hments_in_reserve = 0;
};

struct RunResult {
  uint64_t operations = 0;
  absl::Duration elapsed;
  bool interrupted = false;
  std::vector<OpTotals> ops;  // operations that were performed at all
  AuditSummary audits;
  HatStatTotals hatstat;
  LockReport locks;
  std::vector<LockEdge> lock_edges;  // set-up included
  uint64_t paged_out = 0;            // by the pageout thread
  // Of a run that came to its end only: they cannot be had while something is broken.
  bool complete = false;
  MachineStats machine;
  MemoryCounters memory;
};

// For the live line.
struct Progress {
  absl::Duration elapsed, left;
  double share_done = 0;  // 0 to 1; of the time or of the operations, whichever is further
  uint64_t operations = 0, audits = 0, steals = 0, shootdowns = 0;
};

class Runner {
 public:
  Runner(const Options& options, const Workload& workload, System& sys, World& world);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Called on the coordinator about four times a second.
  void on_progress(std::function<void(const Progress&)> show) { show_ = std::move(show); }
  // Asked on the coordinator many times a second; true ends the run early.
  void stop_when(std::function<bool()> wanted) { stop_wanted_ = std::move(wanted); }

  // Runs to the end of options.duration or options.ops, whichever is first. Once per Runner.
  RunResult run();

  // ---- Any thread, any time.

  RunResult so_far() const;
  // The last operations of every thread, oldest first.
  std::string recent_operations() const;
  // "unload 0x... (#1234)", or what else the thread on that CPU does.
  std::string current_operation(CpuId cpu) const;
  // Whether the coordinator has found an audit broken: then everybody is parked and hat_dump is
  // safe.
  bool audit_failed() const { return audit_failed_.load(std::memory_order_acquire); }

 private:
  struct Thread;

  void work(Thread& thread);
  void perform(Thread& thread);
  void page_out();
  void wait_for_workers();
  void audit_workers();
  void audit(const char* when);
  void look_after_all();
  static void check_lock_order(bool all);
  absl::Duration elapsed() const;
  Progress progress() const;
  RunResult totals() const;

  const Options options_;
  const Workload& workload_;
  System& sys_;
  World& world_;
  std::function<void(const Progress&)> show_;
  std::function<bool()> stop_wanted_;

  std::vector<std::unique_ptr<Thread>> threads_;  // workers; the last one is the pageout thread
  Checkpoint checkpoint_;
  std::unique_ptr<Watchdog> watchdog_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> audit_failed_{false};
  std::atomic<uint64_t> paged_out_{0};
  std::atomic<int64_t> started_ns_{0};  // on the steady clock; 0 before the start
  std::atomic<int64_t> ended_ns_{0};    // 0 while running
  absl::Duration next_show_;
  bool stopping_ = false;  // time is over, or somebody asked for a stop
  bool interrupted_ = false;

  mutable std::mutex audits_mutex_;
  AuditSummary audits_;  // under audits_mutex_
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_RUNNER_H_
