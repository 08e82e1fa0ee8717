#include "stress/preempter.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include "stress/signals.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Ignored by default: a signal that comes too late does no harm.
constexpr int kSignal = SIGURG;
// In microseconds; powers of two, so that short and long sleeps both are frequent.
constexpr int kShortest = 4, kDoublings = 9;

std::atomic<uint32_t> g_turn{0};

void sleep_a_little(int) {
  const int before = errno;
  const uint32_t turn = g_turn.fetch_add(1, std::memory_order_relaxed) * 2654435761u;
  const timespec time = {0, 1000L * (kShortest << (turn >> 16) % kDoublings)};
  // The bare system call: ThreadSanitizer's nanosleep() enters a lock, which the interrupted thread
  // holds if it is in the middle of a report.
  syscall(SYS_nanosleep, &time, nullptr);
  errno = before;
}

}  // namespace

Preempter::Preempter(std::vector<Target> targets, uint32_t per_second, uint64_t seed)
    : targets_(std::move(targets)), random_(seed) {
  if (per_second == 0 || targets_.empty()) return;
  struct sigaction action = {};
  action.sa_handler = sleep_a_little;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(kSignal, &action, nullptr);
  const InterruptsBlocked for_the_new_thread;
  thread_ = std::thread([this, per_second] { run(per_second); });
}

Preempter::~Preempter() {
  if (!thread_.joinable()) return;
  {
    const std::unique_lock lock(mutex_);
    stop_ = true;
  }
  stop_cv_.notify_all();
  thread_.join();
}

void Preempter::run(uint32_t per_second) {
  // A few at a time if they come faster than a thread can be woken.
  constexpr uint32_t kMostWakeups = 5000;
  const uint32_t wakeups = std::min(per_second, kMostWakeups);
  const std::chrono::nanoseconds pause{1'000'000'000 / wakeups};
  const uint32_t at_a_time = (per_second + wakeups - 1) / wakeups;
  std::unique_lock lock(mutex_);
  while (!stop_cv_.wait_for(lock, pause, [this] { return stop_; })) {
    for (uint32_t i = 0; i < at_a_time; ++i) {
      const Target& target = targets_[random_() % targets_.size()];
      if (target.pulse->beats() % 2 != 0) pthread_kill(target.thread, kSignal);
    }
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
