// ObjectCache<T> (kmem_cache_t): where objects that come and go are allocated.
//
// Guarantees
// - alloc(kSleep) always succeeds. alloc(kNoSleep) returns null in as many cases as the failure
//   plan says, and in no other.
// - alloc() constructs a T, free() destroys it. The two need no lock and no ordering between
//   threads other than what hands the object over.
// - Reports: freeing a pointer twice ("double free"), an object that was written after it was
//   freed ("use after free"), and objects still allocated when the cache is destroyed ("leak").
//   In a plain build a write after free is found when the memory is used again or the cache is
//   destroyed, and a read shows a pattern of 0xdf bytes. ThreadSanitizer and AddressSanitizer
//   builds take every object from the heap, so that the sanitizer reports both at the access.
//
// Preconditions: the cache outlives its objects, the name is a literal, and no thread uses the
// cache while it is destroyed.
//
// How it is fast: each CPU has a magazine of free memory which only the thread bound to that CPU
// touches; it fills up from and spills over to a shared depot, in batches. Threads bound to no CPU
// go to the depot every time.
//
// Lock places: the depot's mutex is innermost and private.
#ifndef HATCHECK_PLATFORM_THREADS_OBJECT_CACHE_H_
#define HATCHECK_PLATFORM_THREADS_OBJECT_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "platform/threads/atomic.h"
#include "platform/threads/block_cache.h"
#include "platform/threads/nondeterminism.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class KmFlag { kSleep, kNoSleep };

// How often kNoSleep allocations fail. May be changed while caches use it, and outlives them.
class AllocFaults {
 public:
  explicit AllocFaults(uint32_t rate = 0) : per_million(rate) {}

  Atomic<uint32_t> per_million;
};

// What reports call objects: only the explorer's name them.
template <class T>
void name_objects(const T*, size_t, const char*, uint32_t = 0) {}
template <class T>
void name_arrays(const T*, size_t, size_t, const char*) {}

template <class T>
class ObjectCache {
 public:
  explicit ObjectCache(const char* name, AllocFaults* faults = nullptr)
      : blocks_(name, sizeof(T), alignof(T)), faults_(faults) {}

  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  // Null only with kNoSleep.
  T* alloc(KmFlag flag, Where where = Where::here()) {
    if (flag == KmFlag::kNoSleep && faults_ != nullptr &&
        chance(faults_->per_million.load(std::memory_order_relaxed), where)) {
      return nullptr;
    }
    return ::new (blocks_.take(where)) T();
  }

  // Precondition: `object` came from this cache's alloc and was not freed since; not null.
  void free(T* object, Where where = Where::here()) {
    blocks_.check_free(object, where);
    std::destroy_at(object);
    blocks_.give(object);
  }

  // Objects allocated and not freed. Exact when no other thread is in alloc or free.
  int64_t outstanding() const { return blocks_.outstanding(); }

  const char* name() const { return blocks_.name(); }

 private:
  BlockCache blocks_;
  AllocFaults* const faults_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_OBJECT_CACHE_H_
