// ZeroArray<T>: a large array of Atomic<T>, all zero, that is cheap to create.
//
// A machine of 4 GiB has half a billion words, of which a run may touch a few million. Where an
// Atomic is nothing but its value (real threads), zero bytes are valid Atomics of value 0, so the
// array is a mapping of zeroes that the operating system fills in page by page as it is touched,
// with no swap set aside for the rest. Where an Atomic is more than that (the model engines keep
// its history), every element is constructed. Which of the two holds is read off the type.
//
// Thread safety: that of the elements. No locks.
#ifndef HATCHECK_MACHINE_ZERO_ARRAY_H_
#define HATCHECK_MACHINE_ZERO_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <type_traits>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

template <class T>
class ZeroArray {
 public:
  static constexpr bool kBare =
      sizeof(Atomic<T>) == sizeof(T) && std::is_trivially_destructible_v<Atomic<T>>;

  explicit ZeroArray(size_t size) : size_(size), elements_(allocate(size)) {}
  ~ZeroArray() {
    if constexpr (kBare) {
      if (size_ > 0) {
        ::munmap(elements_, size_ * sizeof(T));
      }
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
      if (size == 0) {
        return nullptr;
      }
      void* memory = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      HAT_ASSERT(memory != MAP_FAILED, "no address space for the memory of the simulated machine");
      return static_cast<Atomic<T>*>(memory);
    } else {
      return new Atomic<T>[size];
    }
  }

  const size_t size_;
  Atomic<T>* const elements_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_ZERO_ARRAY_H_
