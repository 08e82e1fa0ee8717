// The HAT's public calls: life cycle, loading, unloading, attributes, probes, sharing.
//
// User hats: the caller holds the address space's a_lock as said at each group. Pages given to a
// load are locked (p_selock, any mode) and not free. No HAT mutex may be held on entry to any of
// these, and none is held on exit. Addresses are page aligned unless said otherwise; lengths are
// multiples of the page size, in bytes.
#ifndef HATCHECK_HAT_HAT_H_
#define HATCHECK_HAT_HAT_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "hat/hat_types.h"
#include "hat/shootdown.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// ---- Life cycle (hat_life.cc). a_lock held as writer.

// A new hat for as, with its top table and the kernel's top-level entries. Sets as->a_hat's owner
// only: the caller stores the result.
hat_t* hat_alloc(System& sys, as_t* as);
// The address space goes: waits until no stealer works on the hat, then marks it HAT_FREEING.
// Nothing may run on it any more. After this, unmap everything, then hat_free_end.
void hat_free_start(System& sys, hat_t* hat);
// Waits for threads that still touch its tables, frees all of them and the hat.
void hat_free_end(System& sys, hat_t* hat);

void hat_enter(hat_t* hat, Where where = Where::here());
void hat_exit(hat_t* hat, Where where = Where::here());

void hat_swapin(System& sys, hat_t* hat);
// Unloads every user mapping of a table that has no locks, then the cache of empty tables. a_lock
// held.
void hat_swapout(System& sys, hat_t* hat);
// Copying translations at fork is not worth its while; both succeed and do nothing.
int hat_dup(System& sys, hat_t* parent, hat_t* child, uintptr_t addr, uint64_t len, uint32_t flag);
void hat_map(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags);

// ---- Loading (hat_load.cc). a_lock held for user hats.

void hat_memload(System& sys, hat_t* hat, uintptr_t addr, page_t* pp, uint32_t attr,
                 uint32_t flags);
// pages[i] backs addr + i*pagesize. Large pages are used where address, frame, length and size code
// allow.
void hat_memload_array(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, page_t** pages,
                       uint32_t attr, uint32_t flags);
// Maps frames, memory or not. Frames that are not memory are always off-list.
void hat_devload(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, pfn_t pfn, uint32_t attr,
                 uint32_t flags);
// 32-bit and crash-dump helper: prepares a page table entry of the kernel at addr to be set by
// hand, counting it as valid. Returns the table's frame and entry.
struct MemPte {
  htable_t* ht;
  uint32_t entry;
};
MemPte hat_mempte_setup(System& sys, uintptr_t addr);
void hat_mempte_release(System& sys, uintptr_t addr, MemPte mempte);

// ---- Unloading (hat_unload.cc). When these return, no CPU uses the old translations, except for
// those that somebody else is taking away and flushing just then (README.md).

using HatUnloadCallback = absl::FunctionRef<void(uintptr_t start, uintptr_t end)>;
void hat_unload(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags);
// Calls back with each contiguous range unloaded (at most 8 are collected at a time).
void hat_unload_callback(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags,
                         const HatUnloadCallback* callback);
// Undoes HAT_LOAD_LOCK for the range; nothing for the kernel, whose mappings are not counted.
void hat_unlock(System& sys, hat_t* hat, uintptr_t addr, uint64_t len);

// ---- Attributes and probes (hat_attr.cc). a_lock held for user hats by the changing calls.

void hat_setattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr);
void hat_clrattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr);
void hat_chgattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr);
void hat_chgprot(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t prot);
// Moves REF/MOD of the range's mappings to their pages; HAT_SYNC_ZERORM also clears them.
void hat_sync(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags);

bool hat_probe(System& sys, hat_t* hat, uintptr_t addr);
pfn_t hat_getpfnum(System& sys, hat_t* hat, uintptr_t addr);
// 0 and PROT_* (and HAT_NOSYNC) in *attr, or -1 if unmapped.
int hat_getattr(System& sys, hat_t* hat, uintptr_t addr, uint32_t* attr);
// Size in bytes of the page mapping addr, or -1.
int64_t hat_getpagesize(System& sys, hat_t* hat, uintptr_t addr);
// Bytes mapped, shared tables included; approximate while loads are in progress.
uint64_t hat_get_mapped_size(const System& sys, const hat_t* hat);

// ---- Sharing page tables (hat_share.cc). a_lock of the sharer held; src_hat was loaded with
// HAT_LOAD_SHARE and outlives every sharer.

int hat_share(System& sys, hat_t* hat, uintptr_t addr, hat_t* src_hat, uintptr_t src_addr,
              uint64_t len, uint32_t ismszc);
void hat_unshare(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t ismszc);

// ---- Kernel windows (hat_kmap.cc).

// Creates and keeps the level-0 tables of the segkmap window (boot).
void hat_kmap_init(System& sys, uintptr_t base, uint64_t len);
bool hat_in_kmap(const System& sys, uintptr_t va);
// The table that maps va, an address of the segkmap window. It is there for ever: no hold is
// needed.
htable_t* hat_kmap_table(const System& sys, uintptr_t va);
uintptr_t hat_kpm_page2va(System& sys, const page_t* pp);
page_t* hat_kpm_vaddr2page(System& sys, uintptr_t va);
bool hat_in_kpm(const System& sys, uintptr_t va);
// Address of pp in the kpm window, usable until mapout or hat_pageunload by this user: kpme, or
// anonymous if null (hat/kpm_mapping.h). The page is locked, in any mode, during both calls.
uintptr_t hat_kpm_mapin(System& sys, page_t* pp, kpme* kpme);
void hat_kpm_mapout(System& sys, page_t* pp, kpme* kpme, uintptr_t va);
[[noreturn]] void hat_kpm_fault(System& sys, uintptr_t va);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_H_
