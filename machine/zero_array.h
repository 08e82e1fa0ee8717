// ZeroArray<T>: a large array of Atomic<T>, all zero, that is cheap to create.
//
// A machine of 4 GiB has half a billion words, of which a run may touch a few million. Where an
// Atomic is nothing but its value (real threads), zero bytes are valid Atomics of value 0, so the
// array is zero memory that the operating system provides page by page as it is touched. Where an
// Atomic is more than that (the model engines keep its history), every element is constructed.
// Which of the two holds is read off the type.
//
// Thread safety: that of the elements. No locks.
#ifndef HATCHECK_MACHINE_ZERO_ARRAY_H_
#define HATCHECK_MACHINE_ZERO_ARRAY_H_

#include <cstddef>
#include <cstdlib>
#include <type_traits>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

template <class T>
class ZeroArray {
 public:
  static constexpr bool kBare =
      sizeof(Atomic<T>) == sizeof(T) && std::is_trivially_destructible_v<Atomic<T>>;

  explicit ZeroArray(size_t size) : elements_(allocate(size)) {}
  ~ZeroArray() {
    if constexpr (kBare) {
      std::free(elements_);
    } else {
      delete[] elements_;
    }
  }
  ZeroArray(const ZeroArray&) = delete;
  ZeroArray& operator=(const ZeroArray&) = delete;

  // REQUIRES: index < size.
  Atomic<T>& operator[](size_t index) { return elements_[index]; }
  const Atomic<T>& operator[](size_t index) const { return elements_[index]; }

 private:
  static Atomic<T>* allocate(size_t size) {
    if constexpr (kBare) {
      void* memory = std::calloc(size, sizeof(T));
      HAT_ASSERT(memory != nullptr || size == 0, "no memory for the simulated machine");
      return static_cast<Atomic<T>*>(memory);
    } else {
      return new Atomic<T>[size];
    }
  }

  Atomic<T>* const elements_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_ZERO_ARRAY_H_
