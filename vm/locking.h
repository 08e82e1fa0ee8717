// Lock classes of the page layer and the rules that tie them together.
//
// Order, outer to inner (the number is LockClass::place):
//
//   a_lock 1 -> p_selock 2 -> page_szc 3 -> [mlist 10, hat/] -> ph 30 -> vph 31
//     -> page_freelock 32 -> pse 33
//   vph -> pio 34
//   leaves: pse, pio, new_freemem 35, freemem 36
//
// docs/lock-order.md has the orders that scenarios and stress runs exercise.
//
// p_selock is not a Mutex: it is a shared/exclusive lock inside each page_t that is kept for as
// long as a page is used, across I/O too. Place 2 is reserved for it so that the documented order
// has a number for every lock; no class is registered under it.
//
// Rules that no annotation can express:
//
//   P1  Nobody blocks on p_selock while holding ph, vph or page_freelock: use page_trylock, or hand
//       the mutex to page_lock, which drops it before it sleeps and then answers "search again".
//       This turns the order around without a deadlock: p_selock is outer when blocking and inner
//       when trying.
//   P2  pse is entered for a few instructions only; the only sleep under it is the wait on p_cv.
//   P3  page_freelock comes before pse because an allocator walks a free list and tries p_selock of
//       what it finds, and after ph and vph because page_lock may reclaim a free page under either.
//   P4  vph may be entered under an mlist (hat_page_setattr on a VMODSORT vnode); therefore nothing
//       enters an mlist while holding vph.
//   P5  Two mutexes of one class are never held together.
//   P6  Memory is waited for with none of these held.
#ifndef HATCHECK_VM_LOCKING_H_
#define HATCHECK_VM_LOCKING_H_

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Segment list of an address space; HAT calls for user hats need it. One per as_t. fork holds that
// of the child and of the parent, an attach that of the process and of the segment's holder: the
// younger, which has the larger number, first.
inline constexpr LockClass kAsLock{"a_lock", 1, Nests::kLargerNumberFirst};

// Changes of p_szc (demotion). Hashed by the largest group a frame can belong to.
inline constexpr LockClass kPageSzcLock{"page_szc", 3};

// Chains of the page hash. Hashed by bucket.
inline constexpr LockClass kPageHashLock{"ph", 30};

// v_pages rings and their VMODSORT order. Hashed by vnode.
inline constexpr LockClass kVnodePagesLock{"vph", 31};

// Free and cache lists: one mutex for the pair of lists of a range of frames.
inline constexpr LockClass kPageFreeLock{"page_freelock", 32};

// p_selock words and p_cv. Hashed by frame.
inline constexpr LockClass kPageSelockLock{"pse", 33};

// p_iolock_state and p_io_cv. Hashed by frame.
inline constexpr LockClass kPageIoLock{"pio", 34};

// Sleepers who wait for freemem to rise.
inline constexpr LockClass kNewFreememLock{"new_freemem", 35};

// availrmem.
inline constexpr LockClass kFreememLock{"freemem", 36};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_LOCKING_H_
