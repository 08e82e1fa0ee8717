#include "segmap/segmap_copy.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "hat/hat.h"
#include "segmap/segmap_fault.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Calls move(address, offset, bytes) for each page's part until it succeeds or the fault cannot be
// repaired.
int by_pages(Segmap& seg, uintptr_t addr, size_t len, seg_rw rw, size_t* done,
             absl::FunctionRef<bool(uintptr_t, size_t, size_t)> move) {
  const uint64_t pagesize = seg.sys.vm.pagesize;
  *done = 0;
  while (*done < len) {
    const uintptr_t va = addr + *done;
    const uint64_t within = va & (pagesize - 1);
    const size_t bytes = std::min<size_t>(len - *done, pagesize - within);
    while (!move(va, *done, bytes)) {
      if (hat_in_kpm(seg.sys, va)) hat_kpm_fault(seg.sys, va);
      const faultcode_t fault = segmap_fault(seg, seg.kas(), va - within, pagesize, F_INVAL, rw);
      if (fault != 0) return FC_ERRNO(fault);
    }
    *done += bytes;
  }
  return 0;
}

}  // namespace

int segmap_copy_from(Segmap& seg, uintptr_t addr, absl::Span<uint8_t> to, size_t* done) {
  Machine& machine = seg.sys.machine;
  return by_pages(seg, addr, to.size(), S_READ, done, [&](uintptr_t va, size_t at, size_t bytes) {
    return machine.read_string(this_cpu(), va, to.subspan(at, bytes));
  });
}

int segmap_copy_to(Segmap& seg, uintptr_t addr, absl::Span<const uint8_t> from, size_t* done) {
  Machine& machine = seg.sys.machine;
  return by_pages(seg, addr, from.size(), S_WRITE, done,
                  [&](uintptr_t va, size_t at, size_t bytes) {
                    return machine.write_string(this_cpu(), va, from.subspan(at, bytes));
                  });
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
