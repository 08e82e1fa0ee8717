// The global operator new and delete: from the arena while a scenario's code runs.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "explorer/arena.h"
#include "explorer/engine.h"

namespace {

void* get(std::size_t size, std::size_t alignment) {
  using explorer::Arena;
  if (Arena::current_area == Arena::kHost) {
    void* const p =
        alignment <= alignof(std::max_align_t)
            ? std::malloc(size == 0 ? 1 : size)
            : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr) std::abort();
    return p;
  }
  return explorer::allocate(size, alignment);
}

void put(void* p) {
  if (p == nullptr) return;
  if (explorer::Arena::contains(p)) {
    explorer::release(p);
  } else {
    std::free(p);
  }
}

}  // namespace

void* operator new(std::size_t size) { return get(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return get(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t align) {
  return get(size, static_cast<std::size_t>(align));
}
void* operator new[](std::size_t size, std::align_val_t align) {
  return get(size, static_cast<std::size_t>(align));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return get(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return get(size, alignof(std::max_align_t));
}
void operator delete(void* p) noexcept { put(p); }
void operator delete[](void* p) noexcept { put(p); }
void operator delete(void* p, std::size_t) noexcept { put(p); }
void operator delete[](void* p, std::size_t) noexcept { put(p); }
void operator delete(void* p, std::align_val_t) noexcept { put(p); }
void operator delete[](void* p, std::align_val_t) noexcept { put(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { put(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { put(p); }
