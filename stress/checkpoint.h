// Checkpoint: brings every stress thread to a halt between two operations, so that an audit can
// look at a system in which nobody is inside the HAT.
//
// Guarantee. After wait_parked() has returned true, and until resume(), no worker is in an
// operation, the pageout thread frees nothing, and all they did happens before whatever the
// coordinator does.
//
// What makes a halt hard is that a worker may have to wait for another one to end its operation:
//
//   - close() of a slot waits until its residents have left, enter() until the slot is open again.
//     A parked worker may be such a resident. It therefore stays where it is (its TLB, full of that
//     process, is what the audit wants to see) only as long as nobody closes the slot: while others
//     still run it looks every few milliseconds, and moves out if asked to. To leave it needs
//     nothing that another parked thread has. Once all are parked nobody can begin to close.
//   - an operation may sleep for memory, which the pageout thread provides. So that thread goes on
//     until every worker has parked, and parks last.
//   - a worker that has done its share ends without waiting for anybody, resident nowhere.
//
//   worker    running -> parked <-> moving out;  running -> ended
//   pageout   working -> parked, only while all workers that have not ended are parked
//
// Thread safety: park() and worker_ends() are for workers, pageout_waits() for the pageout thread,
// the rest for the coordinator. One mutex, and nothing is called with it held but must_move(),
// which must not take locks.
#ifndef HATCHECK_STRESS_CHECKPOINT_H_
#define HATCHECK_STRESS_CHECKPOINT_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class Checkpoint {
 public:
  explicit Checkpoint(uint32_t workers) : running_(workers) {}
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  // ---- Workers.

  // Whether to park before the next operation. Costs one load.
  bool wanted() const { return wanted_.load(std::memory_order_relaxed); }
  // Returns when the coordinator resumes. must_move() says whether this worker is in somebody's
  // way; if so it stops counting as parked, move() is called with nothing locked, and it parks
  // again.
  void park(absl::FunctionRef<bool()> must_move, absl::FunctionRef<void()> move);
  // This worker performs no further operation.
  void worker_ends();

  // ---- The pageout thread.

  // Sleeps for `at_most`, or parks for as long as a halt lasts. False when the run is over.
  bool pageout_waits(std::chrono::milliseconds at_most);

  // ---- The coordinator.

  void request();
  // Waits for `at_most`; true if everybody is parked.
  bool wait_parked(std::chrono::milliseconds at_most);
  // Precondition: wait_parked() has returned true since the request.
  void resume();
  // Waits for `at_most`; true if every worker has ended.
  bool wait_ended(std::chrono::milliseconds at_most);
  // Ends the pageout thread. Every worker has ended.
  void finish();

 private:
  bool workers_parked() const { return parked_ == running_; }
  void tell_others();

  std::mutex mutex_;
  std::condition_variable workers_;  // parked workers: resumed
  std::condition_variable pageout_;  // the pageout thread: all workers parked, resumed, finished
  std::condition_variable coordinator_;  // all parked, all ended
  std::atomic<bool> wanted_{false};      // written under mutex_
  // All under mutex_.
  uint64_t round_ =
      0;              // halts so far: tells a worker that its halt is over although a new one began
  uint32_t running_;  // workers that have not ended
  uint32_t parked_ = 0;
  bool pageout_parked_ = false;
  bool finished_ = false;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_CHECKPOINT_H_
