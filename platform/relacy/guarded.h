// Guarded<T> on the relacy backend: a plain field whose accesses are compared with each other.
//
// Two accesses, one of them a write, that no lock and no atomic orders are a "data race", in
// whichever order they came. An access is no place where other threads go on: that order is then
// the same in every execution with the same order of locks and atomics.
#ifndef HATCHECK_PLATFORM_RELACY_GUARDED_H_
#define HATCHECK_PLATFORM_RELACY_GUARDED_H_

#include <type_traits>
#include <utility>

#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// A value and the place that writes it. Converts from a value, so that an assignment, which can
// have no further parameter, still knows its line.
template <class T>
struct At {
  At(T v, Where w = Where::here()) : value(std::move(v)), where(w) {}
  T value;
  Where where;
};

template <class T>
class Guarded {
 public:
  constexpr Guarded() : value_{} {}
  explicit constexpr Guarded(T value) : value_(std::move(value)) {
    static_assert(sizeof(Guarded) == sizeof(T));
  }

  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T operator()(Where where = Where::here()) const {
    if (model::active()) model::guarded_read(&value_, where);
    return value_;
  }

  Guarded& operator=(At<T> at) {
    if (model::active()) model::guarded_write(&value_, at.where);
    value_ = std::move(at.value);
    return *this;
  }

 private:
  T value_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_GUARDED_H_
