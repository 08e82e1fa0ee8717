// kpm users of pages and their translations in the kpm window: invariant 55.
#include "hat/audit_internal.h"
#include "hat/hat.h"
#include "hat/htable.h"
#include "hat/kpm_mapping.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

bool mapped_in_window(const HatAudit& audit, const page_t* pp) {
  const uintptr_t va = hat_kpm_page2va(audit.sys, pp);
  const int shift = audit.sys.mmu().level_shift(1);
  htable_t* const ht = audit.sys.kpm_tables[(va >> shift) - (audit.sys.kpm_vbase >> shift)];
  return PTE_ISVALID(audit.pte(ht, htable_va2entry(audit.sys, va, ht)));
}

absl::Status check_users(const HatAudit& audit, const page_t* pp) {
  const uint32_t users = pp->p_kpmref();
  uint32_t listed = 0;
  const kpme* prev = nullptr;
  const auto* k = static_cast<const kpme*>(pp->p_kpmelist());
  for (; k != nullptr && listed <= users; prev = k, k = k->kpe_next()) {
    ++listed;
    if (k->kpe_prev() != prev || k->kpe_page.load(kQuiescent) != pp) {
      return broken(55, "page ", pp->p_pagenum, ": kpme ", listed,
                    " of p_kpmelist has a wrong kpe_prev or kpe_page");
    }
  }
  if (listed > users) {
    return broken(55, "page ", pp->p_pagenum, ": p_kpmref ", users, ", p_kpmelist is longer");
  }
  if (mapped_in_window(audit, pp) != (users != 0)) {
    return broken(55, "page ", pp->p_pagenum, ": p_kpmref ", users, ", ",
                  users != 0 ? "no translation" : "a translation", " in the kpm window");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_kpm(HatAudit& audit) {
  const bool recorded = audit.sys.kpm->records_users() && !audit.sys.kpm_tables.empty();
  for (pfn_t pfn = 0; pfn < audit.sys.vm.npages; ++pfn) {
    const page_t* const pp = page_numtopp_nolock(audit.sys.vm, pfn);
    if (pp == nullptr) continue;
    if (recorded) {
      absl::Status status = check_users(audit, pp);
      if (!status.ok()) return status;
    } else if (pp->p_kpmref() != 0 || pp->p_kpmelist() != nullptr) {
      return broken(55, "page ", pfn, ": p_kpmref ", pp->p_kpmref(),
                    " where kpm users are not recorded");
    }
  }
  return absl::OkStatus();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
