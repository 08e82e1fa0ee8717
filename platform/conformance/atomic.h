// Atomic.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_ATOMIC_H_
#define HATCHECK_PLATFORM_CONFORMANCE_ATOMIC_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class FetchAddCounts : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "atomic/concurrent_additions_are_not_lost";
  static constexpr const char* kClaim = "fetch_add is one step and returns the value from before";

  void thread(int) {
    const int before = count_.fetch_add(2, std::memory_order_relaxed);
    HAT_ASSERT(before >= 0 && before <= 2);
    count_.fetch_sub(1, std::memory_order_relaxed);
  }
  void after() { HAT_ASSERT(count_.load(std::memory_order_relaxed) == 2); }

 private:
  Atomic<int> count_{0};
};

class CompareExchangeTellsWhatItFound : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "atomic/one_of_two_compare_exchanges_wins";
  static constexpr const char* kClaim =
      "one compare_exchange of two succeeds and the other learns the winner";

  void thread(int index) {
    const int mine = index + 1;
    int expected = 0;
    if (word_.compare_exchange_strong(expected, mine, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
      winners_.fetch_add(1, std::memory_order_relaxed);
      HAT_ASSERT(expected == 0);
    } else {
      HAT_ASSERT(expected == 3 - mine);
    }
  }
  void after() { HAT_ASSERT(winners_.load(std::memory_order_relaxed) == 1); }

 private:
  Atomic<int> word_{0};
  Atomic<int> winners_{0};
};

class ExchangeHandsOver : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "atomic/exchange_gives_each_value_to_one_thread";
  static constexpr const char* kClaim = "a token taken with exchange is taken once";

  void thread(int) {
    if (token_.exchange(false, std::memory_order_acq_rel)) {
      taken_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  void after() { HAT_ASSERT(taken_.load(std::memory_order_relaxed) == 1); }

 private:
  Atomic<bool> token_{true};
  Atomic<uint32_t> taken_{0};
};

class BitOperations : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "atomic/bit_operations_return_the_value_from_before";
  static constexpr const char* kClaim = "fetch_and, fetch_or and fetch_xor do what their names say";

  void thread(int) {
    HAT_ASSERT(bits_.fetch_or(0x0fu, std::memory_order_relaxed) == 0xf0u);
    HAT_ASSERT(bits_.fetch_and(0x3cu, std::memory_order_relaxed) == 0xffu);
    HAT_ASSERT(bits_.fetch_xor(0x0cu, std::memory_order_relaxed) == 0x3cu);
    HAT_ASSERT(bits_.load(std::memory_order_relaxed) == 0x30u);
  }

 private:
  Atomic<uint64_t> bits_{0xf0};
};

class OtherTypes : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "atomic/pointers_and_enums_are_atomic_too";
  static constexpr const char* kClaim =
      "load, store, exchange and compare_exchange work on pointers and enums";

  void thread(int) {
    int target = 0;
    HAT_ASSERT(pointer_.load(std::memory_order_relaxed) == nullptr);
    HAT_ASSERT(pointer_.exchange(&target, std::memory_order_relaxed) == nullptr);
    int* expected = &target;
    HAT_ASSERT(pointer_.compare_exchange_strong(expected, nullptr, std::memory_order_relaxed,
                                                std::memory_order_relaxed));
    state_.store(State::kOn, std::memory_order_relaxed);
    HAT_ASSERT(state_.load(std::memory_order_relaxed) == State::kOn);
  }

 private:
  enum class State : uint8_t { kOff, kOn };
  Atomic<int*> pointer_;
  Atomic<State> state_{State::kOff};
};

class ReleasePublishes : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "atomic/release_and_acquire_publish_a_plain_field";
  static constexpr const char* kClaim =
      "what was written before a release store is visible after the acquire load that reads it";

  void thread(int index) {
    if (index == 0) {
      data_ = 42;
      ready_.store(true, std::memory_order_release);
    } else if (ready_.load(std::memory_order_acquire)) {
      HAT_ASSERT(data_() == 42);
    }
  }

 private:
  Guarded<int> data_{0};
  Atomic<bool> ready_{false};
};

class RelaxedDoesNotPublish : public ViolatedScenario<2, Kind::kDataRace> {
 public:
  static constexpr const char* kName = "atomic/a_relaxed_store_does_not_publish";
  static constexpr const char* kClaim = "a plain field behind a relaxed flag is a data race";

  void thread(int index) {
    if (index == 0) {
      data_ = 42;
      ready_.store(true, std::memory_order_relaxed);
    } else {
      while (!ready_.load(std::memory_order_relaxed)) yield();
      // The value decides something, so that the read is needed.
      if (data_() != 42) ready_.store(false, std::memory_order_relaxed);
    }
  }

 private:
  Guarded<int> data_{0};
  Atomic<bool> ready_{false};
};

using AtomicScenarios =
    ScenarioList<FetchAddCounts, CompareExchangeTellsWhatItFound, ExchangeHandsOver, BitOperations,
                 OtherTypes, ReleasePublishes, RelaxedDoesNotPublish>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_ATOMIC_H_
