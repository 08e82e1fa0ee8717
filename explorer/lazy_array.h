// LazyArray: a large array of zeroes that takes memory, and time, only as far as it is used.
//
// Thread safety: plain data.
#ifndef HATCHECK_EXPLORER_LAZY_ARRAY_H_
#define HATCHECK_EXPLORER_LAZY_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

namespace explorer {

// Zeroes must be a value of T.
template <class T>
class LazyArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  explicit LazyArray(size_t size) : size_(size) {
    void* const p = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
      std::perror("explorer: cannot reserve address space for a search");
      std::abort();
    }
    items_ = static_cast<T*>(p);
  }
  ~LazyArray() { ::munmap(items_, size_ * sizeof(T)); }
  LazyArray(const LazyArray&) = delete;
  LazyArray& operator=(const LazyArray&) = delete;

  size_t size() const { return size_; }
  T& operator[](size_t index) { return items_[index]; }
  const T& operator[](size_t index) const { return items_[index]; }

 private:
  const size_t size_;
  T* items_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_LAZY_ARRAY_H_
