#include "stress/process.h"

#include "absl/strings/str_cat.h"
#include "stress/sparse_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

AnonVnode::AnonVnode(Vm& vm_in, uint64_t id)
    : vm(vm_in),
      vnode(absl::StrCat("anon", id), id, 0, std::make_unique<SparseBacking>(id, vm_in.pagesize)) {}

AnonVnode::~AnonVnode() {
  const int error = vn_recycle(vm, &vnode);
  HAT_ASSERT(error == 0, "stress: a private page is still memory-locked at exit");
}

Process::Process(System& sys_in, Oracle& oracle, uint64_t id_in)
    : sys(sys_in), id(id_in), as(static_cast<uint32_t>(id_in)), shadow(oracle) {}

}  // namespace hatcheck::inline HATCHECK_BACKEND
