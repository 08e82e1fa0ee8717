// Pages of a scenario's own making.
#ifndef HATCHECK_MODELS_CREATE_PAGE_H_
#define HATCHECK_MODELS_CREATE_PAGE_H_

#include <cstdint>

#include "platform/platform.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One page of vp by page_create_va, its I/O lock given up: EXCL, or nullptr if there is none to be
// had.
inline page_t* create_page(Vm& vm, vnode_t* vp, uint64_t off, uint32_t flags = PG_EXCL) {
  page_t* ring = page_create_va(vm, vp, off, vm.pagesize, flags);
  if (ring == nullptr) return nullptr;
  page_t* const pp = ring;
  page_sub(&ring, pp);
  page_io_unlock(vm, pp);
  return pp;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_CREATE_PAGE_H_
