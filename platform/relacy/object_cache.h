// ObjectCache<T> (kmem_cache_t) on the relacy backend. The contract is that of platform/README.md.
//
// The memory of a freed object is not used again in the same execution, so that every later access
// to it, read or write, is a "use after free". So is an access that nothing orders before the free.
#ifndef HATCHECK_PLATFORM_RELACY_OBJECT_CACHE_H_
#define HATCHECK_PLATFORM_RELACY_OBJECT_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "platform/relacy/atomic.h"
#include "platform/relacy/model.h"
#include "platform/relacy/nondeterminism.h"
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
      : name_(name), faults_(faults) {}
  ~ObjectCache() {
    if (outstanding_ != 0) model::cache_leak(this, name_, outstanding_);
  }

  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  // Null only with kNoSleep.
  T* alloc(KmFlag flag, Where where = Where::here()) {
    if (flag == KmFlag::kNoSleep && faults_ != nullptr &&
        chance(faults_->per_million.load(std::memory_order_relaxed), where)) {
      model::cache_alloc_failed(name_, where);
      return nullptr;
    }
    void* memory = model::cache_take(this, name_, sizeof(T), alignof(T), where);
    ++outstanding_;
    return ::new (memory) T();
  }

  // Precondition: `object` came from this cache's alloc and was not freed since; not null.
  void free(T* object, Where where = Where::here()) {
    model::cache_check_free(this, name_, object, where);
    std::destroy_at(object);
    --outstanding_;
    model::cache_give(this, object, sizeof(T), where);
  }

  // Objects allocated and not freed. Exact when no other thread is in alloc or free.
  int64_t outstanding() const { return outstanding_; }

  const char* name() const { return name_; }

 private:
  const char* const name_;
  AllocFaults* const faults_;
  int64_t outstanding_ = 0;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_OBJECT_CACHE_H_
