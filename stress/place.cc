#include "stress/place.h"

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {

uintptr_t place_of(World& world, CpuId cpu) {
  return uintptr_t{0x700000000000} + cpu * 3 * world.large_page_bytes();
}

bool is_taken(World& world, Process& p, uintptr_t place) {
  const as_t* as = &p.as;
  for (uint64_t at = 0; at < 3 * world.large_page_bytes(); at += world.large_page_bytes()) {
    if (as_segat(as, place + at) != nullptr) return true;
  }
  return false;
}

void expect_mapped(World& world, const char* op, Process& p, uintptr_t va, pfn_t expected,
                   bool locked) {
  const pfn_t seen = hat_getpfnum(world.sys, p.as.a_hat, va);
  if (seen == expected) return;
  if (seen == PFN_INVALID && !locked && world.oracle.stealing_since_settle()) return;
  report_violation(absl::StrFormat("%s: va 0x%x of process %d maps frame %d, expected %d%s", op, va,
                                   p.id, static_cast<int64_t>(seen), expected,
                                   locked ? " (invariant 22: it was loaded locked)" : ""));
}

void expect_unmapped(World& world, const char* op, Process& p, uintptr_t va) {
  const pfn_t seen = hat_getpfnum(world.sys, p.as.a_hat, va);
  if (seen == PFN_INVALID) return;
  report_violation(absl::StrFormat("%s: va 0x%x of process %d maps frame %d, expected none", op, va,
                                   p.id, seen));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
