// Guarded<T>: a plain field that a lock protects.
//
// `f()` reads it and `f = v` writes it; both carry file and line on the engines that check for
// races. On real threads it is exactly a T: ThreadSanitizer sees the access itself, and Pauses in
// the observed build. A field whose value is needed twice is read into a local.
//
// Precondition: the accesses are ordered by a lock or by another happens-before edge. Reading a
// field that was never assigned gives T{}; not modelled as an uninitialised read here.
//
// A Guarded is a place and not a value: it is not copyable (`a = b()` copies what is in it), and
// the initialising constructor is explicit (`Guarded<int> f{3};`), since an implicit one would make
// `f = 3` ambiguous.
#ifndef HATCHECK_PLATFORM_THREADS_GUARDED_H_
#define HATCHECK_PLATFORM_THREADS_GUARDED_H_

#include <type_traits>
#include <utility>

#include "platform/threads/backend.h"
#include "platform/threads/pauses.h"
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
    Pauses::before_access(&value_, FieldAccess::kRead, where);
    return value_;
  }

  Guarded& operator=(At<T> at) {
    Pauses::before_access(&value_, FieldAccess::kWrite, at.where);
    value_ = std::move(at.value);
    return *this;
  }

 private:
  T value_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_GUARDED_H_
