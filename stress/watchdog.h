// Watchdog: notices that the run has stopped moving, and says why if that can be known.
//
// Two questions, asked several times a second:
//   - do CPUs wait for each other in a cycle? Asked of the lock layer, which answers for sure
//     (find_deadlock, platform/observe.h): "deadlock", at once.
//   - has a thread been inside one operation for longer than the limit? If every thread that is in
//   an
//     operation sleeps on a condition variable, nobody is left to wake them: "lost wake-up".
//     Otherwise "no progress".
//
// Time counts as far as the threads could run in it. Not time in which the watchdog itself did not
// run (the process was stopped). On a host that is busy with other things, no more than the process
// had of the processors; unless that is next to nothing, for then all its threads wait.
//
// Thread safety: Pulse is written by its thread and read by any; a Watchdog belongs to one thread.
#ifndef HATCHECK_STRESS_WATCHDOG_H_
#define HATCHECK_STRESS_WATCHDOG_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One thread's sign of life: odd while it is in an operation, and one more with every change.
class Pulse {
 public:
  void begin() { beats_.store(++mine_, std::memory_order_relaxed); }
  void end() { beats_.store(++mine_, std::memory_order_relaxed); }
  uint64_t beats() const { return beats_.load(std::memory_order_relaxed); }
  uint64_t operations() const { return beats() / 2; }

 private:
  std::atomic<uint64_t> beats_{0};
  uint64_t mine_ = 0;
};

struct Stuck {
  Kind kind = Kind::kNone;
  std::string message;
};

class Watchdog {
 public:
  // pulses[i] is that of the thread on CPU i. `name` says what thread i does now, for the message:
  // "cpu 3 (unload 0x...)".
  Watchdog(std::vector<const Pulse*> pulses, absl::Duration limit,
           std::function<std::string(size_t)> name);

  // To be called a few times a second with the time on a clock that is never set, and the processor
  // time of the process, divided by the processors that it keeps busy when nothing is in its way.
  std::optional<Stuck> look(absl::Duration now, absl::Duration had);

 private:
  struct Seen {
    uint64_t beats = 0;
    absl::Duration since;  // in watched time
  };

  Stuck judge(const std::vector<size_t>& late, size_t busy) const;

  const std::vector<const Pulse*> pulses_;
  const absl::Duration limit_;
  const std::function<std::string(size_t)> name_;
  std::vector<Seen> seen_;
  absl::Duration watched_;  // time in which somebody looked
  absl::Duration next_deadlock_search_;
  std::optional<absl::Duration> last_look_;
  absl::Duration last_had_;
};

// The processor time of this process so far, divided by the processors of the host or by `threads`,
// whatever is less.
absl::Duration processor_time(uint32_t threads);

// Fails with "no progress" if its scope takes longer than the limit: for the parts of a program
// that one thread does alone.
class TimeLimit {
 public:
  TimeLimit(std::string what, absl::Duration limit);
  ~TimeLimit();
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable done_cv_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_WATCHDOG_H_
