#include "platform/threads/run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "platform/observe.h"
#include "platform/threads/pauses.h"
#include "platform/threads/random_stream.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

using Clock = std::chrono::steady_clock;

// How often the watchdog of the observed build looks.
constexpr std::chrono::milliseconds kLook{20};

// Reports a run in which nothing moves: at once when that is certain, else after `quiet`, since a
// thread that was just woken looks asleep until the operating system lets it run.
class Watchdog {
 public:
  explicit Watchdog(std::chrono::milliseconds quiet) : quiet_(quiet) {}

  // `running` threads of the scenario have not ended.
  void look(int running) {
    const std::string deadlock = find_deadlock();
    if (!deadlock.empty()) fail(Kind::kDeadlock, deadlock + "\n" + describe_stuck());
    if (all_stuck(static_cast<uint32_t>(running))) report_stuck();
    const std::vector<CpuState> states = cpu_states();
    const auto waiting = std::count_if(states.begin(), states.end(),
                                       [](const CpuState& state) { return state.waiting; });
    const uint64_t changes =
        std::accumulate(states.begin(), states.end(), uint64_t{0},
                        [](uint64_t sum, const CpuState& state) { return sum + state.changes; });
    if (waiting != running || changes != changes_) {
      changes_ = changes;
      since_ = Clock::now();
    } else if (Clock::now() - since_ >= quiet_) {
      report_stuck();
    }
  }

 private:
  [[noreturn]] static void report_stuck() {
    const std::vector<CpuState> states = cpu_states();
    const auto sleeper = std::find_if(states.begin(), states.end(),
                                      [](const CpuState& state) { return !state.condvar.empty(); });
    if (sleeper == states.end()) fail(Kind::kDeadlock, "nobody can go on\n" + describe_stuck());
    fail(Kind::kLostWakeup,
         "cpu " + std::to_string(sleeper->cpu) + " sleeps on condition variable '" +
             sleeper->condvar + "' and nobody is left to wake it\n" + describe_stuck(),
         sleeper->where);
  }

  const std::chrono::milliseconds quiet_;
  uint64_t changes_ = 0;
  Clock::time_point since_ = Clock::now();
};

// The threads of a run. They live as long as the run and do one iteration after another.
class Crew {
 public:
  Crew(const AnyScenario& scenario, const RunOptions& options)
      : scenario_(scenario), seed_(options.seed), pause_rate_(options.pause_rate) {
    for (int i = 0; i < scenario.threads; ++i) {
      threads_.emplace_back([this, i] { work(i); });
    }
  }
  ~Crew() {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  void run(void* object, const RunOptions& options) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      object_ = object;
      running_ = scenario_.threads;
      at_barrier_.store(0, std::memory_order_relaxed);
      ++iteration_;
    }
    wake_.notify_all();
    Watchdog watchdog(options.quiet);
    std::unique_lock<std::mutex> guard(mutex_);
    while (!done_.wait_for(guard, kLook, [&] { return running_ == 0; })) {
      if constexpr (kObserved) {
        const int running = running_;
        guard.unlock();
        watchdog.look(running);
        guard.lock();
      }
    }
  }

 private:
  void work(int index) {
    const Pauses pauses(pause_rate_, seed_ + static_cast<uint64_t>(index), {"machine/"});
    for (uint64_t iteration = 1;; ++iteration) {
      void* object;
      {
        std::unique_lock<std::mutex> guard(mutex_);
        wake_.wait(guard, [&] { return stop_ || iteration_ == iteration; });
        if (stop_) return;
        object = object_;
      }
      {
        const CpuBinding binding(static_cast<CpuId>(index), seed_ + iteration);
        // All bodies start together: the operating system wakes the threads far apart.
        at_barrier_.fetch_add(1, std::memory_order_relaxed);
        while (at_barrier_.load(std::memory_order_relaxed) != scenario_.threads) {
          std::this_thread::yield();
        }
        body(object, index);
      }
      const std::lock_guard<std::mutex> guard(mutex_);
      // Notified under the mutex: the crew may be gone right after.
      if (--running_ == 0) done_.notify_one();
    }
  }

  void body(void* object, int index) {
    try {
      scenario_.thread(object, index);
    } catch (const std::exception& e) {
      fail(Kind::kException, std::string("a thread body threw ") + e.what());
    } catch (...) {
      fail(Kind::kException, "a thread body threw something that is no std::exception");
    }
  }

  const AnyScenario scenario_;
  const uint64_t seed_;
  const uint32_t pause_rate_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  void* object_ = nullptr;  // these four under mutex_
  int running_ = 0;
  uint64_t iteration_ = 0;
  bool stop_ = false;
  std::atomic<int> at_barrier_{0};
  std::vector<std::thread> threads_;
};

// Of the orders seen so far: those that were seen from both sides, or all.
void check_lock_order(bool all) {
  if (!kObserved || !lock_order().inverted()) return;
  const std::optional<Inversion> found = lock_order().inversion();
  if (found && (all || found->both)) fail(Kind::kLockOrder, found->message, found->where);
}

void check_no_locks(const char* when) {
  const Cpu& cpu = Cpu::current();
  if (cpu.held_count() == 0) return;
  const HeldLock& held = cpu.held(cpu.held_count() - 1);
  const LockId id = held.id.get();
  fail(Kind::kHeldAtThreadEnd, lock_name(id.lock_class, id.instance) + " is held after " + when,
       held.where.get());
}

}  // namespace

CpuBinding::CpuBinding(CpuId cpu, uint64_t seed, Where where)
    : random_(
          new RandomStream({static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), cpu})) {
  Cpu::bind(cpu, random_.get(), where);
}

CpuBinding::~CpuBinding() { Cpu::unbind(); }

Report run_scenario(const AnyScenario& scenario, const RunOptions& options) {
  const uint64_t iterations =
      options.iterations != 0 ? options.iterations : scenario.bounds.iterations;
  const Clock::time_point start = Clock::now();
  const auto out_of_time = [&] {
    return options.time.count() != 0 && Clock::now() - start >= options.time;
  };
  Report report;
  lock_order().clear();
  record_lock_order(options.report_inversions);
  {
    Crew crew(scenario, options);
    while (report.iterations < iterations && !(report.iterations != 0 && out_of_time())) {
      void* object = scenario.create();
      check_no_locks("set-up");
      crew.run(object, options);
      scenario.after(object);
      scenario.destroy(object);
      check_no_locks("the final check");
      ++report.iterations;
      check_lock_order(/*all=*/false);
    }
  }
  check_lock_order(/*all=*/true);
  report.verdict = Verdict::kBounded;
  report.bounded_by = std::to_string(report.iterations) + " iterations";
  if (report.iterations < iterations) {
    report.bounded_by += " in " + std::to_string(options.time.count()) + " ms";
  }
  return report;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
