// BlockCache: the untyped half of ObjectCache. Raw memory of one size, with a header in front of
// each block that says whether it is in use and who allocated or freed it last.
//
// A block is live (with its user) or free (in a magazine, or in the depot). take() makes it live;
// check_free() makes it free and give() puts it away, with the object's destructor in between.
// See object_cache.h for the guarantees.
#ifndef HATCHECK_PLATFORM_THREADS_BLOCK_CACHE_H_
#define HATCHECK_PLATFORM_THREADS_BLOCK_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "platform/threads/cpu.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class BlockCache {
 public:
  BlockCache(const char* name, size_t object_size, size_t object_alignment);
  // Reports writes to free blocks, and a leak if blocks are live.
  ~BlockCache();

  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  void* take(Where where);
  void check_free(void* object, Where where);
  void give(void* object);
  int64_t outstanding() const;
  const char* name() const { return name_; }

 private:
  struct Header;
  struct Magazine;

  Magazine* my_magazine();
  Header* header_of(void* object) const;
  void* object_of(Header* header) const;
  void* new_block();
  void delete_block(void* object);
  void refill(std::vector<void*>& blocks, size_t count);
  void poison(void* object) const;
  void check_poison(void* object) const;
  uint64_t mark(uint64_t state) const;
  [[noreturn]] void report_leak();

  const char* const name_;
  const size_t object_size_;
  const size_t alignment_;
  const size_t header_size_;  // distance from a block's start to its object
  const size_t block_size_;

  std::atomic<Magazine*> magazines_[kMaxCpus] = {};
  std::atomic<int64_t> unbound_live_{0};  // blocks taken less blocks given by unbound threads

  std::mutex depot_mutex_;
  std::vector<void*> depot_;   // free objects
  std::vector<void*> chunks_;  // what was taken from the heap, to give back at the end
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_BLOCK_CACHE_H_
