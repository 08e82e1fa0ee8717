#include "platform/relacy/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

// Far from where the system puts anything.
constexpr uintptr_t kBase = 0x100000000000;

constinit bool g_use_arena = false;

void* map(void* at, size_t bytes) {
  const int flags =
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at != nullptr ? MAP_FIXED_NOREPLACE : 0);
  void* memory = ::mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) {
    std::fputs("hatcheck: no address space for simulated memory\n", stderr);
    std::_Exit(kExitInternal);
  }
  return memory;
}

// In front of each plain allocation.
struct Header {
  size_t size;
  size_t unused;
};

}  // namespace

Arena& arena() {
  static Arena* const instance = new Arena;
  return *instance;
}

void use_arena(bool use) { g_use_arena = use; }

OutsideArena::OutsideArena() : before_(g_use_arena) { g_use_arena = false; }
OutsideArena::~OutsideArena() { g_use_arena = before_; }

Arena::Arena()
    : base_(static_cast<std::byte*>(map(reinterpret_cast<void*>(kBase), kAllBytes))),
      dead_(static_cast<uint8_t*>(map(nullptr, kAllBytes / kGranule))),
      cells_(static_cast<uint32_t*>(map(nullptr, kAllBytes * sizeof(uint32_t)))) {
  // The lower half of each stack's room is a guard.
  for (int i = 0; i < kMaxThreads; ++i) {
    const size_t guard = kStacksAt + static_cast<size_t>(i) * 2 * kStackBytes;
    ::mprotect(base_ + guard, kStackBytes, PROT_NONE);
  }
}

void Arena::reset() {
  for (int i = 0; i < kParts; ++i) {
    Part& part = parts_[i];
    std::memset(dead_ + static_cast<size_t>(i) * kPartBytes / kGranule, 0,
                (part.used + kGranule - 1) / kGranule);
    part.used = 0;
    part.objects.clear();
  }
}

void* Arena::allocate(size_t size, size_t alignment) {
  Part& part = parts_[part_];
  alignment = std::max(alignment, kGranule);
  const size_t at = (part.used + sizeof(Header) + alignment - 1) & ~(alignment - 1);
  const size_t end = (at + size + kGranule - 1) & ~(kGranule - 1);
  if (end > kPartBytes) {
    std::fputs("hatcheck: one execution allocates more than 64 MiB in one thread\n", stderr);
    std::_Exit(kExitInternal);
  }
  part.used = end;
  std::byte* const memory = base_ + static_cast<size_t>(part_) * kPartBytes + at;
  reinterpret_cast<Header*>(memory)[-1].size = size;
  return memory;
}

Block& Arena::allocate_object(const void* cache, const char* name, size_t size, size_t alignment) {
  Block block;
  block.begin = static_cast<const std::byte*>(allocate(size, alignment));
  block.size = size;
  block.cache = cache;
  block.name = name;
  const OutsideArena outside;
  return parts_[part_].objects.emplace_back(block);
}

void Arena::free(void* memory) {
  const size_t size = static_cast<const Header*>(memory)[-1].size;
  std::memset(dead_ + offset(memory) / kGranule, 1, (size + kGranule - 1) / kGranule);
}

void Arena::kill(Block& block) {
  block.live = false;
  std::memset(dead_ + offset(block.begin) / kGranule, 1, (block.size + kGranule - 1) / kGranule);
}

Block* Arena::object_at(const void* place) {
  const size_t at = offset(place);
  if (at >= kStacksAt) return nullptr;
  std::vector<Block>& objects = parts_[at / kPartBytes].objects;
  auto after =
      std::upper_bound(objects.begin(), objects.end(), static_cast<const std::byte*>(place),
                       [](const std::byte* p, const Block& block) { return p < block.begin; });
  if (after == objects.begin()) return nullptr;
  Block& block = after[-1];
  return static_cast<const std::byte*>(place) < block.begin + block.size ? &block : nullptr;
}

const Block* Arena::any_live(const void* cache) const {
  for (const Part& part : parts_) {
    for (const Block& block : part.objects) {
      if (block.cache == cache && block.live) return &block;
    }
  }
  return nullptr;
}

std::string Arena::describe(const void* place) {
  char text[160];
  if (const Block* block = object_at(place)) {
    const auto within = static_cast<const std::byte*>(place) - block->begin;
    std::snprintf(text, sizeof(text), "%s@%zx+%td", block->name,
                  offset(block->begin) % (kPartBytes * kParts), within);
  } else {
    std::snprintf(text, sizeof(text), "@%zx", offset(place));
  }
  return text;
}

std::byte* Arena::take_stack() {
  const auto i = static_cast<size_t>(stacks_used_++ % kMaxThreads);
  return base_ + kStacksAt + (2 * i + 1) * kStackBytes;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

// --- the allocation functions of the program -----------------------------------------------------
// Relacy brings its own, inline; these are stronger, so they are what every other file is linked
// with. Relacy's, in the file that includes it, use the heap (simulator.cc).

namespace {

namespace model = hatcheck::model;

void* allocate(std::size_t size, std::size_t alignment) {
  if (model::g_use_arena) return model::arena().allocate(size, alignment);
  void* memory = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    memory = std::malloc(size != 0 ? size : 1);
  } else if (::posix_memalign(&memory, alignment, size) != 0) {
    memory = nullptr;
  }
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  if (model::arena().contains(memory)) {
    model::arena().free(memory);
  } else {
    std::free(memory);
  }
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, 0); }
void* operator new[](std::size_t size) { return allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
