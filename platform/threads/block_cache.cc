#include "platform/threads/block_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "platform/check.h"

// Reads a word that may be in memory which a sanitizer considers gone: the header of an object that
// is being freed, perhaps for the second time.
#define HATCHECK_UNCHECKED __attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

constexpr uint64_t kLive = 0x6c69766562656566;
constexpr uint64_t kFree = 0x6672656562656566;
constexpr unsigned char kPoison = 0xdf;
constexpr size_t kPoisonBytes = 64;  // a cache line: the list links and the key of most objects

constexpr size_t kMagazine = 64;
constexpr size_t kBatch = kMagazine / 2;

// A sanitizer watches heap objects better than reused ones, and handing memory from thread to
// thread through the depot's mutex would hide races from ThreadSanitizer.
constexpr bool kPlainHeap = kTsan || kAsan;

constexpr size_t round_up(size_t size, size_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

HATCHECK_UNCHECKED uint64_t read_unchecked(const volatile uint64_t* word) { return *word; }

}  // namespace

struct BlockCache::Header {
  volatile uint64_t state;  // volatile: the store before the memory is given back must happen
  Where where;              // of the last alloc or free
};

// Free objects of one CPU, and what it took less what it gave.
struct alignas(64) BlockCache::Magazine {
  size_t count = 0;
  void* objects[kMagazine];
  std::atomic<int64_t> live{0};
};

BlockCache::BlockCache(const char* name, size_t object_size, size_t object_alignment)
    : name_(name),
      object_size_(object_size),
      alignment_(std::max(object_alignment, alignof(Header))),
      header_size_(round_up(sizeof(Header), alignment_)),
      block_size_(round_up(header_size_ + object_size, alignment_)) {}

BlockCache::~BlockCache() {
  if (outstanding() != 0) report_leak();
  for (std::atomic<Magazine*>& slot : magazines_) {
    Magazine* magazine = slot.load(std::memory_order_acquire);
    if (magazine == nullptr) continue;
    for (size_t i = 0; i < magazine->count; ++i) check_poison(magazine->objects[i]);
    delete magazine;
  }
  for (void* object : depot_) check_poison(object);
  for (void* chunk : chunks_) ::operator delete (chunk, std::align_val_t{alignment_});
}

// The mark of one cache is no other's, so an object that is freed to the wrong cache is noticed.
uint64_t BlockCache::mark(uint64_t state) const {
  return state ^ reinterpret_cast<uintptr_t>(this);
}

BlockCache::Header* BlockCache::header_of(void* object) const {
  return reinterpret_cast<Header*>(static_cast<char*>(object) - header_size_);
}

void* BlockCache::object_of(Header* header) const {
  return reinterpret_cast<char*>(header) + header_size_;
}

BlockCache::Magazine* BlockCache::my_magazine() {
  const Cpu& cpu = Cpu::current();
  if (!cpu.bound()) return nullptr;
  std::atomic<Magazine*>& slot = magazines_[cpu.id()];
  Magazine* magazine = slot.load(std::memory_order_relaxed);
  if (magazine == nullptr) {
    magazine = new Magazine;
    slot.store(magazine, std::memory_order_release);  // for outstanding() on other threads
  }
  return magazine;
}

void* BlockCache::new_block() {
  void* block = ::operator new (block_size_, std::align_val_t{alignment_});
  return object_of(::new (block) Header{});
}

void BlockCache::delete_block(void* object) {
  ::operator delete (header_of(object), std::align_val_t{alignment_});
}

// Precondition: depot_mutex_ is held.
void BlockCache::refill(std::vector<void*>& blocks, size_t count) {
  char* chunk =
      static_cast<char*>(::operator new (block_size_* count, std::align_val_t{alignment_}));
  chunks_.push_back(chunk);
  for (size_t i = 0; i < count; ++i) {
    void* object = object_of(::new (chunk + i * block_size_) Header{});
    poison(object);
    blocks.push_back(object);
  }
}

void* BlockCache::take(Where where) {
  Magazine* magazine = my_magazine();
  void* object = nullptr;
  if constexpr (kPlainHeap) {
    object = new_block();
  } else if (magazine != nullptr && magazine->count != 0) {
    object = magazine->objects[--magazine->count];
  } else {
    const std::lock_guard<std::mutex> guard(depot_mutex_);
    if (depot_.size() < kBatch) refill(depot_, kBatch);
    const size_t wanted = magazine != nullptr ? kBatch : 1;
    for (size_t i = 1; i < wanted; ++i) {
      magazine->objects[magazine->count++] = depot_.back();
      depot_.pop_back();
    }
    object = depot_.back();
    depot_.pop_back();
  }
  std::atomic<int64_t>& live = magazine != nullptr ? magazine->live : unbound_live_;
  if (magazine != nullptr) {
    live.store(live.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  } else {
    live.fetch_add(1, std::memory_order_relaxed);
  }
  if constexpr (!kPlainHeap) check_poison(object);
  Header* header = header_of(object);
  header->state = mark(kLive);
  header->where = where;
  return object;
}

void BlockCache::check_free(void* object, Where where) {
  Header* header = header_of(object);
  const uint64_t state = read_unchecked(&header->state);
  if (state != mark(kLive)) [[unlikely]] {
    std::string message = std::string("free of something that is no object of cache '") + name_ +
                          "', or was freed and reused";
    if (state == mark(kFree)) {
      message = std::string("double free of an object of cache '") + name_ + "'";
      // The header of heap memory is a sanitizer's to complain about.
      if constexpr (!kPlainHeap) message += ", freed before at " + to_string(header->where);
    }
    fail(Kind::kDoubleFree, message, where);
  }
  header->state = mark(kFree);
  header->where = where;
}

void BlockCache::give(void* object) {
  Magazine* magazine = my_magazine();
  if (magazine != nullptr) {
    std::atomic<int64_t>& live = magazine->live;
    live.store(live.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  } else {
    unbound_live_.fetch_sub(1, std::memory_order_relaxed);
  }
  if constexpr (kPlainHeap) {
    delete_block(object);
    return;
  }
  poison(object);
  if (magazine != nullptr && magazine->count < kMagazine) {
    magazine->objects[magazine->count++] = object;
    return;
  }
  const std::lock_guard<std::mutex> guard(depot_mutex_);
  depot_.push_back(object);
  if (magazine == nullptr) return;
  // Half of it goes, so that a thread that alternates does not come back each time.
  for (size_t i = 0; i < kBatch; ++i) depot_.push_back(magazine->objects[--magazine->count]);
}

int64_t BlockCache::outstanding() const {
  int64_t live = unbound_live_.load(std::memory_order_relaxed);
  for (const std::atomic<Magazine*>& slot : magazines_) {
    const Magazine* magazine = slot.load(std::memory_order_acquire);
    if (magazine != nullptr) live += magazine->live.load(std::memory_order_relaxed);
  }
  return live;
}

void BlockCache::poison(void* object) const {
  std::memset(object, kPoison, std::min(object_size_, kPoisonBytes));
}

void BlockCache::check_poison(void* object) const {
  const unsigned char* bytes = static_cast<const unsigned char*>(object);
  const size_t size = std::min(object_size_, kPoisonBytes);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] == kPoison) [[likely]]
      continue;
    fail(Kind::kUseAfterFree,
         std::string("byte ") + std::to_string(i) + " of a freed object of cache '" + name_ +
             "' was written after it was freed (use after free)",
         header_of(object)->where);
  }
}

void BlockCache::report_leak() {
  std::string message = "leak: " + std::to_string(outstanding()) + " objects of cache '" + name_ +
                        "' were never freed";
  Where first;
  if constexpr (!kPlainHeap) {
    // Blocks of a chunk are contiguous and each chunk has kBatch of them.
    for (void* chunk : chunks_) {
      for (size_t i = 0; i < kBatch && first.line == 0; ++i) {
        const Header* header =
            reinterpret_cast<const Header*>(static_cast<char*>(chunk) + i * block_size_);
        if (header->state == mark(kLive)) first = header->where;
      }
    }
    message += ", one of them allocated at " + to_string(first);
  }
  fail(Kind::kLeak, message, first.line != 0 ? first : Where::here());
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
