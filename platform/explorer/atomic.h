// Atomic<T> on the explorer: every access is a step at which threads can switch. Values are
// sequentially consistent; the order written decides what an access lets other threads know, so a
// missing release or acquire shows as a data race on what it should have published.
#ifndef HATCHECK_PLATFORM_EXPLORER_ATOMIC_H_
#define HATCHECK_PLATFORM_EXPLORER_ATOMIC_H_

#include <atomic>
#include <concepts>
#include <type_traits>

#include "platform/explorer/backend.h"

namespace hatcheck::inline HATCHECK_BACKEND {

template <class T>
class Atomic {
  static_assert(std::is_integral_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>);

 public:
  Atomic(T value = T{}) : word_(value) {}

  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order order, Where where = Where::here()) const {
    return word_.load(order, site_of(where));
  }

  void store(T value, std::memory_order order, Where where = Where::here()) {
    word_.store(value, order, site_of(where));
  }

  T exchange(T value, std::memory_order order, Where where = Where::here()) {
    return word_.exchange(value, order, site_of(where));
  }

  // True if the value was `expected` and is now `desired`; otherwise `expected` is what it was.
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Where where = Where::here()) {
    return word_.compare_exchange(expected, desired, success, failure, site_of(where));
  }

  // Each returns the value from before.
  T fetch_add(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return word_.fetch_add(operand, order, site_of(where));
  }
  T fetch_sub(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return word_.fetch_sub(operand, order, site_of(where));
  }
  T fetch_and(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return word_.fetch_and(operand, order, site_of(where));
  }
  T fetch_or(T operand, std::memory_order order,
             Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return word_.fetch_or(operand, order, site_of(where));
  }
  T fetch_xor(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return word_.fetch_xor(operand, order, site_of(where));
  }

 private:
  explorer::Atomic<T> word_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_ATOMIC_H_
