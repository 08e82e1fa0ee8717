// Vm: everything the kernel's page layer keeps in file-scope variables, in one object.
//
// The layer itself is free functions with the kernel's names that take the Vm first: page.h (locks
// of a page), page_cache.h (pages by identity), page_alloc.h (creating and freeing), vnode.h
// (files).
//
// vm/ lies below hat/ and calls up through PageMappingOps only.
//
// Thread safety: pages, locks and configuration are fixed after construction; each list and counter
// says what protects it. Construction and destruction are single threaded.
#ifndef HATCHECK_VM_VM_H_
#define HATCHECK_VM_VM_H_

#include <cstdint>
#include <deque>
#include <memory>

#include "machine/machine.h"
#include "platform/platform.h"
#include "vm/lock_array.h"
#include "vm/locking.h"
#include "vm/page.h"
#include "vm/page_cache.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// What the page layer needs of the HAT. The page is locked by the caller, EXCL for hat_pageunload.
// No mutex of vm/ is held, except that hment_mapcnt and hat_pageunload may be called with none at
// all.
class PageMappingOps {
 public:
  virtual ~PageMappingOps();
  // Number of mappings of the page, at all sizes.
  virtual uint32_t hment_mapcnt(page_t* pp) = 0;
  // Removes all mappings of the page.
  virtual void hat_pageunload(page_t* pp) = 0;
  // Collects REF and MOD of all mappings in p_nrm; returns p_nrm & (P_REF | P_MOD | P_RO).
  virtual uint32_t hat_pagesync(page_t* pp, uint32_t flags) = 0;
  virtual void hat_page_setattr(page_t* pp, uint32_t bits) = 0;
  virtual void hat_page_clrattr(page_t* pp, uint32_t bits) = 0;
};

// Flag of PageMappingOps::hat_pagesync: clear the bits in the mappings (hat/'s HAT_SYNC_ZERORM).
inline constexpr uint32_t kPageSyncZeroRm = 1;

// Sizes. The defaults are the kernel's; 0 or -1 means "from the memory size".
struct VmConfig {
  uint32_t page_hash_size = 0;  // buckets, power of two; 0: about npages / 4
  uint32_t ph_locks = 128;      // all lock counts are powers of two
  uint32_t vph_locks = 128;
  uint32_t pse_locks = 128;
  uint32_t pio_locks = 128;
  uint32_t page_szc_locks = 128;
  uint32_t free_lists = 16;      // pairs of lists, each for a range of frames
  pfn_t reserved_frames = 0;     // lowest frames: in use from the start, nobody's
  int64_t throttlefree = -1;     // -1: npages / 256
  int64_t pageout_reserve = -1;  // -1: throttlefree / 2
  int64_t t_minarmem = -1;       // availrmem that page_resv leaves; -1: npages / 64, at most 25

  // One of everything, no thresholds: for models.
  static VmConfig tiny();
};

// The free list and the cache list of a range of frames. Rings through p_next; allocation takes
// from the head.
struct alignas(64) page_list_t {
  explicit page_list_t(uint32_t instance) : page_freelock(kPageFreeLock, instance) {}
  Mutex page_freelock;
  // Written under page_freelock; an allocator peeks to skip empty lists, and a stale peek costs it
  // a second round.
  Atomic<page_t*> free_head{nullptr};
  Atomic<page_t*> cache_head{nullptr};
  Guarded<int64_t> free_count{0};
  Guarded<int64_t> cache_count{0};
};

class Vm {
 public:
  Vm(const VmConfig& config, Machine& machine);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  // Connects the HAT; nullptr disconnects. Until then no page is mapped. Not owned. To be called
  // while nobody uses the page layer.
  void set_mapping_ops(PageMappingOps* ops);
  PageMappingOps& mapping_ops() const { return *ops_; }

  Machine& machine;
  const VmConfig config;  // with all sizes filled in
  const uint64_t pagesize;
  const int pageshift;
  const pfn_t npages;
  const int max_szc;  // largest size code

  // All pages, by frame number.
  const std::unique_ptr<page_t[]> pages;

  // Owner of pages that are no file's (page tables).
  vnode_t kvp;

  // Page hash: chains through p_hash, heads written under ph.
  const std::unique_ptr<Atomic<page_t*>[]> page_hash;
  LockArray ph_mutex;
  LockArray vph_mutex;
  LockArray pse_mutex;
  LockArray pio_mutex;
  LockArray page_szc_mutex;

  // Free and cache lists. The list of a frame is fixed, pfn >> list_shift, and wide enough for
  // every large page to lie within one.
  const int list_shift;
  std::deque<page_list_t> lists;

  // freemem (page_alloc.h, F1) and those who sleep for it.
  Atomic<int64_t> freemem_count{0};
  Atomic<uint32_t> freemem_waiters{0};
  Mutex new_freemem_lock;
  CondVar freemem_cv;

  // Lockable memory (freemem_lock).
  Mutex freemem_lock;
  CondVar availrmem_cv;
  Guarded<int64_t> availrmem_count;

  // NOMEMWAIT state of the thread on each CPU; touched by that thread only.
  const std::unique_ptr<Guarded<bool>[]> nomemwait;

 private:
  const std::unique_ptr<PageMappingOps> no_mappings_;
  PageMappingOps* ops_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_VM_H_
