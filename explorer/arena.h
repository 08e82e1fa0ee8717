// Arena: the memory of a scenario, identical at the start of every execution.
//
// One region at a fixed address holds an area for the set-up and one for each thread. An area
// hands out memory upwards and takes none back, so
//   - what a thread gets depends on its own allocations only, never on how threads interleave:
//     equivalent executions see equal addresses, and so does a replay in another process;
//   - freed memory is not reused, so every access to it through the engine's types is noticed.
// Fresh memory is filled with kFresh and freed memory with kFreed.
//
// freeze() keeps a copy of what the set-up built; restore() brings it back. Only pages that some
// execution wrote to are copied: the set-up's pages are write-protected, and the first write to one
// adds it to a list (handle_fault, called by the SIGSEGV handler).
//
// Thread safety: one real thread uses it.
#ifndef HATCHECK_EXPLORER_ARENA_H_
#define HATCHECK_EXPLORER_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "explorer/clock.h"

namespace explorer {

class Arena {
 public:
  static constexpr uintptr_t kBase = uintptr_t{0x2000} << 32;
  static constexpr size_t kSetupBytes = size_t{256} << 20;
  static constexpr size_t kThreadBytes = size_t{64} << 20;
  static constexpr size_t kBytes = kSetupBytes + kMaxThreads * kThreadBytes;
  static constexpr size_t kGrain = 16;
  static constexpr unsigned char kFresh = 0xa5;
  static constexpr unsigned char kFreed = 0xdf;
  // Areas: 0 to kMaxThreads-1 are the threads', this one is the set-up's.
  static constexpr int kSetup = kMaxThreads;

  enum class State : uint8_t { kUnused, kLive, kFreed };

  // The only one; maps the region at the first call.
  static Arena& instance();

  static bool contains(const void* p) { return reinterpret_cast<uintptr_t>(p) - kBase < kBytes; }
  // The state of the memory at p, which the arena contains.
  State state(const void* p) const {
    return static_cast<State>(shadow_[(reinterpret_cast<uintptr_t>(p) - kBase) / kGrain]);
  }

  // Where the global operator new takes memory from: an area while a scenario's code runs, kHost
  // otherwise (the ordinary heap).
  static constexpr int kHost = -1;
  static inline int current_area = kHost;

  // Null if the area is full. `alignment` is a power of two.
  void* allocate(int area, size_t size, size_t alignment);

  enum class Release { kDone, kTwice, kNotABlock };
  Release release(void* p);

  // The block, live or freed, that p lies in: null if there is none.
  const void* block_of(const void* p) const;
  // The size asked for, of a live or freed block.
  static size_t block_size(const void* p);

  // Blocks allocated and not freed.
  int64_t live_blocks() const { return live_blocks_; }
  // One of them, in the order of addresses, or null.
  const void* first_live_block() const;

  void clear();    // forget everything, the set-up too
  void freeze();   // what has been built so far is the start of every execution
  void restore();  // back to that

  // True if a write to `address` was to a protected page, which is writable now.
  bool handle_fault(uintptr_t address);

  size_t snapshot_bytes() const { return frozen_; }

 private:
  struct Header;
  struct Area {
    char* begin = nullptr;
    char* next = nullptr;
    char* end = nullptr;
  };

  Arena();
  void mark(const void* p, size_t size, State state);
  void protect(bool writable);

  Area areas_[kMaxThreads + 1];
  uint8_t* shadow_ = nullptr;
  char* snapshot_ = nullptr;
  size_t frozen_ = 0;  // bytes of the set-up's area that the snapshot holds
  int64_t live_blocks_ = 0;
  int64_t frozen_live_blocks_ = 0;
  std::vector<uint32_t> dirty_pages_;
  std::vector<void*> freed_setup_blocks_;
};

// The code in this scope is the engine's own, though a scenario's thread runs it.
class HostScope {
 public:
  HostScope() : area_(Arena::current_area) { Arena::current_area = Arena::kHost; }
  ~HostScope() { Arena::current_area = area_; }
  HostScope(const HostScope&) = delete;
  HostScope& operator=(const HostScope&) = delete;

 private:
  const int area_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_ARENA_H_
