// Atomic<T>: a shared word that is accessed without a lock on purpose.
//
// The memory order is spelled at every call and reaches the engine unchanged: it is a claim about
// what the algorithm needs, which the model engines check. T is an integer, an enum, bool or a
// pointer. Read-modify-write arithmetic is for integers.
//
// Thread safety: any thread, any time, after construction. Construction itself is not atomic.
#ifndef HATCHECK_PLATFORM_THREADS_ATOMIC_H_
#define HATCHECK_PLATFORM_THREADS_ATOMIC_H_

#include <atomic>
#include <concepts>
#include <type_traits>

#include "platform/threads/lock_stats.h"
#include "platform/threads/pauses.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

template <class T>
class Atomic {
  static_assert(std::is_integral_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>);
  static_assert(std::atomic<T>::is_always_lock_free);

 public:
  constexpr Atomic(T value = T{}) : value_(value) {}

  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order order, Where where = Where::here()) const {
    Pauses::before_sync(where);
    return value_.load(order);
  }

  void store(T value, std::memory_order order, Where where = Where::here()) {
    Pauses::before_sync(where);
    value_.store(value, order);
  }

  T exchange(T value, std::memory_order order, Where where = Where::here()) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.exchange(value, order);
  }

  // True if the value was `expected` and is now `desired`; otherwise `expected` is what it was.
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Where where = Where::here()) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_cas();
    return value_.compare_exchange_strong(expected, desired, success, failure);
  }

  // Each returns the value from before.
  T fetch_add(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.fetch_add(operand, order);
  }
  T fetch_sub(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.fetch_sub(operand, order);
  }
  T fetch_and(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.fetch_and(operand, order);
  }
  T fetch_or(T operand, std::memory_order order,
             Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.fetch_or(operand, order);
  }
  T fetch_xor(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    Pauses::before_sync(where);
    if constexpr (kObserved) stats_rmw();
    return value_.fetch_xor(operand, order);
  }

 private:
  std::atomic<T> value_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_ATOMIC_H_
