// ObjectCache<T> (kmem_cache_t) on the explorer. The contract is that of platform/README.md.
//
// The memory of a freed object is not used again in the same execution, so every later access to it
// through the types of the seam is a "use after free". So is one that nothing orders before the
// free.
#ifndef HATCHECK_PLATFORM_EXPLORER_OBJECT_CACHE_H_
#define HATCHECK_PLATFORM_EXPLORER_OBJECT_CACHE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "platform/explorer/atomic.h"
#include "platform/explorer/nondeterminism.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class KmFlag { kSleep, kNoSleep };

// How often kNoSleep allocations fail. May be changed while caches use it, and outlives them.
class AllocFaults {
 public:
  explicit AllocFaults(uint32_t rate = 0) : per_million(rate) {}

  Atomic<uint32_t> per_million;
};

// What reports call the objects of an array: "page 7", and "page 7.p_mapping" for a field; `number`
// is that of the first. Those of name_arrays are arrays themselves, one behind the other: "frame
// 3[5]".
template <class T>
void name_objects(const T* first, size_t count, const char* name, uint32_t number = 0) {
  explorer::describe(first, sizeof(T), count, explorer::Name{name, number});
}
template <class T>
void name_arrays(const T* first, size_t count, size_t length, const char* name) {
  explorer::describe(first, length * sizeof(T), count, explorer::Name{name, 0}, sizeof(T));
}

template <class T>
class ObjectCache {
 public:
  explicit ObjectCache(const char* name, AllocFaults* faults = nullptr)
      : name_(name), faults_(faults) {}
  ~ObjectCache() {
    if (outstanding_ == 0 || explorer::Engine::active == nullptr) return;
    explorer::fail(
        explorer::Kind::kLeak,
        std::to_string(outstanding_) + " object(s) of the cache " + name_ + " were never freed",
        explorer::Site{});
  }

  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  // Null only with kNoSleep.
  T* alloc(KmFlag flag, Where where = Where::here()) {
    if (flag == KmFlag::kNoSleep && faults_ != nullptr &&
        chance(faults_->per_million.load(std::memory_order_relaxed), where)) {
      return nullptr;
    }
    char* const memory =
        static_cast<char*>(::operator new (kOffset + sizeof(T), std::align_val_t{kAlign}));
    ::new (memory + kOffset - sizeof(Tag)) Tag{this};
    ++outstanding_;
    T* const object = ::new (memory + kOffset) T();
    explorer::describe(object, sizeof(T), 1, explorer::Name{name_, explorer::Name::kNextNumber});
    return object;
  }

  // Precondition: `object` came from this cache's alloc and was not freed since; not null.
  void free(T* object, Where where = Where::here()) {
    char* const memory = reinterpret_cast<char*>(object) - kOffset;
    if (explorer::Arena::contains(object) &&
        explorer::Arena::instance().state(object) != explorer::Arena::State::kLive) {
      explorer::fail(explorer::Kind::kDoubleFree,
                     std::string("an object of the cache ") + name_ + " is freed again",
                     site_of(where));
    }
    if (reinterpret_cast<Tag*>(memory + kOffset - sizeof(Tag))->owner != this) {
      explorer::fail(
          explorer::Kind::kDoubleFree,
          std::string("an object is freed to the cache ") + name_ + ", which it does not come from",
          site_of(where));
    }
    explorer::note_free(object, site_of(where));
    std::destroy_at(object);
    --outstanding_;
    ::operator delete (memory, std::align_val_t{kAlign});
  }

  // Objects allocated and not freed. Exact when no other thread is in alloc or free.
  int64_t outstanding() const { return outstanding_; }

  const char* name() const { return name_; }

 private:
  struct Tag {
    const void* owner;
  };
  static constexpr size_t kAlign = std::max(alignof(T), size_t{16});
  static constexpr size_t kOffset = kAlign;  // of the object in its block, behind the tag

  const char* const name_;
  AllocFaults* const faults_;
  int64_t outstanding_ = 0;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_OBJECT_CACHE_H_
