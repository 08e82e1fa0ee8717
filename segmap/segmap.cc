#include "segmap/segmap.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "segmap/segmap_kpm.h"
#include "segmap/smap_freelist.h"
#include "segmap/smap_hash.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kMostListsPerCpu = 4;
constexpr uint64_t kMostPagesPerSlot = 16;

std::unique_ptr<SmapWaiting> make_waiting(WaitingDesign design) {
  return design == WaitingDesign::kCounted ? make_counted_waiting() : make_published_waiting();
}

absl::Status check_sizes(const System& sys, const SegmapConfig& config) {
  const uint64_t pagesize = sys.vm.pagesize;
  if (!std::has_single_bit(config.maxbsize) || config.maxbsize < pagesize ||
      config.maxbsize > kMostPagesPerSlot * pagesize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a slot must be 1 to %d pages of %d bytes and a power of two, not %d bytes",
                        kMostPagesPerSlot, pagesize, config.maxbsize));
  }
  const uint32_t ncpus = sys.machine.ncpus();
  if (config.nfreelist > kMostListsPerCpu * ncpus) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d free lists: expected at most %d for %d CPUs", config.nfreelist,
                        kMostListsPerCpu * ncpus, ncpus));
  }
  if (config.kpm && pagesize == config.maxbsize && !sys.kpm->records_users()) {
    return absl::InvalidArgumentError("segmap with kpm needs the on-demand kpm design");
  }
  return absl::OkStatus();
}

// Whether smp (refcnt 0, sm_mtx held) comes off a queue now; counts what was found.
void reclaim(Segmap& seg, smap* smp) {
  if (smap_on_queue(smp)) {
    smap_unqueue(seg, smp);
    SMSTAT_INC(seg, get_reclaim);
  } else {
    SMSTAT_INC(seg, stolen);
  }
}

// One more reference (sm_mtx held).
void add_reference(smap* smp, bool kpm, seg_rw rw) {
  smp->sm_refcnt = smp->sm_refcnt() + 1;
  if (!kpm) return;
  const uint32_t use = rw == S_WRITE ? SM_WRITE_DATA : rw == S_READ ? SM_READ_DATA : 0;
  smp->sm_flags = smp->sm_flags() | use;
}

// Takes a reference to smp if it still has the identity.
bool use_slot(Segmap& seg, smap* smp, const vnode_t* vp, uint64_t off, bool kpm, seg_rw rw) {
  MutexGuard guard(smp->sm_mtx);
  // Found with the chain's lock, which is gone by now.
  if (smp->sm_vp() != vp || smp->sm_off() != off) return false;
  if (smp->sm_refcnt() == 0) {
    reclaim(seg, smp);
  } else {
    SMSTAT_INC(seg, get_use);
  }
  add_reference(smp, kpm, rw);
  return true;
}

// The list to look at first.
uint32_t next_list(Segmap& seg, uint64_t off) {
  const uint32_t colour = seg.color_of(off);
  Guarded<uint32_t>& rotor = seg.cpu().scpu_free_ndx[colour];
  const uint32_t ndx = (rotor() + seg.smd_ncolor) & (seg.smd_nfree - 1);
  rotor = ndx;
  return ndx;
}

// The slot for (vp, off) with a reference taken; *newslot if it was made for this call.
smap* get_slot(Segmap& seg, vnode_t* vp, uint64_t off, bool kpm, seg_rw rw,
               bool* newslot) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  *newslot = false;
  for (;;) {
    smap* smp = smap_find(seg, vp, off);
    if (smp == nullptr) {
      smap* const fresh = get_free_smp(seg, next_list(seg, off));
      smp = segmap_hashin(seg, fresh, vp, off);
      if (smp == nullptr) {
        add_reference(fresh, kpm, rw);
        fresh->sm_mtx.exit();
        *newslot = true;
        return fresh;
      }
      // Somebody else was first. Theirs may be gone again by the time we have its mutex.
      segmap_smapadd(seg, fresh);
      fresh->sm_mtx.exit();
    }
    if (use_slot(seg, smp, vp, off, kpm, rw)) return smp;
  }
}

// What vop_putpage is to do for these release flags; `last`: no other reference is left.
uint32_t putpage_flags(uint32_t flags, bool last) {
  uint32_t bflags = 0;
  if ((flags & SM_ASYNC) != 0) bflags |= B_ASYNC;
  if ((flags & SM_INVAL) != 0) bflags |= B_INVAL;
  if ((flags & SM_DESTROY) != 0) bflags |= B_INVAL | B_TRUNC;
  if (last && (flags & SM_FREE) != 0) bflags |= B_FREE;
  if (last && (flags & SM_DONTNEED) != 0) bflags |= B_DONTNEED;
  return bflags;
}

void count_release(Segmap& seg, uint32_t flags, uint32_t bflags) {
  if ((flags & ~SM_DONTNEED) == 0) SMSTAT_INC(seg, release);
  if ((flags & SM_WRITE) != 0) SMSTAT_INC(seg, rel_write);
  if ((flags & SM_ASYNC) != 0) SMSTAT_INC(seg, rel_async);
  if ((flags & SM_INVAL) != 0) SMSTAT_INC(seg, rel_abort);
  if ((bflags & B_FREE) != 0) SMSTAT_INC(seg, rel_free);
  if ((bflags & B_DONTNEED) != 0) SMSTAT_INC(seg, rel_dontneed);
}

// State D: the last release blanks the slot (sm_mtx held, refcnt 0). kpm_page: the page whose kpm
// address was given back, locked, or null.
void blank_slot(Segmap& seg, smap* smp, page_t* kpm_page) {
  vnode_t* const vp = smp->sm_vp();
  const uint64_t off = smp->sm_off();
  segmap_hashout(seg, smp);
  if (kpm_page != nullptr) {
    hat_kpm_mapout(seg.sys, kpm_page, &smp->sm_kpme, hat_kpm_page2va(seg.sys, kpm_page));
  } else if (seg.segmap_kpm) {
    segkpm_mapout_validkpme(seg, &smp->sm_kpme);
  }
  if ((smp->sm_flags() & SM_NOTKPM_RELEASED) != 0) {
    smp->sm_flags = smp->sm_flags() & ~SM_NOTKPM_RELEASED;
    segmap_unload(seg, seg.smap_addr(smp), vp, off);
  }
}

// The slot that addr, an address of getmap, belongs to: sm_mtx held, how it was used noted. *pp:
// the page if it is a kpm address, else null.
smap* lock_for_release(Segmap& seg, uintptr_t addr, page_t** pp) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (hat_in_kpm(seg.sys, addr)) {
    smap* const smp = get_smap_kpm(seg, addr, pp);
    const uint32_t flags = smp->sm_flags() & ~SM_KPM_NEWPAGE;
    smp->sm_flags = flags;
    if ((flags & SM_WRITE_DATA) != 0) {
      hat_setrefmod(seg.sys, *pp);
    } else if ((flags & SM_READ_DATA) != 0) {
      hat_setref(seg.sys, *pp);
    }
    return smp;
  }
  *pp = nullptr;
  if ((addr & seg.maxboffset()) != 0) {
    panic(absl::StrFormat("segmap_release: 0x%x is not the start of a slot", addr));
  }
  smap* const smp = get_smap(seg, addr);
  smp->sm_mtx.enter();
  smp->sm_flags = smp->sm_flags() | SM_NOTKPM_RELEASED;
  return smp;
}

}  // namespace

Segmap::Segmap(System& system, uintptr_t base, uint64_t size, const SegmapConfig& checked_config,
               uint32_t colours, uint32_t lists)
    : sys(system),
      config(checked_config),
      s_base(base),
      s_size(size),
      maxbsize(config.maxbsize),
      maxbshift(std::countr_zero(config.maxbsize)),
      segmap_kpm(config.kpm && system.vm.pagesize == config.maxbsize),
      smd_ncolor(colours),
      smd_nfree(colours * lists),
      stats(system.machine.ncpus(), config.statistics),
      waiting(make_waiting(config.waiting)) {
  const auto slots = static_cast<uint32_t>(size >> maxbshift);
  for (uint32_t i = 0; i < smd_nfree; ++i) smd_free.emplace_back(i);
  for (uint32_t i = 0; i < smd_ncolor; ++i) smd_wait.emplace_back(i);
  const uint32_t buckets = std::bit_floor(std::max(slots / SMAP_HASHAVELEN, 1u));
  for (uint32_t i = 0; i < buckets; ++i) smd_hash.emplace_back(i);
  for (uint32_t i = 0; i < slots; ++i) {
    name_objects(&smd_sm.emplace_back(i, i & (smd_nfree - 1)), 1, "slot", i);
  }
  // From last to first, all to the release queues.
  for (uint32_t i = slots; i-- > 0;) {
    MutexGuard guard(smd_sm[i].sm_mtx);
    segmap_smapadd(*this, &smd_sm[i]);
  }
  for (uint32_t c = 0; c < system.machine.ncpus(); ++c) {
    segmap_cpu& cpu = smd_cpu.emplace_back();
    for (uint32_t colour = 0; colour < smd_ncolor; ++colour) cpu.scpu_free_ndx[colour] = colour;
    cpu.scpu_last_smap = &smd_sm[0];
  }
}

Segmap::~Segmap() {
  for (smap& slot : smd_sm) {
    HAT_ASSERT(slot.sm_refcnt() == 0,
               absl::StrCat("segmap destroyed while slot ", slot.sm_index, " is in use"));
    MutexGuard guard(slot.sm_mtx);
    if (segmap_kpm) segkpm_mapout_validkpme(*this, &slot.sm_kpme);
  }
  hat_unload(sys, kas(), s_base, s_size, HAT_UNLOAD);
}

absl::StatusOr<std::unique_ptr<Segmap>> segmap_create(System& sys, uintptr_t base, uint64_t size,
                                                      const SegmapConfig& config) {
  const absl::Status status = check_sizes(sys, config);
  if (!status.ok()) return status;
  if (((base | size) & (config.maxbsize - 1)) != 0 || size == 0) {
    panic(absl::StrFormat("segmap_create: base 0x%x and size 0x%x must be multiples of %d", base,
                          size, config.maxbsize));
  }
  HAT_ASSERT(base >= sys.kmap_addr && size <= sys.kmap_eaddr - base,
             "segmap_create: outside the segkmap window");
  const uint32_t lists =
      std::bit_ceil(config.nfreelist != 0 ? config.nfreelist : sys.machine.ncpus());
  const uint64_t colours = std::max<uint64_t>(config.shmsize / config.maxbsize, 1);
  return std::make_unique<Segmap>(
      sys, base, size, config,
      std::bit_floor(static_cast<uint32_t>(std::min<uint64_t>(colours, SEGMAP_MAXCOLOR))), lists);
}

smap* get_smap(Segmap& seg, uintptr_t addr) {
  if (addr - seg.s_base >= seg.s_size) {
    panic(absl::StrFormat("segmap: 0x%x is not in [0x%x, 0x%x)", addr, seg.s_base,
                          seg.s_base + seg.s_size));
  }
  return &seg.smd_sm[(addr - seg.s_base) >> seg.maxbshift];
}

uintptr_t segmap_getmap(Segmap& seg, vnode_t* vp, uint64_t off) {
  return segmap_getmapflt(seg, vp, off & ~seg.maxboffset(), seg.maxbsize, 0, S_OTHER);
}

uintptr_t segmap_getmapflt(Segmap& seg, vnode_t* vp, uint64_t off, size_t len, int forcefault,
                           seg_rw rw) {
  SMSTAT_INC(seg, getmap);
  const uint64_t baseoff = off & ~seg.maxboffset();
  if (off + len > baseoff + seg.maxbsize) {
    panic(absl::StrFormat("segmap_getmapflt: [0x%x, 0x%x) crosses a slot of %d bytes", off,
                          off + len, seg.maxbsize));
  }
  vp = common_vnode(vp);
  const bool kpm = seg.segmap_kpm && (forcefault != SM_PAGECREATE || rw == S_WRITE);
  bool newslot;
  smap* const smp = get_slot(seg, vp, baseoff, kpm, rw, &newslot);
  if (kpm) {
    const uintptr_t va = segmap_getmap_kpm(seg, smp, newslot, &forcefault, rw);
    if (va != 0) return va;
  }
  const uintptr_t slot = seg.smap_addr(smp);
  const uintptr_t page_mask = ~(uintptr_t{seg.sys.vm.pagesize} - 1);
  const uintptr_t first = (slot + (off - baseoff)) & page_mask;
  const uintptr_t end = (slot + (off - baseoff) + len + ~page_mask) & page_mask;
  if (forcefault != 0 && end > first &&
      (newslot || !hat_probe(seg.sys, seg.kas(), slot + (off - baseoff)))) {
    segmap_fault(seg, seg.kas(), first, end - first, F_INVAL, rw);
  }
  return slot;
}

int segmap_release(Segmap& seg, uintptr_t addr, uint32_t flags) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  page_t* pp;
  smap* const smp = lock_for_release(seg, addr, &pp);
  const uint32_t refcnt = smp->sm_refcnt();
  if (refcnt == 0) {
    panic(
        absl::StrFormat("invariant 47: segmap_release: slot %d has no references", smp->sm_index));
  }
  // Sampled while our reference lasts.
  vnode_t* const vp = smp->sm_vp();
  const uint64_t off = smp->sm_off();
  const uint32_t bflags = putpage_flags(flags, refcnt == 1);
  count_release(seg, flags, bflags);
  smp->sm_refcnt = refcnt - 1;
  if (refcnt == 1) {
    smp->sm_flags = smp->sm_flags() & ~(SM_READ_DATA | SM_WRITE_DATA);
    if ((flags & (SM_INVAL | SM_DESTROY)) != 0) blank_slot(seg, smp, pp);
    segmap_smapadd(seg, smp);
  }
  smp->sm_mtx.exit();
  if (pp != nullptr) page_unlock(seg.sys.vm, pp);
  if ((flags & ~SM_DONTNEED) == 0) return 0;
  return vop_putpage(seg.sys.vm, vp, off, seg.maxbsize, bflags);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
