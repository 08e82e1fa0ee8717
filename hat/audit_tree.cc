// How page tables hang together: parents, children, holds.
#include "hat/audit_internal.h"
#include "hat/htable.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Invariant 16 from below: the parent's entry leads to the child.
absl::Status check_parent(HatAudit& audit, const htable_t* ht) {
  const MmuGeometry& mmu = audit.sys.mmu();
  const level_t level = ht->ht_level();
  const htable_t* const parent = ht->ht_parent();
  if (level == mmu.max_level()) {
    if (parent == nullptr) return absl::OkStatus();
    return broken(16, audit.name(ht), ": top table with ht_parent");
  }
  const auto facts = audit.table_facts.find(parent);
  if (facts == audit.table_facts.end()) {
    return broken(16, audit.name(ht), ": ht_parent is no hashed table");
  }
  if (parent->ht_hat() != ht->ht_hat() || parent->ht_level() != level + 1 ||
      parent->ht_vaddr() != htable_base(audit.sys, ht->ht_vaddr(), level + 1)) {
    return broken(16, audit.name(ht), ": ht_parent is ", audit.name(parent));
  }
  const uint32_t entry = mmu.index(ht->ht_vaddr(), level + 1);
  const x86pte_t pte = audit.pte(parent, entry);
  if (!PTE_ISPTP(pte, level + 1) || PTE2PFN(pte, level + 1) != ht->ht_pfn()) {
    return broken(16, audit.name(ht), ": ht_pfn ", ht->ht_pfn(), ", parent's entry ", entry,
                  " is 0x", absl::Hex(pte));
  }
  ++facts->second.children;
  return absl::OkStatus();
}

void add_permanent(HatAudit& audit, const htable_t* ht) {
  const auto facts = audit.table_facts.find(ht);
  if (facts != audit.table_facts.end()) ++facts->second.permanent;
}

// Holds that are never dropped: of a hat on its top table, and of the kernel on the tables that it
// keeps.
void count_permanent_holds(HatAudit& audit) {
  for (const hat_t* hat : audit.hats) add_permanent(audit, hat->hat_htable());
  for (const htable_t* ht : audit.sys.kmap_tables) add_permanent(audit, ht);
  for (const htable_t* ht : audit.sys.precreated_tables) add_permanent(audit, ht);
}

absl::Status check_holds(const HatAudit& audit, const htable_t* ht) {
  const TableFacts& facts = audit.table_facts.at(ht);
  const int32_t busy = ht->ht_busy.load(kQuiescent);
  if (busy != facts.children + facts.sharers + facts.permanent) {
    return broken(14, audit.name(ht), ": ht_busy ", busy, ", children ", facts.children,
                  ", sharers ", facts.sharers, ", permanent holds ", facts.permanent);
  }
  // Upper tables are kept when they become empty, except the kernel's below kernelbase.
  const bool kept = is_freeing(ht->ht_hat()) ||
                    (!is_shared_pfn(ht) && ht->ht_level() >= audit.sys.mmu().max_page_level &&
                     (!audit.is_kernel(ht) || ht->ht_vaddr() >= audit.sys.kernelbase));
  const int32_t valid_cnt = ht->ht_valid_cnt.load(kQuiescent);
  if (busy == 0 && valid_cnt == 0 && !kept) {
    return broken(15, audit.name(ht), ": ht_busy 0 and ht_valid_cnt 0, still hashed");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_tree(HatAudit& audit) {
  for (const htable_t* ht : audit.hashed) {
    absl::Status status = check_parent(audit, ht);
    if (!status.ok()) return status;
  }
  count_permanent_holds(audit);
  for (const htable_t* ht : audit.hashed) {
    absl::Status status = check_holds(audit, ht);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
