// Atomic<T> on the relacy backend: a word under Relacy's model of C++ memory.
//
// The word itself holds the newest value; Relacy keeps the older ones that a thread may still read
// under the orders written at the calls. In the set-up and the final check there is one thread, so
// every load reads the newest.
#ifndef HATCHECK_PLATFORM_RELACY_ATOMIC_H_
#define HATCHECK_PLATFORM_RELACY_ATOMIC_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

template <class T>
class Atomic {
  static_assert(std::is_integral_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>);
  static_assert(sizeof(T) <= sizeof(uint64_t));

 public:
  constexpr Atomic(T value = T{}) : value_(value) {}
  // Not trivial: a page of zeroes is no array of these, their memory has to be the engine's.
  constexpr ~Atomic() {}

  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order order, Where where = Where::here()) const {
    if (!model::active()) return value_;
    return from_bits(model::atomic_load(&value_, sizeof(T), order, where));
  }

  void store(T value, std::memory_order order, Where where = Where::here()) {
    if (model::active()) {
      model::atomic_store(&value_, sizeof(T), to_bits(value), order, where);
    } else {
      value_ = value;
    }
  }

  T exchange(T value, std::memory_order order, Where where = Where::here()) {
    return rmw(model::Rmw::kExchange, value, order, where);
  }

  // True if the value was `expected` and is now `desired`; otherwise `expected` is what it was.
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Where where = Where::here()) {
    uint64_t bits = to_bits(expected);
    const bool done =
        model::atomic_cas(&value_, sizeof(T), bits, to_bits(desired), success, failure, where);
    if (!done) expected = from_bits(bits);
    return done;
  }

  // Each returns the value from before.
  T fetch_add(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return rmw(model::Rmw::kAdd, operand, order, where);
  }
  T fetch_sub(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return rmw(model::Rmw::kSub, operand, order, where);
  }
  T fetch_and(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return rmw(model::Rmw::kAnd, operand, order, where);
  }
  T fetch_or(T operand, std::memory_order order,
             Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return rmw(model::Rmw::kOr, operand, order, where);
  }
  T fetch_xor(T operand, std::memory_order order,
              Where where = Where::here()) requires(std::integral<T> && !std::same_as<T, bool>) {
    return rmw(model::Rmw::kXor, operand, order, where);
  }

 private:
  static uint64_t to_bits(T value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
  }
  static T from_bits(uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
  }
  T rmw(model::Rmw op, T operand, std::memory_order order, const Where& where) {
    return from_bits(model::atomic_rmw(&value_, sizeof(T), op, to_bits(operand), order, where));
  }

  T value_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_ATOMIC_H_
