// Pauses: a thread of the observed build gives way before it touches what others share, and looks
// who touches a field meanwhile.
//
// Left alone, an operating system takes the processor away a few hundred times a second, wherever a
// thread happens to be. A window of a few instructions between a look and the lock that the look
// was made without then stays shut for hours, the more surely the more seldom a path is taken. So a
// thread with Pauses stops for a random short time before an operation on a lock, a condition
// variable, an Atomic or a Guarded. All places in the source get the same share of its pauses, or
// one at each visit, however often it comes by.
//
// A thread that pauses before an access to a Guarded leaves a watch on it. Another thread that
// accesses the field while the watch is there, one of the two writing, has found a data race: no
// lock and no other happens-before edge can lie between the two accesses, because the one that
// pauses does nothing in between. There are no false reports. Each thread that has Pauses sees the
// watches of all.
//
// In the other builds of this backend a Pauses does nothing and the hooks are no code.
//
// Thread safety: one per thread, made and destroyed by it.
#ifndef HATCHECK_PLATFORM_THREADS_PAUSES_H_
#define HATCHECK_PLATFORM_THREADS_PAUSES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/threads/backend.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class FieldAccess : uint8_t { kRead, kWrite };

class Pauses {
 public:
  // For the calling thread, while this lives: about `per_second` pauses a second; 0 is none. The
  // seed decides how long they are, not what they hit. There are none in files whose path begins
  // with one of `spared`, but their accesses to watched fields count.
  explicit Pauses(uint32_t per_second, uint64_t seed = 0, std::vector<std::string> spared = {});
  ~Pauses();
  Pauses(const Pauses&) = delete;
  Pauses& operator=(const Pauses&) = delete;

  // The hooks. A thread without Pauses pays for a look at a thread-local variable.
  static void before_sync(const Where& where) {
    if constexpr (kObserved) {
      if (current_ != nullptr && current_->due(where)) [[unlikely]] {
        current_->pause_at(where, nullptr, FieldAccess::kRead);
      }
    }
  }
  static void before_access(const void* field, FieldAccess access, const Where& where) {
    if constexpr (kObserved) {
      if (current_ == nullptr) return;
      const uint64_t watched = watch_of(field).field.load(std::memory_order_relaxed);
      if (watched != 0) [[unlikely]] {
        look_at_watch(field, access, where, watched);
      }
      if (current_->due(where)) [[unlikely]] {
        current_->pause_at(where, field, access);
      }
    }
  }

 private:
  // A place in the source, or several that share a slot.
  struct Site {
    int32_t left = 0;     // visits until it is due
    int32_t planned = 0;  // what they were after its last pause
    uint64_t paused = 0;  // when that was, in clock ticks
  };
  // What a pausing thread is about to access. 0: nothing; 1: the watch is being set up, or has
  // caught somebody; else the address, with kWrites if it is to be written.
  struct alignas(64) Watch {
    std::atomic<uint64_t> field{0};
    std::atomic<const char*> file{nullptr};
    std::atomic<const char*> function{nullptr};
    std::atomic<int> line{0};
    std::atomic<uint32_t> cpu{0};
  };
  static constexpr uint64_t kBusy = 1, kWrites = uint64_t{1} << 63;
  static constexpr size_t kSites = 16384, kWatches = 64;

  static size_t hash(uint64_t value, size_t buckets) {
    return (value * 0x9e3779b97f4a7c15u >> 40) % buckets;
  }
  static Watch& watch_of(const void* field) {
    return watches_[hash(reinterpret_cast<uintptr_t>(field), kWatches)];
  }
  bool due(const Where& where) { return --site_of(where).left < 0; }
  Site& site_of(const Where& where) {
    return sites_[hash(reinterpret_cast<uintptr_t>(where.file) +
                           (static_cast<uint64_t>(where.line) << 44) +
                           (static_cast<uint64_t>(where.column) << 36),
                       kSites)];
  }
  // field: what is about to be accessed, or null.
  void pause_at(const Where& where, const void* field, FieldAccess access);
  void pause();
  // Whether it is time to pause at the site, which then knows when it is the next time.
  bool take_turn(Site& site, const Where& where);
  static void look_at_watch(const void* field, FieldAccess access, const Where& where,
                            uint64_t watched);

  // initial-exec: one load instead of a call.
  static thread_local constinit Pauses* current_ __attribute__((tls_model("initial-exec")));
  static Watch watches_[kWatches];

  const uint64_t ticks_between_;  // pauses
  uint64_t places_ = 0;           // that it has paused at
  uint64_t not_before_ = 0;       // when the next pause may be
  const std::vector<std::string> spared_;
  uint64_t random_;
  const std::unique_ptr<Site[]> sites_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_PAUSES_H_
