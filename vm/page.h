// page_t: what the kernel knows about one page frame, and its two long-term locks.
//
// There is one page_t per frame, in one array, for the life of the Vm: a page_t pointer never
// dangles, it can only turn out to name another page than it did (identity: p_vnode, p_offset).
// That is what makes lock-free searches possible: look, lock, look again.
//
// p_selock, the shared/exclusive lock of a page. One int:
//
//   0            free to take            n > 0        n readers
//   -1           one writer              SE_DELETED   the frame is retired, never granted again
//   SE_EWANTED   bit on top of 0 or n readers: a starving writer asked for priority
//
//   state           | page_lock SHARED | page_lock EXCL         | EXCL + SE_EXCL_WANTED
//   ----------------|------------------|------------------------|----------------------------
//   0               | 1                | -1                     | -1
//   n               | n + 1            | refused                | refused, sets EWANTED
//   0 | EWANTED     | refused          | refused                | -1
//   n | EWANTED     | refused          | refused                | refused
//   -1              | refused          | refused                | refused
//
// A request against a writer leaves no EWANTED behind (-1 has no room for the bit): the writer's
// unlock or downgrade wakes everybody, and who starves asks again. Who passes SE_EXCL_WANTED must
// retry until it is granted the lock: nobody else clears the bit, and no reader enters until then.
//
// What the lock means: EXCL is required to free, rename, destroy, hash in or out, unload from all
// address spaces (hat_pageunload) and to change p_szc. SHARED freezes identity, p_szc and "not
// free", and is enough to map the page.
//
// The I/O lock (p_iolock_state) is a second, binary lock: the page's data is in transit. It
// protects p_next and p_prev of a page that is not on a free list.
//
// Invariants:
//
//   40  a free page is unmapped and has no kpm user
//   41  p_selock: at most one writer, never readers and a writer; identity changes only by the
//       EXCL owner
//
// Locks: every change of p_selock is made under the page's pse mutex (place 33, leaf). Who holds
// ph, vph or page_freelock must not block here (vm/locking.h, P1).
#ifndef HATCHECK_VM_PAGE_H_
#define HATCHECK_VM_PAGE_H_

#include <cstdint>
#include <limits>

#include "machine/pte.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class Vm;
struct vnode_t;

enum se_t { SE_SHARED, SE_EXCL };
enum reclaim_t { P_NO_RECLAIM, P_RECLAIM };

// es_flags of page_lock.
inline constexpr int SE_EXCL_WANTED = 0x2;

// Values of p_selock.
inline constexpr int32_t SE_WRITER = -1;
inline constexpr int32_t SE_EWANTED = 0x40000000;
inline constexpr int32_t SE_DELETED = std::numeric_limits<int32_t>::min() + 1;

// p_state.
inline constexpr uint8_t P_FREE = 0x80;     // on a free or cache list
inline constexpr uint8_t P_NORELOC = 0x40;  // must keep its frame
inline constexpr uint8_t P_MIGRATE = 0x20;
inline constexpr uint8_t P_SWAP = 0x10;  // page_release leaves it alone

// p_nrm.
inline constexpr uint8_t P_MOD = 0x1;
inline constexpr uint8_t P_REF = 0x2;
inline constexpr uint8_t P_RO = 0x4;

// p_iolock_state.
inline constexpr uint8_t PAGE_IO_INUSE = 0x1;

struct page_t {
  // Identity. Written by the EXCL owner, for a hashed page also under ph and vph; stable for any
  // holder of p_selock. Lock-free searches read it and look again once they hold the page.
  Atomic<vnode_t*> p_vnode{nullptr};
  Atomic<uint64_t> p_offset{0};
  // Page hash chain: written under ph, followed without a lock by page_lookup's first probe.
  Atomic<page_t*> p_hash{nullptr};
  // Written under pse; assertions and pageout look without.
  Atomic<int32_t> p_selock{0};
  // P_FREE changes under p_selock EXCL; page_lock and pageout look without.
  Atomic<uint8_t> p_state{0};
  // Software REF/MOD bits: atomic or/and from anywhere. On a VMODSORT vnode P_MOD is set under vph.
  Atomic<uint8_t> p_nrm{0};
  // Size code: 0 = base page, 1 = level-1 page ... Changed by the EXCL owner of all constituents,
  // or by demotion under page_szc and the root's mlist; loop bounds in hat/ read it unlocked.
  Atomic<uint8_t> p_szc{0};
  Atomic<uint8_t> p_iolock_state{0};  // written under pio; page_io_trylock peeks

  pfn_t p_pagenum = PFN_INVALID;  // constant after boot

  // Ring of the vnode's pages (vph).
  Guarded<page_t*> p_vpnext{nullptr};
  Guarded<page_t*> p_vpprev{nullptr};
  // Ring of a free or cache list (page_freelock), or of pages in transit (I/O lock owner). Both
  // null when on neither.
  Guarded<page_t*> p_next{nullptr};
  Guarded<page_t*> p_prev{nullptr};

  // Mapping list. Owned by hat/, protected by the page's mlist; hment_steal peeks at the first two.
  Atomic<void*> p_mapping{nullptr};
  Atomic<uint8_t> p_embed{0};
  Guarded<uint32_t> p_mlentry{0};
  Guarded<uint32_t> p_share{0};

  // Logical memory locks; a page that has any is not freed. Changed with p_selock held EXCL.
  Guarded<uint16_t> p_lckcnt{0};
  Guarded<uint16_t> p_cowcnt{0};

  // kpm users (mlist).
  Guarded<uint32_t> p_kpmref{0};
  Guarded<void*> p_kpmelist{nullptr};

  CondVar p_cv{"p_cv"};        // sleepers for p_selock, with pse
  CondVar p_io_cv{"p_io_cv"};  // sleepers for the I/O lock, with pio
};

// --- p_selock ----------------------------------------------------------------------------------

// Asks for the page; may sleep, but at most once. In: not held by the caller; `lock` is null or a
// mutex the caller holds. With P_RECLAIM a free page is taken off its list; a SHARED request for it
// is then granted by way of EXCL.
// Returns 1: granted as asked; `lock` still held, never dropped.
// Returns 0: refused. The caller has slept with `lock` dropped and has it again (a retired page is
// refused at once); the page may have another identity by now, so search again.
// Follows page_lock / page_lock_es.
int page_lock(Vm& vm, page_t* pp, se_t se, Mutex* lock, reclaim_t reclaim, int es_flags = 0);

// Takes the page if it can be had now: 1, else 0. Fails for everybody while SE_EWANTED is set.
// Does not touch a free page's list. Never sleeps; may be called under ph, vph, page_freelock.
int page_trylock(Vm& vm, page_t* pp, se_t se);

// The same, but a SHARED request for a free page takes it EXCL, ready for page_reclaim.
int page_try_reclaim_lock(Vm& vm, page_t* pp, se_t se);

// In: SHARED. 1 if the caller was the only reader and nobody starves: now EXCL. Else 0, still
// SHARED.
int page_tryupgrade(Vm& vm, page_t* pp);

// In: EXCL. Out: one reader. Wakes all sleepers.
void page_downgrade(Vm& vm, page_t* pp);

// In: held in any mode. The last holder wakes all sleepers. Panics if the page is not locked.
void page_unlock(Vm& vm, page_t* pp);

// Retires the frame. In: EXCL, no identity, not free. Out: SE_DELETED for ever.
void page_lock_delete(Vm& vm, page_t* pp);

// The mutex behind p_selock of the page (class pse).
Mutex& page_se_mutex(Vm& vm, const page_t* pp);

// Unlocked looks at p_selock, by anybody's holds, not only the caller's: for assertions and hints.
// Relaxed, since a holder reads its own store and all others get a hint.
inline bool PAGE_LOCKED(const page_t* pp) {
  return (pp->p_selock.load(std::memory_order_relaxed) & ~SE_EWANTED) != 0;
}
inline bool PAGE_SHARED(const page_t* pp) {
  return (pp->p_selock.load(std::memory_order_relaxed) & ~SE_EWANTED) > 0;
}
inline bool PAGE_EXCL(const page_t* pp) { return pp->p_selock.load(std::memory_order_relaxed) < 0; }

// Exact for a holder of p_selock, a hint for others (relaxed for the same reason).
inline bool PP_ISFREE(const page_t* pp) {
  return (pp->p_state.load(std::memory_order_relaxed) & P_FREE) != 0;
}
// hat_ismod's unlocked look at the software bit.
inline bool PP_ISMOD(const page_t* pp) {
  return (pp->p_nrm.load(std::memory_order_relaxed) & P_MOD) != 0;
}

// --- I/O lock ----------------------------------------------------------------------------------

// The mutex that p_iolock_state changes under.
Mutex& page_io_mutex(Vm& vm, const page_t* pp);
// Sleeps until it has the I/O lock. In: p_selock held.
void page_io_lock(Vm& vm, page_t* pp);
// 1 if taken, 0 if in use.
int page_io_trylock(Vm& vm, page_t* pp);
// Releases and wakes all sleepers. Panics if not in use.
void page_io_unlock(Vm& vm, page_t* pp);
// Sleeps until the lock is free; does not take it.
void page_io_wait(Vm& vm, page_t* pp);
// Unlocked look.
inline bool page_iolocked(const page_t* pp) {
  return pp->p_iolock_state.load(std::memory_order_relaxed) != 0;
}

// --- large page groups -------------------------------------------------------------------------

// Number of base pages in a page of the size code. In: a size code the machine has.
uint64_t page_get_pagecnt(const Vm& vm, int szc);

// The first constituent of the group of that size that pp lies in: arithmetic on the page array,
// whether or not the group is in use as one.
page_t* PP_GROUPLEADER(Vm& vm, page_t* pp, int szc);
// The same for pp's own p_szc.
page_t* PP_PAGEROOT(Vm& vm, page_t* pp);

// Protects changes of p_szc of pp and of every page that can share a group with it. Chosen by the
// largest group that contains pp, so the answer does not depend on p_szc and needs no recheck.
Mutex& page_szc_lock(Vm& vm, const page_t* pp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_H_
