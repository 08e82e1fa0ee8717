// Where pages come from and where they go: free lists, the cache list, freemem, creation, freeing.
//
// A page that nobody needs is P_FREE and on one of two lists. Without identity it is on a free
// list, to be given out at once. With identity it is on a cache list: its contents are still good,
// a lookup takes it back (page_reclaim), and only when the free lists are empty does it lose its
// identity to become somebody else's page.
//
// freemem counts pages on both lists less those promised. A creator first takes its number out of
// freemem, then picks pages, so at any moment
//
//   F1  freemem <= number of P_FREE pages on the lists, equal when nobody is inside this layer
//
// and who has been promised a page finds one, if not at the first try. Reclaiming needs a promise
// as well: with freemem 0 the cached page found by a lookup is already somebody's.
//
//   F2  P_FREE is set exactly while the page is on a list, but for moments of its EXCL owner
//   F3  a free list holds pages without, a cache list pages with identity
//   40  a page on a list is unmapped
//
// Thresholds (pages, defaults from the memory size): throttlefree is the level below which creators
// who may wait do wait; pageout_reserve the one below which those who may not wait fail. A thread
// in NOMEMWAIT state (one that frees memory) may use the last page.
//
// The machine is told: a freed page's frame becomes FrameKind::kFree and a created or reclaimed
// one's kData, so a translation left over from an earlier life makes the CPU that uses it panic.
//
// Locks: page_freelock (32; one for the free and cache list of a range of frames), new_freemem (35,
// leaf; only to sleep), freemem (36, leaf; availrmem).
#ifndef HATCHECK_VM_PAGE_ALLOC_H_
#define HATCHECK_VM_PAGE_ALLOC_H_

#include <cstddef>
#include <cstdint>

#include "platform/platform.h"
#include "vm/page.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Flags of page_create_va.
inline constexpr uint32_t PG_EXCL = 0x1;  // fail if the identity is taken
inline constexpr uint32_t PG_WAIT = 0x2;  // sleep for memory
inline constexpr uint32_t PG_NORELOC = 0x10;
inline constexpr uint32_t PG_PANIC = 0x20;     // panic rather than fail
inline constexpr uint32_t PG_PUSHPAGE = 0x40;  // may go below the thresholds

// Answers of page_release.
inline constexpr int PGREL_NOTREL = 1;
inline constexpr int PGREL_CLEAN = 2;
inline constexpr int PGREL_MOD = 3;

// --- creation ----------------------------------------------------------------------------------

// Pages for [off, off + bytes) of vp, bytes rounded up to pages, as a ring linked by p_next (the
// head is the page at off; page_sub takes pages off). Each is EXCL and I/O locked: page_io_unlock
// is the caller's first duty. New pages have P_REF set and undefined contents.
//
// flags contains PG_EXCL, PG_WAIT or both.
//   PG_EXCL  an identity that is taken fails the whole call; nothing is left behind
//   PG_WAIT  sleeps for memory. Without PG_EXCL a page that exists is locked EXCL (sleeping if
//            need be) and returned with its old contents, so the call never fails
// Returns nullptr if memory is short (without PG_WAIT) or the identity is taken (PG_EXCL).
// In: no mutex of this layer held. Follows page_create_va.
page_t* page_create_va(Vm& vm, vnode_t* vp, uint64_t off, size_t bytes, uint32_t flags);

// A page for a page table: EXCL, not I/O locked, P_NORELOC, hashed on vm.kvp at an offset made from
// seed. It keeps that identity until page_destroy, so an owner who had to unlock it finds it again
// and nobody else's page in its place: page_lookup(vm, &vm.kvp, pp->p_offset, SE_EXCL).
// seed: unique among the tables in existence (an htable's address or number; a number that does not
// depend on addresses keeps model executions alike). Never sleeps. nullptr if memory or availrmem
// is short or the seed is in use; nothing stays reserved then.
page_t* page_get_physical(Vm& vm, uintptr_t seed);

// A large page: consecutive frames aligned to their number, p_szc set, each page EXCL and not I/O
// locked, hashed at vp from off (vp nullptr: no identity). Returns the leader, or nullptr if there
// is no such run of free pages, memory is short or an identity is taken. Never sleeps.
page_t* page_alloc_large(Vm& vm, vnode_t* vp, uint64_t off, int szc);

// --- freeing -----------------------------------------------------------------------------------

// Puts pp on the free list, or with an identity on the cache list (dontneed: where it is reused
// first). In: EXCL, not free, not I/O locked, p_szc 0, no lckcnt/cowcnt; panics if mapped (it takes
// mlist to look). Out: free and unlocked.
void page_free(Vm& vm, page_t* pp, int dontneed);

// The same for all constituents of a large page; pp is the leader, all are EXCL. The group falls
// apart: p_szc becomes 0.
void page_free_pages(Vm& vm, page_t* pp);

// Gives up a page the caller has finished with. In: locked in any mode, not free, has an identity.
// Always consumes the lock.
//   PGREL_CLEAN   freed      PGREL_MOD  modified and checkmod: only unlocked
//   PGREL_NOTREL  mapped, in use through kpm, shared with another holder, memory locked or large:
//                 only unlocked
int page_release(Vm& vm, page_t* pp, int checkmod);

// Unloads pp's mappings, takes its identity and (unless dontfree) frees it. In: EXCL, not free, not
// I/O locked. Out: free and unlocked, or with dontfree still EXCL.
void page_destroy(Vm& vm, page_t* pp, int dontfree);

// The same for all constituents of a large page; pp is the leader, all are EXCL.
void page_destroy_pages(Vm& vm, page_t* pp);

// Breaks the large page that pp lies in into base pages: unloads all of it, sets p_szc 0. In: pp
// EXCL. 1 if done, or if it was a base page; 0 if another constituent is locked by somebody. pp
// stays EXCL.
int page_try_demote_pages(Vm& vm, page_t* pp);

// B_INVAL: page_destroy; else page_free (flag B_DONTNEED: to the reuse-first end). In: EXCL.
void VN_DISPOSE(Vm& vm, page_t* pp, uint32_t flag, int dontneed = 0);

// Takes a free page off its list. In: EXCL, P_FREE. 1: not free any more, still EXCL. 0: the page
// was promised to another; it is unlocked, and the caller has slept for memory with `lock` dropped.
int page_reclaim(Vm& vm, page_t* pp, Mutex* lock);

// Rings through p_next/p_prev. In: right to change the fields (I/O lock, or a list's
// page_freelock). page_add puts pp before the head (so at the end), or makes it the head of an
// empty ring.
void page_add(page_t** ring, page_t* pp);
void page_sub(page_t** ring, page_t* pp);

// --- memory accounting. All counts in pages ----------------------------------------------------

// Unlocked snapshots.
int64_t freemem(const Vm& vm);
int64_t availrmem(Vm& vm);

// Takes n pages out of availrmem: 1, or 0 with kNoSleep if fewer than t_minarmem would be left.
int page_resv(Vm& vm, int64_t npages, KmFlag flag);
void page_unresv(Vm& vm, int64_t npages);

// Whether the calling thread frees memory for others and so must not wait for it.
bool NOMEMWAIT(Vm& vm);

// Puts the calling CPU's thread into NOMEMWAIT state for a scope.
class NoMemWait {
 public:
  explicit NoMemWait(Vm& vm);
  ~NoMemWait();
  NoMemWait(const NoMemWait&) = delete;
  NoMemWait& operator=(const NoMemWait&) = delete;

 private:
  Vm& vm_;
  const CpuId cpu_;
  const bool before_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_ALLOC_H_
