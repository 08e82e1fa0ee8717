// LockArray: a fixed number of mutexes of one class, each on cache lines of its own.
//
// Objects are spread over the mutexes by a hash, so two objects may share one: never hold two
// mutexes of one array (vm/locking.h, P5).
//
// Thread safety: the array itself never changes after construction.
#ifndef HATCHECK_VM_LOCK_ARRAY_H_
#define HATCHECK_VM_LOCK_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class LockArray {
 public:
  // size: a power of two. Instances are numbered from 0.
  LockArray(const LockClass& lock_class, uint32_t size)
      : mask_(size - 1), slots_(std::allocator<Slot>().allocate(size)) {
    HAT_ASSERT(size != 0 && (size & mask_) == 0, "the size of a lock array is a power of two");
    for (uint32_t i = 0; i < size; ++i) std::construct_at(&slots_[i], lock_class, i);
  }
  ~LockArray() {
    std::destroy_n(slots_, size());
    std::allocator<Slot>().deallocate(slots_, size());
  }
  LockArray(const LockArray&) = delete;
  LockArray& operator=(const LockArray&) = delete;

  Mutex& operator[](uint64_t hash) const { return slots_[hash & mask_].mutex; }
  size_t size() const { return size_t{mask_} + 1; }

 private:
  struct alignas(64) Slot {
    Slot(const LockClass& lock_class, uint32_t instance) : mutex(lock_class, instance) {}
    Mutex mutex;
  };

  const uint32_t mask_;
  Slot* const slots_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_LOCK_ARRAY_H_
