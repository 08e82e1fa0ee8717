#include "stress/checkpoint.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr std::chrono::milliseconds kSlice{10};

void Halt(Checkpoint& checkpoint) {
  checkpoint.request();
  while (!checkpoint.wait_parked(kSlice)) {
  }
}

// Workers that add to counters of their own, unprotected but for the halts, and a pageout thread
// that does the same.
class Crew {
 public:
  explicit Crew(uint32_t workers) : checkpoint_(workers), counts_(workers + 1) {
    for (uint32_t i = 0; i < workers; ++i) {
      threads_.emplace_back([this, i] { Work(i); });
    }
    threads_.emplace_back([this, workers] {
      while (checkpoint_.pageout_waits(std::chrono::milliseconds{1})) ++counts_[workers];
    });
  }

  ~Crew() {
    stop_ = true;
    while (!checkpoint_.wait_ended(kSlice)) {
    }
    checkpoint_.finish();
    for (std::thread& thread : threads_) thread.join();
  }

  Checkpoint& checkpoint() { return checkpoint_; }
  std::vector<uint64_t>& counts() { return counts_; }

 private:
  void Work(uint32_t i) {
    while (!stop_.load(std::memory_order_relaxed)) {
      if (checkpoint_.wanted()) checkpoint_.park([] { return false; }, [] {});
      ++counts_[i];
    }
    checkpoint_.worker_ends();
  }

  Checkpoint checkpoint_;
  std::atomic<bool> stop_{false};
  std::vector<uint64_t> counts_;
  std::vector<std::thread> threads_;
};

// ThreadSanitizer checks in addition that the halt orders all accesses.
TEST(Checkpoint, DuringAHaltNothingMoves) {
  Crew crew(4);
  for (int round = 0; round < 50; ++round) {
    Halt(crew.checkpoint());
    const std::vector<uint64_t> before = crew.counts();
    // Time for whoever has not parked, the pageout thread with its pauses included.
    std::this_thread::sleep_for(std::chrono::milliseconds{3});
    EXPECT_EQ(crew.counts(), before);
    for (uint64_t& count : crew.counts()) ++count;
    crew.checkpoint().resume();
  }
}

TEST(Checkpoint, BetweenHaltsWorkersGoOn) {
  Crew crew(2);
  Halt(crew.checkpoint());
  std::vector<uint64_t> before = crew.counts();
  for (int round = 0; round < 20; ++round) {
    crew.checkpoint().resume();
    // At once, so that most workers have not even woken up from the halt before.
    Halt(crew.checkpoint());
  }
  crew.checkpoint().resume();
  // They do so soon, but when is up to the host.
  for (;;) {
    Halt(crew.checkpoint());
    const bool moved = crew.counts()[0] > before[0] && crew.counts()[1] > before[1];
    crew.checkpoint().resume();
    if (moved) break;
  }
}

TEST(Checkpoint, WorkersThatHaveEndedAreNotWaitedFor) {
  Checkpoint checkpoint(2);
  std::thread pageout([&] {
    while (checkpoint.pageout_waits(std::chrono::milliseconds{1})) {
    }
  });
  checkpoint.worker_ends();
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    while (!stop) {
      if (checkpoint.wanted()) checkpoint.park([] { return false; }, [] {});
    }
    checkpoint.worker_ends();
  });
  Halt(checkpoint);
  checkpoint.resume();
  stop = true;
  while (!checkpoint.wait_ended(kSlice)) {
  }
  Halt(checkpoint);  // nobody is left but the pageout thread
  checkpoint.resume();
  checkpoint.finish();
  pageout.join();
  worker.join();
}

// A slot as World has them: one worker lives in it and parks, the other one closes it within an
// operation that has begun before the halt.
TEST(Checkpoint, AParkedWorkerMakesWayForOneThatStillRuns) {
  Checkpoint checkpoint(2);
  std::mutex mutex;
  std::condition_variable left;
  bool resident = true;
  std::atomic<bool> closing{false};
  int moves = 0;
  std::thread pageout([&] {
    while (checkpoint.pageout_waits(std::chrono::milliseconds{1})) {
    }
  });
  std::thread closer([&] {
    while (!checkpoint.wanted()) std::this_thread::yield();
    closing = true;
    {
      std::unique_lock lock(mutex);
      left.wait(lock, [&] { return !resident; });
    }
    closing = false;
    checkpoint.park([] { return false; }, [] {});
    checkpoint.worker_ends();
  });
  std::thread lodger([&] {
    while (!checkpoint.wanted()) std::this_thread::yield();
    checkpoint.park([&] { return closing.load(); },
                    [&] {
                      const std::unique_lock lock(mutex);
                      resident = false;
                      ++moves;
                      left.notify_all();
                    });
    checkpoint.worker_ends();
  });
  Halt(checkpoint);
  EXPECT_FALSE(resident);
  EXPECT_EQ(moves, 1);
  checkpoint.resume();
  while (!checkpoint.wait_ended(kSlice)) {
  }
  checkpoint.finish();
  pageout.join();
  closer.join();
  lodger.join();
}

// A worker that sleeps for memory ends its operation only if the pageout thread goes on.
TEST(Checkpoint, ThePageoutThreadGoesOnUntilAllWorkersHaveParked) {
  Checkpoint checkpoint(2);
  std::atomic<int> turns{0};
  std::thread pageout([&] {
    while (checkpoint.pageout_waits(std::chrono::milliseconds{1})) ++turns;
  });
  std::thread sleeper([&] {
    while (!checkpoint.wanted()) std::this_thread::yield();
    const int now = turns;
    while (turns < now + 3) std::this_thread::yield();
    checkpoint.park([] { return false; }, [] {});
    checkpoint.worker_ends();
  });
  std::thread other([&] {
    while (!checkpoint.wanted()) std::this_thread::yield();
    checkpoint.park([] { return false; }, [] {});
    checkpoint.worker_ends();
  });
  Halt(checkpoint);
  const int during = turns;
  std::this_thread::yield();
  EXPECT_EQ(turns, during);
  checkpoint.resume();
  while (!checkpoint.wait_ended(kSlice)) {
  }
  checkpoint.finish();
  pageout.join();
  sleeper.join();
  other.join();
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
