// The lesser operations of the segment. See segmap/segmap.h.
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "segmap/segmap.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

[[noreturn]] void segmap_badop(const char* name) {
  panic(absl::StrCat("segmap_badop: ", name, " is not for segmap"));
}

void dump_slot(Segmap& seg, const smap& slot, absl::FunctionRef<void(pfn_t)> add) {
  Vm& vm = seg.sys.vm;
  for (uint64_t done = 0; done < seg.maxbsize; done += vm.pagesize) {
    const uint64_t off = slot.sm_off() + done;
    page_t* const locked = page_lookup_nowait(vm, slot.sm_vp(), off, SE_SHARED);
    // Busy: its holder will never run again, so its frame stays what it is.
    page_t* const pp = locked != nullptr ? locked : page_exists(vm, slot.sm_vp(), off);
    if (pp != nullptr) add(pp->p_pagenum);
    if (locked != nullptr) page_unlock(vm, locked);
  }
}

}  // namespace

void segmap_free(Segmap&) {}

int segmap_checkprot(const Segmap& seg, uintptr_t, size_t, uint32_t prot) {
  return (seg.config.prot & prot) == prot ? 0 : EACCES;
}

int segmap_getprot(const Segmap& seg, uintptr_t addr, size_t len, uint32_t* protv) {
  const int shift = seg.sys.vm.pageshift;
  const uint64_t pages = ((addr + len) >> shift) - (addr >> shift) + 1;
  for (uint64_t i = 0; i < pages; ++i) protv[i] = seg.config.prot;
  return 0;
}

uint64_t segmap_getoffset(Segmap& seg, uintptr_t) {
  MutexGuard guard(seg.smd_sm[0].sm_mtx);
  return seg.smd_sm[0].sm_off();
}

int segmap_getvp(Segmap& seg, uintptr_t, vnode_t** vpp) {
  MutexGuard guard(seg.smd_sm[0].sm_mtx);
  *vpp = seg.smd_sm[0].sm_vp();
  return 0;
}

int segmap_getmemid(Segmap& seg, uintptr_t, memid_t* memid) {
  MutexGuard guard(seg.smd_sm[0].sm_mtx);
  *memid = memid_t{seg.smd_sm[0].sm_vp(), seg.smd_sm[0].sm_off()};
  return 0;
}

int segmap_gettype(const Segmap&, uintptr_t) { return MAP_SHARED_TYPE; }
int segmap_kluster(const Segmap&, uintptr_t, int64_t) { return 0; }
int segmap_pagelock(Segmap&, uintptr_t, size_t) { return ENOTSUP; }
const void* segmap_getpolicy(const Segmap&, uintptr_t) { return nullptr; }
int segmap_capable(const Segmap&, int) { return 0; }

void segmap_dump(Segmap& seg, absl::FunctionRef<void(pfn_t)> add) {
  for (const smap& slot : seg.smd_sm) {
    if (slot.sm_refcnt() > 0) dump_slot(seg, slot, add);
  }
}

int segmap_kstat_update(const Segmap& seg, SegmapStatTotals* totals, KstatRw rw) {
  if (rw == KstatRw::kWrite) return EACCES;
  *totals = seg.stats.sum();
  return 0;
}

void segmap_dup(Segmap&) { segmap_badop("dup"); }
void segmap_unmap(Segmap&) { segmap_badop("unmap"); }
void segmap_setprot(Segmap&) { segmap_badop("setprot"); }
void segmap_swapout(Segmap&) { segmap_badop("swapout"); }
void segmap_sync(Segmap&) { segmap_badop("sync"); }
void segmap_incore(Segmap&) { segmap_badop("incore"); }
void segmap_lockop(Segmap&) { segmap_badop("lockop"); }
void segmap_advise(Segmap&) { segmap_badop("advise"); }
void segmap_setpagesize(Segmap&) { segmap_badop("setpagesize"); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
