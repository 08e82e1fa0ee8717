// The HAT as the page layer sees it: vm/'s PageMappingOps for one System.
#ifndef HATCHECK_HAT_PAGE_OPS_H_
#define HATCHECK_HAT_PAGE_OPS_H_

#include <memory>

#include "hat/system.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// sys outlives the result.
std::unique_ptr<PageMappingOps> make_page_ops(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_PAGE_OPS_H_
