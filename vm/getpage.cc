// vop_getpage: pages of a file, filled from its backing. See vm/vnode.h.
#include <cerrno>

#include "absl/container/fixed_array.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// Fills a frame from the backing.
int page_read(Vm& vm, vnode_t* vp, page_t* pp, uint64_t off) {
  if (vp->v_backing == nullptr) return ENOSYS;
  absl::FixedArray<uint8_t> buffer(vm.pagesize);
  const int error = vp->v_backing->read(off, absl::MakeSpan(buffer));
  if (error == 0) vm.machine.mem().write_bytes(pp->p_pagenum, 0, absl::MakeConstSpan(buffer));
  return error;
}

// Makes the page at off, with valid data: EXCL and not I/O locked. *pp nullptr with 0: somebody
// else was first, search again.
int page_create_filled(Vm& vm, vnode_t* vp, uint64_t off, seg_rw rw, page_t** result) {
  *result = page_create_va(vm, vp, off, vm.pagesize, PG_EXCL | PG_WAIT);
  if (*result == nullptr) return 0;
  page_t* pp = *result;
  page_t* ring = pp;
  page_sub(&ring, pp);
  int error = 0;
  if (rw == S_CREATE) {
    vm.machine.mem().zero(pp->p_pagenum);
  } else {
    error = page_read(vm, vp, pp, off);
  }
  page_io_unlock(vm, pp);
  if (error != 0) {
    // Nobody may see a page without data: those who wait for it search again and try for
    // themselves.
    page_destroy(vm, pp, 0);
    *result = nullptr;
  }
  return error;
}

// All pages of a range of which none exists, made and filled by one transfer: SHARED in pl. False
// if some exist or the transfer fails: then there are no new pages, and whoever goes on page by
// page finds out which of them it is that cannot be read.
bool pvn_read_kluster(Vm& vm, vnode_t* vp, uint64_t off, size_t npages, absl::Span<page_t*> pl) {
  if (vp->v_backing == nullptr) return false;
  // Hints that save the trouble; page_create_va makes sure.
  for (size_t i = 0; i < npages; ++i) {
    if (page_exists(vm, vp, off + (i << vm.pageshift)) != nullptr) return false;
  }
  page_t* ring = page_create_va(vm, vp, off, npages << vm.pageshift, PG_EXCL | PG_WAIT);
  if (ring == nullptr) return false;
  absl::FixedArray<uint8_t, 0> buffer(npages << vm.pageshift);
  const int error = vp->v_backing->read(off, absl::MakeSpan(buffer));
  for (size_t i = 0; i < npages; ++i) {
    page_t* pp = ring;
    page_sub(&ring, pp);
    if (error == 0) {
      vm.machine.mem().write_bytes(
          pp->p_pagenum, 0, absl::MakeConstSpan(buffer).subspan(i << vm.pageshift, vm.pagesize));
    }
    page_io_unlock(vm, pp);
    if (error == 0) {
      page_downgrade(vm, pp);
      pl[i] = pp;
    } else {
      page_destroy(vm, pp, 0);
    }
  }
  return error == 0;
}

}  // namespace

int vop_getpage(Vm& vm, vnode_t* vp, uint64_t off, seg_rw rw, page_t** result) {
  const se_t se = rw == S_CREATE ? SE_EXCL : SE_SHARED;
  for (;;) {
    page_t* pp = page_lookup(vm, vp, off, se);
    if (pp == nullptr) {
      const int error = page_create_filled(vm, vp, off, rw, &pp);
      if (error != 0) return error;
      if (pp == nullptr) continue;
      if (se == SE_SHARED) page_downgrade(vm, pp);
    }
    *result = pp;
    return 0;
  }
}

int vop_getpage(Vm& vm, vnode_t* vp, uint64_t off, size_t len, uint32_t* protp,
                absl::Span<page_t*> pl, seg_rw rw) {
  HAT_ASSERT((off & (vm.pagesize - 1)) == 0 && len > 0);
  if (pl.empty()) {
    page_t* pp = nullptr;
    const int error = vop_getpage(vm, vp, off, rw, &pp);
    if (error == 0) page_unlock(vm, pp);
    return error;
  }
  const size_t npages = (len + vm.pagesize - 1) >> vm.pageshift;
  HAT_ASSERT(pl.size() > npages);
  const bool klustered = npages > 1 && rw != S_CREATE && pvn_read_kluster(vm, vp, off, npages, pl);
  for (size_t i = 0; !klustered && i < npages; ++i) {
    const int error = vop_getpage(vm, vp, off + (i << vm.pageshift), rw, &pl[i]);
    if (error != 0) {
      for (size_t j = 0; j < i; ++j) page_unlock(vm, pl[j]);
      return error;
    }
  }
  pl[npages] = nullptr;
  if (protp != nullptr) {
    *protp = PROT_ALL_PAGE;
    const bool beyond = vp->v_backing != nullptr && off + len > vp->v_backing->size();
    if (beyond && rw != S_WRITE && rw != S_CREATE) *protp &= ~PROT_WRITE_PAGE;
  }
  return 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
