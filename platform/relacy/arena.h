// Arena: the memory of one execution.
//
// Everything that a scenario allocates while an execution runs (`new` and ObjectCache) comes from
// here, and all of it is taken back when the execution ends, also when it was abandoned half way.
// The set-up and each thread have a part of their own and memory is never used twice in one
// execution, so
// - the same object has the same address in every execution in which its thread allocates the same
//   things, whatever the others do. Addresses name the objects that the search has learnt about;
// - an access to freed memory is always seen.
// The parts lie at a fixed address, so executions repeat across processes too.
//
// The stacks of the simulated threads live beside the parts: a place on a stack is then a place
// like any other.
//
// Thread safety: none; one process, one run, one real thread.
#ifndef HATCHECK_PLATFORM_RELACY_ARENA_H_
#define HATCHECK_PLATFORM_RELACY_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "platform/relacy/backend.h"
#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

// One allocation. Those of ObjectCaches know their cache.
struct Block {
  const std::byte* begin = nullptr;
  size_t size = 0;
  const void* cache = nullptr;
  const char* name = nullptr;  // of the cache
  bool live = true;
  int8_t allocated_by = 0;
  int8_t freed_by = 0;
  uint64_t allocated_at = 0;  // on the clock of the thread that allocated it, 0 in set-up
  Where allocated;
  Where freed;
};

class Arena {
 public:
  static constexpr int kParts = kMaxThreads + 1;  // part 0 is set-up and final check
  static constexpr size_t kPartBytes = size_t{64} << 20;
  static constexpr size_t kStackBytes = size_t{1} << 20;

  Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Takes everything back.
  void reset();

  // The part that the following allocations come from.
  void use_part(int part) { part_ = part; }

  void* allocate(size_t size, size_t alignment);
  // Registers what follows as an object of a cache.
  Block& allocate_object(const void* cache, const char* name, size_t size, size_t alignment);
  // Marks plain memory dead. Precondition: contains(memory).
  void free(void* memory);
  void kill(Block& block);

  bool contains(const void* place) const { return offset(place) < kAllBytes; }
  bool dead(const void* place) const {
    const size_t at = offset(place);
    return at < kAllBytes && dead_[at / kGranule] != 0;
  }
  // The object of a cache that the place is or was in, or null.
  Block* object_at(const void* place);

  // An object of the cache that has not been freed, or null.
  const Block* any_live(const void* cache) const;

  // "hment+0x10 (allocated at ...)" or "0x12f40": the same in every execution.
  std::string describe(const void* place);

  // A stack of kStackBytes for a thread; the same again after release_stacks().
  std::byte* take_stack();
  void release_stacks() { stacks_used_ = 0; }

  // The number of the cell that belongs to the place, 0 for none. Precondition: contains(place).
  uint32_t& cell(const void* place) { return cells_[offset(place)]; }

 private:
  static constexpr size_t kGranule = 16;
  static constexpr size_t kStacksAt = kParts * kPartBytes;
  static constexpr size_t kAllBytes = kStacksAt + kMaxThreads * 2 * kStackBytes;

  struct Part {
    size_t used = 0;
    std::vector<Block> objects;  // by address
  };

  size_t offset(const void* place) const {
    return static_cast<size_t>(static_cast<const std::byte*>(place) - base_);
  }

  std::byte* base_;
  uint8_t* dead_;    // one for each granule
  uint32_t* cells_;  // one for each byte
  Part parts_[kParts];
  int part_ = 0;
  int stacks_used_ = 0;
};

// The arena of the process; it lives for ever.
Arena& arena();

// While one of these exists, `new` means the heap of the process: for what the engine itself keeps.
class OutsideArena {
 public:
  OutsideArena();
  ~OutsideArena();
  OutsideArena(const OutsideArena&) = delete;
  OutsideArena& operator=(const OutsideArena&) = delete;

 private:
  const bool before_;
};

// Whether `new` takes from the arena now.
void use_arena(bool use);

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

#endif  // HATCHECK_PLATFORM_RELACY_ARENA_H_
