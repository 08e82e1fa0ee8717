// Freeing pages, and availrmem. See vm/page_alloc.h.
#include "absl/strings/str_cat.h"
#include "vm/page_list.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

bool memory_locked(const page_t* pp) { return pp->p_lckcnt() != 0 || pp->p_cowcnt() != 0; }

// For page_release: whether the page, locked in some mode, can be freed; EXCL then.
bool page_releasable(Vm& vm, page_t* pp) {
  PageMappingOps& ops = vm.mapping_ops();
  if (ops.hment_mapcnt(pp) != 0) return false;
  if ((pp->p_state.load(std::memory_order_relaxed) & P_SWAP) != 0) return false;
  if (pp->p_szc.load(std::memory_order_relaxed) != 0) return false;
  if (!PAGE_EXCL(pp) && !page_tryupgrade(vm, pp)) return false;
  // Under SHARED a mapping may have come since the first look. A kpm user keeps the page too,
  // though it is no mapping; EXCL keeps users from coming and going.
  return !memory_locked(pp) && pp->p_kpmref() == 0 && ops.hment_mapcnt(pp) == 0;
}

}  // namespace

void page_free(Vm& vm, page_t* pp, int dontneed) {
  HAT_ASSERT(PAGE_EXCL(pp) && !PP_ISFREE(pp) && !page_iolocked(pp));
  HAT_ASSERT(pp->p_szc.load(std::memory_order_relaxed) == 0 && !memory_locked(pp));
  const uint32_t mappings = vm.mapping_ops().hment_mapcnt(pp);
  if (mappings != 0 || pp->p_kpmref() != 0) {
    panic(absl::StrCat("invariant 40: page ", pp->p_pagenum, " is freed with ", mappings,
                       " mappings and ", pp->p_kpmref(), " kpm users"));
  }
  pp->p_nrm.store(0, std::memory_order_relaxed);
  const bool identity = pp->p_vnode.load(std::memory_order_relaxed) != nullptr;
  page_list_add(vm, pp, /*first=*/!identity || dontneed != 0);
  page_unlock(vm, pp);
  // Last: what freemem promises must be there for the taking.
  page_unpromise(vm, 1);
}

int page_release(Vm& vm, page_t* pp, int checkmod) {
  HAT_ASSERT(PAGE_LOCKED(pp) && !PP_ISFREE(pp));
  HAT_ASSERT(pp->p_vnode.load(std::memory_order_relaxed) != nullptr);
  if (!page_releasable(vm, pp)) {
    page_unlock(vm, pp);
    return PGREL_NOTREL;
  }
  if (checkmod && PP_ISMOD(pp)) {
    page_unlock(vm, pp);
    return PGREL_MOD;
  }
  VN_DISPOSE(vm, pp, B_FREE);
  return PGREL_CLEAN;
}

void page_destroy(Vm& vm, page_t* pp, int dontfree) {
  HAT_ASSERT(PAGE_EXCL(pp) && !PP_ISFREE(pp));
  HAT_ASSERT(pp->p_szc.load(std::memory_order_relaxed) == 0 && !memory_locked(pp));
  vm.mapping_ops().hat_pageunload(pp);
  if (pp->p_vnode.load(std::memory_order_relaxed) != nullptr) page_hashout(vm, pp);
  if (!dontfree) page_free(vm, pp, 1);
}

void VN_DISPOSE(Vm& vm, page_t* pp, uint32_t flag, int dontneed) {
  if ((flag & B_INVAL) != 0) {
    page_destroy(vm, pp, 0);
  } else {
    page_free(vm, pp, dontneed);
  }
}

int64_t availrmem(Vm& vm) {
  MutexGuard guard(vm.freemem_lock);
  return vm.availrmem_count();
}

int page_resv(Vm& vm, int64_t npages, KmFlag flag) {
  MutexGuard guard(vm.freemem_lock);
  while (vm.availrmem_count() - npages < vm.config.t_minarmem) {
    if (flag == KmFlag::kNoSleep) return 0;
    vm.availrmem_cv.wait(vm.freemem_lock);
  }
  vm.availrmem_count = vm.availrmem_count() - npages;
  return 1;
}

void page_unresv(Vm& vm, int64_t npages) {
  MutexGuard guard(vm.freemem_lock);
  vm.availrmem_count = vm.availrmem_count() + npages;
  vm.availrmem_cv.broadcast();
}

// A thread bound to no CPU counts as one on CPU 0, which is the engines' rule for all per-CPU
// state.
bool NOMEMWAIT(Vm& vm) {
  HAT_ASSERT(this_cpu() < vm.machine.ncpus());
  return vm.nomemwait[this_cpu()]();
}

NoMemWait::NoMemWait(Vm& vm) : vm_(vm), cpu_(this_cpu()), before_(NOMEMWAIT(vm)) {
  vm_.nomemwait[cpu_] = true;
}

NoMemWait::~NoMemWait() { vm_.nomemwait[cpu_] = before_; }

}  // namespace hatcheck::inline HATCHECK_BACKEND
