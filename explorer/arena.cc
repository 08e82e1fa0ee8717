#include "explorer/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace explorer {
namespace {

constexpr size_t kPage = 4096;
constexpr uint32_t kLiveMark = 0x11feb10c;
constexpr uint32_t kFreedMark = 0xdeadb10c;

size_t rounded(size_t size, size_t to) { return (size + to - 1) / to * to; }

void* reserve(uintptr_t where, size_t size) {
  const int fixed = where != 0 ? MAP_FIXED_NOREPLACE : 0;
  void* const p = ::mmap(reinterpret_cast<void*>(where), size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
  if (p == MAP_FAILED) {
    std::perror("explorer: cannot reserve address space for scenarios");
    std::abort();
  }
  return p;
}

}  // namespace

struct Arena::Header {
  uint32_t mark;
  uint32_t pad;
  uint64_t size;
};

Arena& Arena::instance() {
  // Never destroyed: memory may be freed after static destructors began.
  static Arena* const arena = new (std::malloc(sizeof(Arena))) Arena;
  return *arena;
}

Arena::Arena() {
  char* const base = static_cast<char*>(reserve(kBase, kBytes));
  shadow_ = static_cast<uint8_t*>(reserve(0, kBytes / kGrain));
  snapshot_ = static_cast<char*>(reserve(0, kSetupBytes));
  areas_[kSetup] = Area{base, base, base + kSetupBytes};
  for (int i = 0; i < kMaxThreads; ++i) {
    char* const begin = base + kSetupBytes + i * kThreadBytes;
    areas_[i] = Area{begin, begin, begin + kThreadBytes};
  }
}

void Arena::mark(const void* p, size_t size, State state) {
  const size_t first = (reinterpret_cast<uintptr_t>(p) - kBase) / kGrain;
  std::memset(shadow_ + first, static_cast<int>(state), rounded(size, kGrain) / kGrain);
}

void* Arena::allocate(int area_index, size_t size, size_t alignment) {
  Area& area = areas_[area_index];
  const size_t align = std::max(alignment, kGrain);
  const size_t space = rounded(std::max<size_t>(size, 1), kGrain);
  const uintptr_t start = rounded(reinterpret_cast<uintptr_t>(area.next) + sizeof(Header), align);
  char* const p = reinterpret_cast<char*>(start);
  if (size > kSetupBytes || p + space > area.end) return nullptr;
  new (p - sizeof(Header)) Header{kLiveMark, 0, size};
  std::memset(p, kFresh, space);
  mark(p, space, State::kLive);
  area.next = p + space;
  ++live_blocks_;
  return p;
}

const void* Arena::block_of(const void* p) const {
  if (!contains(p)) return nullptr;
  const uintptr_t first = reinterpret_cast<uintptr_t>(p) / kGrain * kGrain;
  for (uintptr_t at = first; at > kBase; at -= kGrain) {
    const Header* const header = reinterpret_cast<const Header*>(at) - 1;
    if (header->mark != kLiveMark && header->mark != kFreedMark) continue;
    const void* const block = reinterpret_cast<const void*>(at);
    return first < at + rounded(std::max<size_t>(header->size, 1), kGrain) ? block : nullptr;
  }
  return nullptr;
}

size_t Arena::block_size(const void* p) { return (static_cast<const Header*>(p) - 1)->size; }

Arena::Release Arena::release(void* p) {
  Header* const header = static_cast<Header*>(p) - 1;
  if (reinterpret_cast<uintptr_t>(p) % kGrain != 0 || !contains(header)) {
    return Release::kNotABlock;
  }
  if (header->mark == kFreedMark) return Release::kTwice;
  if (header->mark != kLiveMark) return Release::kNotABlock;
  header->mark = kFreedMark;
  std::memset(p, kFreed, header->size);
  mark(p, header->size, State::kFreed);
  --live_blocks_;
  if (reinterpret_cast<uintptr_t>(p) - kBase < frozen_) {
    const HostScope host;
    freed_setup_blocks_.push_back(p);
  }
  return Release::kDone;
}

const void* Arena::first_live_block() const {
  for (const Area& area : areas_) {
    for (const char* p = area.begin; p < area.next; p += kGrain) {
      const Header* const header = reinterpret_cast<const Header*>(p) - 1;
      if (state(p) == State::kLive && contains(header) && header->mark == kLiveMark) return p;
    }
  }
  return nullptr;
}

void Arena::protect(bool writable) {
  if (frozen_ == 0) return;
  ::mprotect(areas_[kSetup].begin, frozen_, writable ? PROT_READ | PROT_WRITE : PROT_READ);
}

void Arena::clear() {
  protect(true);
  frozen_ = 0;
  live_blocks_ = 0;
  dirty_pages_.clear();
  freed_setup_blocks_.clear();
  for (Area& area : areas_) {
    mark(area.begin, area.next - area.begin, State::kUnused);
    // Back to zeroes, and the memory back to the operating system.
    ::madvise(area.begin, rounded(area.next - area.begin, kPage), MADV_DONTNEED);
    area.next = area.begin;
  }
}

void Arena::freeze() {
  Area& area = areas_[kSetup];
  frozen_ = rounded(area.next - area.begin, kPage);
  area.next = area.begin + frozen_;
  std::memcpy(snapshot_, area.begin, frozen_);
  frozen_live_blocks_ = live_blocks_;
  dirty_pages_.reserve(frozen_ / kPage);
  protect(false);
}

void Arena::restore() {
  for (const uint32_t page : dirty_pages_) {
    std::memcpy(areas_[kSetup].begin + page * kPage, snapshot_ + page * kPage, kPage);
  }
  for (void* const p : freed_setup_blocks_) mark(p, block_size(p), State::kLive);
  freed_setup_blocks_.clear();
  live_blocks_ = frozen_live_blocks_;
  for (Area& area : areas_) {
    char* const start = &area == &areas_[kSetup] ? area.begin + frozen_ : area.begin;
    if (area.next != start) mark(start, area.next - start, State::kUnused);
    area.next = start;
  }
}

bool Arena::handle_fault(uintptr_t address) {
  if (address - kBase >= frozen_) return false;
  const uint32_t page = static_cast<uint32_t>((address - kBase) / kPage);
  if (std::find(dirty_pages_.begin(), dirty_pages_.end(), page) != dirty_pages_.end()) return false;
  dirty_pages_.push_back(page);  // within its reserved capacity
  return ::mprotect(areas_[kSetup].begin + page * kPage, kPage, PROT_READ | PROT_WRITE) == 0;
}

}  // namespace explorer
