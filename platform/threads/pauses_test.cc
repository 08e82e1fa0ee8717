// What pauses find: data races on fields, with both places, and windows between two operations.
// Only where they are compiled in.
#include "platform/threads/pauses.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr LockClass kFieldLock{"field_lock", 1};
constexpr int kTimes = 20'000;

// Performs body(cpu) on each of two CPUs, with pauses, until it returns false.
void on_two_cpus(const std::function<bool(CpuId)>& body) {
  std::vector<std::thread> threads;
  for (CpuId cpu = 0; cpu < 2; ++cpu) {
    threads.emplace_back([cpu, &body] {
      const CpuBinding binding(cpu);
      const Pauses pauses(1000, /*seed=*/7);
      while (body(cpu)) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void many_times_on_two_cpus(const std::function<void(CpuId)>& body) {
  int done[2] = {};
  on_two_cpus([&](CpuId cpu) {
    body(cpu);
    return ++done[cpu] < kTimes;
  });
}

// ThreadSanitizer reports the access itself, and ends the process in its own way.
#ifndef HATCHECK_WITH_TSAN
TEST(Pauses, ARaceOnAFieldIsReportedWithBothPlaces) {
  EXPECT_EXIT(
      {
        Guarded<int> field{0};
        on_two_cpus([&field](CpuId) {
          field = 1;
          return true;
        });
      },
      testing::ExitedWithCode(kExitViolated),
      "data race: this thread writes a field that cpu [01] writes at the same time at "
      ".*pauses_test.cc:[0-9]+.*\n  at .*pauses_test.cc:[0-9]+");
}

TEST(Pauses, AReaderAndAWriterRaceToo) {
  EXPECT_EXIT(
      {
        Guarded<int> field{0};
        on_two_cpus([&field](CpuId cpu) {
          if (cpu == 0) {
            field = 1;
          } else {
            field();
          }
          return true;
        });
      },
      testing::ExitedWithCode(kExitViolated), "data race");
}
#endif

TEST(Pauses, WhatALockProtectsIsNoRace) {
  Mutex mutex(kFieldLock);
  Guarded<int> field{0};
  many_times_on_two_cpus([&](CpuId) {
    const MutexGuard guard(mutex);
    field = field() + 1;
  });
  EXPECT_EQ(field(), 2 * kTimes);
}

TEST(Pauses, ReadersDoNotRace) {
  const Guarded<int> field{3};
  many_times_on_two_cpus([&field](CpuId) { EXPECT_EQ(field(), 3); });
}

TEST(Pauses, FieldsOfOneWatchAreToldApart) {
  std::vector<Guarded<int>> fields(256);
  many_times_on_two_cpus([&fields](CpuId cpu) {
    for (size_t i = cpu; i < fields.size(); i += 64) fields[i] = fields[i]() + 1;
  });
  EXPECT_EQ(fields[0](), kTimes);
}

// Ends as soon as an increment was lost.
TEST(Pauses, OthersRunBetweenTwoOperations) {
  Atomic<int> counter{0}, done{0};
  on_two_cpus([&](CpuId) {
    counter.store(counter.load(std::memory_order_seq_cst) + 1, std::memory_order_seq_cst);
    const int at_least = done.fetch_add(1, std::memory_order_seq_cst) + 1;
    return at_least <= counter.load(std::memory_order_seq_cst);
  });
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
