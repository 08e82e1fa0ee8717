// Guarded<T> on the explorer: a plain field whose accesses are checked for races by happens-before.
//
// An access is no step: threads do not switch at it, so fields cost no interleavings. It is larger
// than a T, by what the check remembers.
#ifndef HATCHECK_PLATFORM_EXPLORER_GUARDED_H_
#define HATCHECK_PLATFORM_EXPLORER_GUARDED_H_

#include <utility>

#include "platform/explorer/backend.h"

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
  Guarded() : field_(T{}) {}
  explicit Guarded(T value) : field_(std::move(value)) {}

  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T operator()(Where where = Where::here()) const { return field_.get(site_of(where)); }

  Guarded& operator=(At<T> at) {
    field_.set(std::move(at.value), site_of(at.where));
    return *this;
  }

 private:
  explorer::Shared<T> field_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_GUARDED_H_
