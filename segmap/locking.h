// Lock classes of segmap, their order, and how threads wait for a free slot.
//
// Order, outer to inner (the number is LockClass::place):
//
//   a_lock 1 -> p_selock 2 -> sm_mtx 6 -> { sh_mtx 7 | smq_mtx 8 } ;  sm_mtx 6 -> smw_mtx 9
//   sm_mtx 6 -> mlist 10 and what lies below it (hat_unload, hat_kpm_mapin, hat_page_setattr)
//   leaves: sh_mtx, smw_mtx; smq_mtx but for what is tried under it
//
// Rules that no annotation can express:
//
//   M1  Two slot mutexes are never held together, nor two chain mutexes, nor two queue mutexes of
//       different lists.
//   M2  A search holds only sh_mtx, drops it, and enters the slot's sm_mtx afterwards: it must then
//       look at the identity again.
//   M3  An allocator walks a free queue under smq_mtx and may only *try* the sm_mtx of what it
//       finds. From the allocation queue to the release queue of a list it is also by try.
//   M4  p_selock comes before sm_mtx when a thread may block for either. Under sm_mtx a page is
//       only tried, with one exception: the last release of a kpm slot with SM_INVAL may block for
//       a reader's lock on the page that the slot still has mapped in (segkpm_mapout_validkpme). At
//       that moment the slot has no reference, so nobody who holds that page on account of segmap
//       can want this sm_mtx.
//   M5  A file system is called (vop_getpage, vop_putpage), and bytes are copied, with no segmap
//       mutex held.
//   M6  Nobody who calls segmap_getmap holds a page that a free slot may have mapped in: he may
//       have to wait for one.
//
// Waiting for a free slot. A slot belongs to one free list for ever; a list has two queues, one to
// allocate from and one to release to, so that the two seldom meet. An allocator for a colour may
// take a slot from any list of that colour.
//
// The published protocol (smap_waiting_published.cc): an allocator looks through the lists one
// after the other; if the last one has nothing, it counts itself into that list's sm_want, with
// both queue mutexes of *that* list held, and sleeps on that list's sm_free_cv. A releaser that
// puts a slot on an *empty* queue looks at sm_want of the slot's list and, if somebody waits,
// signals one. What is wrong with it (S17):
//
//   a  Two sleepers on one list, two releases to its one queue: the second finds the queue
//      non-empty and signals nobody. A sleeper lies beside a free slot.
//   b  A sleeper on the last list, a release to a list that was looked through before: that list's
//      sm_want is 0, so nobody is signalled.
//   c  A slot that was passed over because its mutex, or with kpm its page, was busy for a moment
//      counts as absent, and nothing happens when it is busy no longer.
//   d  The releaser reads sm_want under the mutex of the queue it releases to. A sleeper lowers it
//      under the mutex of queue 0 alone, so if that is the other queue the two do not exclude each
//      other. (The recheck under queue 0's mutex makes this one harmless.)
//
// The next release often heals it, which is why it went unnoticed; if there is none, the sleeper
// sleeps for ever.
//
// The protocol used by default (smap_waiting_counted.cc) keeps lists and queues and replaces the
// waiting. There is one place to wait per colour (smwait), and three rules:
//
//   W1  An allocator that found nothing first counts itself into sw_want and then looks through all
//       lists of the colour again. Only if that look found nothing, and passed nothing over, does
//       it sleep.
//   W2  A releaser puts the slot on its queue first and looks at sw_want afterwards. If it is not 0
//       it adds a wake-up (sw_wakeups, never more than sw_want) and signals. A sleeper takes a
//       wake-up out, looks again, and begins anew.
//   W3  An allocator that passed a slot over does not sleep but blocks for what was busy: the
//       slot's mutex, with no queue mutex held, or the page.
//
// Why no wake-up is lost. Let an allocator A have counted itself in, looked through a queue Q and
// found it empty, and let R put a slot on Q. A held Q's mutex when it saw that Q was empty. If R's
// insertion comes before that moment A sees the slot; if after, R entered a mutex that A had left
// since it counted itself in, so R reads sw_want >= 1 and adds a wake-up, whatever A looks through
// next. So when k slots of the colour are on queues and w allocators are counted in and asleep,
// there are at least min(k, w) wake-ups: a release adds one unless each of the w has one already,
// and whoever takes a wake-up out looks through all lists after that. An allocator that finds a
// slot while counted in takes itself out, and a wake-up with it only if there would be more of them
// than threads.
//
// Progress is that of the colour, not of each thread: a newcomer may take the slot that a sleeper
// was woken for, and then the sleeper sleeps again, but never beside a free slot (invariant 61).
#ifndef HATCHECK_SEGMAP_LOCKING_H_
#define HATCHECK_SEGMAP_LOCKING_H_

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Fields and state of one slot. One per slot.
inline constexpr LockClass kSmapLock{"sm_mtx", 6};

// A hash chain: links, and the identity of its members while held. One per bucket. Leaf.
inline constexpr LockClass kSmapHashLock{"sh_mtx", 7};

// The ring of a free queue; both of a list: exchange of roles. Two per free list.
inline constexpr LockClass kSmapQueueLock{"smq_mtx", 8};

// Those who wait for a slot of a colour. One per colour. Leaf.
inline constexpr LockClass kSmapWaitLock{"smw_mtx", 9};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_LOCKING_H_
