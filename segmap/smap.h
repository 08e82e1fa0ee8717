// The objects of segmap: slots, hash chains, free lists, per-CPU state, and the segment that owns
// them.
//
// segmap is the kernel's window cache onto files. Its address range is cut into slots of MAXBSIZE
// bytes; a slot shows one MAXBSIZE-aligned piece of one file, (sm_vp, sm_off), for as long as
// somebody uses it, and keeps that identity afterwards until it is needed for another.
//
// Life of a slot:
//
//   state           | queue | chain | refcnt | sm_vp | translations  | flags, lock
//   ----------------|-------|-------|--------|-------|---------------|---------------------------
//   F0 free, blank  | yes   | no    | 0      | null  | none          | no NOTKPM_RELEASED
//   F1 free, cached | yes   | yes   | 0      | set   | may exist     | NOTKPM_RELEASED unless kpm
//   X  in recycling | no    | no    | 0      | null  | being removed | sm_mtx held
//   U  in use       | no    | yes   | > 0    | set   | may exist     | READ/WRITE_DATA with kpm
//   D  last release | no    | no    | 0      | null  | being removed | sm_mtx held
//      with INVAL
//
//   from   | event                                            | to | under
//   -------|--------------------------------------------------|----|----------------------------
//   -      | segmap_create: all to queue 1, the release queue | F0 | one thread
//   F0, F1 | get_free_smp takes it, grab_smp blanks it        | X  | smq_mtx, sm_mtx (tried)
//   X      | segmap_hashin: it has an identity                | U  | sm_mtx, sh_mtx
//   X      | somebody was first: segmap_smapadd               | F0 | sm_mtx, smq_mtx
//   F1     | getmap of the same identity ("reclaim")          | U  | sm_mtx, smq_mtx
//   U      | getmap of the same identity ("use"): refcnt + 1  | U  | sm_mtx
//   U      | release, others remain: refcnt - 1               | U  | sm_mtx
//   U      | last release                                     | F1 | sm_mtx, smq_mtx
//   U      | last release with SM_INVAL or SM_DESTROY, by D   | F0 | sm_mtx, sh_mtx, smq_mtx
//
// A slot found with refcnt 0 and off queue by a thread that has just entered sm_mtx would be
// "stolen". The allocator holds sm_mtx from taking a slot off its queue to giving it an identity,
// so that cannot be; segmap_getmapflt counts it all the same, and the audit wants the count to be
// 0.
//
// Invariants (checked by segmap/audit.h; Q: at rest, L: with that lock held, A: always):
//
//   43 L sm_mtx   on exactly one queue iff both ring links are set; then refcnt is 0 and the queue
//                 is the one that SM_QNDX_ZERO names
//   44 A          whoever has just entered sm_mtx sees: refcnt 0 iff on a queue; refcnt > 0 iff
//                 hashed and off queue
//   45 L sm_mtx   sm_vp set iff on the chain of its hash value
//   46 A          (sm_vp, sm_off) unique among hashed slots; sm_off is a multiple of MAXBSIZE
//   47 A          refcnt is the number of getmaps not yet released; identity constant while > 0
//   48 Q          a slot without identity has no translation
//   49 Q          a translation of a slot leads to the page (sm_vp, sm_off + offset in the slot)
//   50 Q          an sm_bitmap bit means: page exists, is EXCL locked, is mapped; none when free
//   51 A          a page mapped by F_SOFTLOCK stays locked, and so mapped, until F_SOFTUNLOCK
//   52 L smq_mtx  rings are circular and consistent; queues + in use + in transit is all slots
//   53 L both     sm_allocq and sm_releq are the two queues
//   54 A          a thread is counted as waiting only while it looks or sleeps
//   55 Q kpm      kpe_page == pp iff the kpme is on pp's list (hat/kpm_mapping.h)
//   56 A kpm      while a kpm address is out the page is locked and has the slot's identity
//   57 L sm_mtx   without kpm: refcnt 0 and sm_vp set imply SM_NOTKPM_RELEASED
//   61 A          who waits for a slot does not sleep beside a free one (segmap/locking.h)
//
// Locks: segmap/locking.h. What protects a field is said beside it.
#ifndef HATCHECK_SEGMAP_SMAP_H_
#define HATCHECK_SEGMAP_SMAP_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "hat/hat_types.h"
#include "hat/system.h"
#include "platform/platform.h"
#include "segmap/locking.h"
#include "segmap/segmap_stat.h"
#include "segmap/smap_waiting.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr uint32_t MAXBSIZE = 8192;
inline constexpr uint32_t SMAP_HASHAVELEN = 4;
inline constexpr uint32_t SEGMAP_MAXCOLOR = 2;

// sm_flags.
inline constexpr uint32_t SM_KPM_NEWPAGE = 0x1;      // kpm: made by pagecreate, not yet told
inline constexpr uint32_t SM_NOTKPM_RELEASED = 0x2;  // was released by its own address
inline constexpr uint32_t SM_QNDX_ZERO = 0x4;        // on queue 0 rather than 1 of its list
inline constexpr uint32_t SM_READ_DATA = 0x10;       // kpm: was got for reading
inline constexpr uint32_t SM_WRITE_DATA = 0x20;      // kpm: was got for writing

// One slot. Never freed.
struct smap {
  smap(uint32_t index, uint32_t free_ndx)
      : sm_index(index), sm_free_ndx(free_ndx), sm_mtx(kSmapLock, index) {}
  smap(const smap&) = delete;
  smap& operator=(const smap&) = delete;

  const uint32_t sm_index;     // its address is s_base + sm_index * MAXBSIZE
  const uint32_t sm_free_ndx;  // its free list, for ever

  Mutex sm_mtx;
  // Identity: a soft reference, no hold on the vnode. Set under sm_mtx and sh_mtx on the way into
  // the chain, cleared under sm_mtx after the way out. Read under either, or by who has a
  // reference.
  Guarded<vnode_t*> sm_vp{nullptr};
  Guarded<uint64_t> sm_off{0};
  Guarded<smap*> sm_hash{nullptr};  // chain (sh_mtx)
  // Ring of a free queue (its smq_mtx); null when off queue. Null or not changes only with sm_mtx
  // held too, and is looked at with sm_mtx alone, while the neighbours change the pointer.
  Atomic<smap*> sm_next{nullptr};
  Guarded<smap*> sm_prev{nullptr};
  // A bit per page: created by segmap_pagecreate, EXCL locked since (sm_mtx). segmap_pageunlock
  // looks before it locks, for bits that its own caller has set.
  Atomic<uint32_t> sm_bitmap{0};
  Guarded<uint32_t> sm_refcnt{0};  // sm_mtx
  Guarded<uint32_t> sm_flags{0};   // sm_mtx
  kpme sm_kpme;                    // hat/kpm_mapping.h
};

struct smaphash {
  explicit smaphash(uint32_t instance) : sh_mtx(kSmapHashLock, instance) {}
  Mutex sh_mtx;
  Guarded<smap*> sh_hash_list{nullptr};
};

struct sm_freeq {
  explicit sm_freeq(uint32_t instance) : smq_mtx(kSmapQueueLock, instance) {}
  Guarded<smap*> smq_free{nullptr};  // head of the ring
  Mutex smq_mtx;
};

using sm_freeq_t = sm_freeq;

struct smfree {
  explicit smfree(uint32_t list)
      : sm_freeq{{sm_freeq_t(2 * list), sm_freeq_t(2 * list + 1)}},
        sm_allocq(&sm_freeq[0]),
        sm_releq(&sm_freeq[1]) {}

  std::array<sm_freeq_t, 2> sm_freeq;
  // The two queues in their roles. Exchanged with both mutexes held, sampled without: who has
  // locked what it sampled looks again, and a release may go to either.
  Atomic<sm_freeq_t*> sm_allocq;
  Atomic<sm_freeq_t*> sm_releq;
  // Published waiting protocol only. The cv goes with sm_freeq[0].smq_mtx whatever its role.
  CondVar sm_free_cv{"sm_free_cv"};
  // ++ with both queue mutexes, -- with that of queue 0; sampled under any one.
  Atomic<uint32_t> sm_want{0};
};

// Where the allocators of one colour wait (default waiting protocol).
struct smwait {
  explicit smwait(uint32_t colour) : sw_mtx(kSmapWaitLock, colour) {}
  Mutex sw_mtx;
  CondVar sw_cv{"sm_free_cv"};
  Atomic<uint32_t> sw_want{0};      // allocators counted in (sw_mtx); releasers look without
  Guarded<uint32_t> sw_wakeups{0};  // sw_mtx; at most sw_want
};

// State of one CPU, touched by the thread on it only: hints and rotors.
struct alignas(64) segmap_cpu {
  std::array<Guarded<uint32_t>, SEGMAP_MAXCOLOR> scpu_free_ndx;  // next list per colour
  Guarded<smap*> scpu_last_smap{nullptr};                        // get_smap_kpm's last answer
  Guarded<uint64_t> scpu_vcolor{0};                              // segkpm_create_va's counter
};

// Sizes and design choices; the defaults are the kernel's.
struct SegmapConfig {
  uint32_t maxbsize = MAXBSIZE;  // bytes of a slot: a power of two, whole pages, at most 16
  uint32_t nfreelist = 0;        // free lists per colour; 0: as many as CPUs. Rounded up to 2^n
  uint64_t shmsize = 0;          // alignment for cache colours, bytes; 0: one colour
  uint32_t prot = PROT_READ_ATTR | PROT_WRITE_ATTR;
  bool kpm = false;  // wants pages of maxbsize and System's on-demand kpm
  WaitingDesign waiting = WaitingDesign::kCounted;
  bool statistics = true;  // models that count steps do without
};

// The segment. What segmap_create reads is constant afterwards.
struct Segmap {
  Segmap(System& system, uintptr_t base, uint64_t size, const SegmapConfig& checked_config,
         uint32_t colours, uint32_t lists);
  // Gives back translations and kpm users of all slots. Precondition: nobody uses the segment.
  ~Segmap();
  Segmap(const Segmap&) = delete;
  Segmap& operator=(const Segmap&) = delete;

  System& sys;
  const SegmapConfig config;
  const uintptr_t s_base;
  const uint64_t s_size;
  const uint32_t maxbsize;
  const int maxbshift;
  const bool segmap_kpm;      // false also if asked for where pages are not slots
  const uint32_t smd_ncolor;  // power of two
  const uint32_t smd_nfree;   // free lists of all colours; list i has colour i mod smd_ncolor

  std::deque<smap> smd_sm;
  std::deque<smfree> smd_free;
  std::deque<smaphash> smd_hash;  // power of two
  std::deque<smwait> smd_wait;    // by colour
  std::deque<segmap_cpu> smd_cpu;
  SegmapStats stats;
  const std::unique_ptr<SmapWaiting> waiting;

  uint64_t maxboffset() const { return maxbsize - 1; }
  uint32_t smd_npages() const { return static_cast<uint32_t>(smd_sm.size()); }
  uint32_t pages_per_slot() const { return maxbsize >> sys.vm.pageshift; }
  segmap_cpu& cpu() { return smd_cpu[this_cpu()]; }
  uintptr_t smap_addr(const smap* smp) const {
    return s_base + (uintptr_t{smp->sm_index} << maxbshift);
  }
  uint32_t color_of(uint64_t off) const {
    return static_cast<uint32_t>(off >> maxbshift) & (smd_ncolor - 1);
  }
  hat_t* kas() const { return sys.kas_hat(); }
};

// The slot that an address of the segment lies in. Panics for any other address.
smap* get_smap(Segmap& seg, uintptr_t addr);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SMAP_H_
