// Common to the tests of htable_*.cc: a System, address spaces in it, data pages to map.
#ifndef HATCHECK_HAT_HTABLE_FOR_TEST_H_
#define HATCHECK_HAT_HTABLE_FOR_TEST_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "hat/audit.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/pte_ops.h"
#include "hat/system.h"
#include "platform/platform.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Three levels of four entries: 32-byte pages, 128-byte spans of a level-0 table, large pages of
// four; the user's half has two level-1 tables of four level-0 tables each.
inline SystemConfig toy_config() {
  SystemConfig config = SystemConfig::tiny();
  config.machine.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 2, .max_page_level = 1};
  config.machine.nframes = 256;
  config.machine.ncpus = 4;
  config.htable_reserve_amount = 4;
  config.hment_reserve_amount = 4;
  config.hat_num_hash = 4;
  config.htable_num_lock = 2;
  config.kmap_bytes = config.machine.mmu.level_size(1);
  config.kernelheap_bytes = 2 * config.machine.mmu.level_size(1);
  return config;
}

// The real geometry with little of everything.
inline SystemConfig amd64_config() {
  SystemConfig config;
  config.machine.nframes = 4096;
  config.hment_num_hash = 1024;
  config.mlist_num_lock = 64;
  config.hash_num_lock = 64;
  config.htable_reserve_amount = 8;
  config.hment_reserve_amount = 8;
  config.kmap_bytes = 2 << 20;
  config.kernelheap_bytes = 2 << 20;
  return config;
}

class TestWorld {
 public:
  explicit TestWorld(const SystemConfig& config) : sys(config) {}
  ~TestWorld() {
    for (uint32_t i = 0; i < spaces_.size(); ++i) {
      if (spaces_[i].a_hat != nullptr) exit(spaces_[i].a_hat);
    }
    for (page_t* pp : pages_) {
      if (pp->p_szc.load(std::memory_order_relaxed) == 0) {
        page_destroy(sys.vm, pp, 0);
      } else {
        page_destroy_pages(sys.vm, pp);
      }
    }
  }

  hat_t* new_hat() {
    as_t& as = spaces_.emplace_back(static_cast<uint32_t>(spaces_.size()));
    WriterGuard guard(as.a_lock);
    as.a_hat = hat_alloc(sys, &as);
    return as.a_hat;
  }

  // The address space ends: everything unmapped, tables and hat freed.
  void exit(hat_t* hat) {
    as_t* const as = hat->hat_as();
    WriterGuard guard(as->a_lock);
    hat_free_start(sys, hat);
    hat_unload(sys, hat, 0, sys.userlimit, HAT_UNLOAD_UNMAP);
    hat_free_end(sys, hat);
    as->a_hat = nullptr;
  }

  // A page with a name, EXCL.
  page_t* new_page() {
    const uint64_t pagesize = sys.vm.pagesize;
    page_t* ring = page_create_va(sys.vm, &file, next_page_++ * pagesize, pagesize, PG_EXCL);
    HAT_ASSERT(ring != nullptr);
    page_t* const pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(sys.vm, pp);
    pages_.push_back(pp);
    return pp;
  }
  // The leader of a level-1 page, each constituent EXCL.
  page_t* new_large_page() {
    const uint64_t count = page_get_pagecnt(sys.vm, 1);
    next_page_ = (next_page_ + count - 1) / count * count;
    page_t* const pp = page_alloc_large(sys.vm, &file, next_page_ * sys.vm.pagesize, 1);
    HAT_ASSERT(pp != nullptr);
    next_page_ += count;
    pages_.push_back(pp);
    return pp;
  }

  void map(hat_t* hat, uintptr_t va, page_t* pp, uint32_t flags = HAT_LOAD) {
    constexpr uint32_t attr = PROT_READ_ATTR | PROT_WRITE_ATTR | PROT_USER_ATTR;
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_memload(sys, hat, va, pp, attr, flags);
  }
  void map_large(hat_t* hat, uintptr_t va, page_t* leader) {
    constexpr uint32_t attr = PROT_READ_ATTR | PROT_WRITE_ATTR | PROT_USER_ATTR;
    std::vector<page_t*> group;
    for (uint64_t i = 0; i < page_get_pagecnt(sys.vm, 1); ++i) {
      group.push_back(page_numtopp_nolock(sys.vm, leader->p_pagenum + i));
    }
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_memload_array(sys, hat, va, sys.mmu().level_size(1), group.data(), attr, HAT_LOAD);
  }
  void unmap(hat_t* hat, uintptr_t va, uint32_t flags = HAT_UNLOAD) {
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_unload(sys, hat, va, sys.mmu().pagesize(), flags);
  }

  // Whether there is a table, without keeping a hold.
  bool exists(hat_t* hat, uintptr_t va, level_t level) { return find(hat, va, level) != nullptr; }
  // The table itself, for a look at its fields while nobody else is at work.
  htable_t* find(hat_t* hat, uintptr_t va, level_t level) {
    const uintptr_t base = htable_base(sys, va, level);
    const uint32_t bucket = htable_hash(sys, hat, base, level);
    MutexGuard guard(htable_mutex_of(sys, bucket));
    return htable_search(sys, hat, bucket, base, level);
  }
  // Tables on a hat's cache, most recent first.
  std::vector<htable_t*> cached(hat_t* hat) {
    std::vector<htable_t*> tables;
    MutexGuard guard(hat->hat_mutex);
    htable_t* ht = hat->hat_ht_cached.load(std::memory_order_relaxed);
    for (; ht != nullptr; ht = ht->ht_next()) tables.push_back(ht);
    return tables;
  }
  bool frame_is_zero(pfn_t pfn) {
    for (uint32_t i = 0; i < sys.mmu().ptes_per_table(); ++i) {
      if (sys.machine.mem().word(pfn, i).load(std::memory_order_relaxed) != 0) return false;
    }
    return true;
  }

  System sys;
  vnode_t file{"file", 1, 0, nullptr};

 private:
  std::deque<as_t> spaces_;
  std::vector<page_t*> pages_;
  uint64_t next_page_ = 0;
};

inline int32_t busy(const htable_t* ht) { return ht->ht_busy.load(std::memory_order_relaxed); }
inline int32_t valid(const htable_t* ht) {
  return ht->ht_valid_cnt.load(std::memory_order_relaxed);
}
inline int32_t locks(const htable_t* ht) { return ht->ht_lock_cnt.load(std::memory_order_relaxed); }
inline uint32_t flags(const hat_t* hat) { return hat->hat_flags.load(std::memory_order_relaxed); }
inline int64_t tables(const System& sys) {
  return sys.active_ptables.load(std::memory_order_relaxed);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_FOR_TEST_H_
