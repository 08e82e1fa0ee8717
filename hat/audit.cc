#include "hat/audit.h"

#include "hat/audit_internal.h"
#include "vm/audit.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::string HatAudit::name(const hat_t* hat) const {
  const auto found = hat_names.find(hat);
  return found == hat_names.end() ? "hat=?" : absl::StrCat("hat=", found->second);
}

std::string HatAudit::name(const htable_t* ht) const {
  return absl::StrFormat("htable %s va=0x%x level=%d", name(ht->ht_hat()), ht->ht_vaddr(),
                         ht->ht_level());
}

std::string HatAudit::name(const htable_t* ht, uint32_t entry) const {
  return absl::StrCat(name(ht), " entry ", entry);
}

uint32_t HatAudit::own_entries(const htable_t* ht) const {
  const MmuGeometry& mmu = sys.mmu();
  if (is_kernel(ht) || ht->ht_level() != mmu.max_level()) return mmu.ptes_per_table();
  return mmu.index(sys.kernelbase, mmu.max_level());
}

uintptr_t HatAudit::entry_va(const htable_t* ht, uint32_t entry) const {
  const MmuGeometry& mmu = sys.mmu();
  if (ht->ht_level() == mmu.max_level()) return mmu.top_entry_va(entry);
  return ht->ht_vaddr() + (uintptr_t{entry} << mmu.level_shift(ht->ht_level()));
}

absl::Status hat_audit(System& sys, const AuditOptions& options, AuditCounts* counts) {
  absl::Status status = vm_audit(sys.vm);
  if (!status.ok()) return status;

  HatAudit audit{.sys = sys, .options = options};
  using Part = absl::Status (*)(HatAudit&);
  for (const Part part : {&audit_hats, &audit_tables, &audit_tree, &audit_pages, &audit_kpm,
                          &audit_entries, &audit_tlbs}) {
    status = part(audit);
    if (!status.ok()) return status;
  }
  if (counts != nullptr) *counts = audit.counts;
  return absl::OkStatus();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
