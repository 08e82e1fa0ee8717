// Every entry of every page table, and the counts that are kept of them.
#include <array>

#include "hat/audit_internal.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// What the tables of one hat add up to.
struct HatTotals {
  std::array<int64_t, kMaxLevels> leaves{};
  int64_t shared_pages = 0;
};

absl::Status check_leaf(const HatAudit& audit, const htable_t* ht, uint32_t entry, x86pte_t pte) {
  if (ht->ht_level() > audit.sys.mmu().max_page_level) {
    return broken(36, audit.name(ht, entry), ": page in a table of pointers, pte 0x",
                  absl::Hex(pte));
  }
  const x86pte_t privilege = pte & (PT_GLOBAL | PT_USER);
  const bool kernel_va = audit.entry_va(ht, entry) >= audit.sys.kernelbase;
  if (audit.is_kernel(ht) ? (kernel_va && privilege != PT_GLOBAL) : (privilege & PT_GLOBAL) != 0) {
    return broken(34, audit.name(ht, entry), ": pte 0x", absl::Hex(pte));
  }
  if ((pte & PT_SOFTWARE) < PT_NOCONSIST && !audit.records.contains(EntryKey{ht, entry})) {
    return broken(8, audit.name(ht, entry), ": pte 0x", absl::Hex(pte), " has no record");
  }
  return absl::OkStatus();
}

// Invariant 16 from above: a pointer leads to a child. That the child hangs here was seen from
// below.
absl::Status check_pointer(const HatAudit& audit, const htable_t* ht, uint32_t entry,
                           x86pte_t pte) {
  const TableKey child{ht->ht_hat(), audit.entry_va(ht, entry), ht->ht_level() - 1};
  if (audit.by_identity.contains(child)) return absl::OkStatus();
  return broken(16, audit.name(ht, entry), ": pointer 0x", absl::Hex(pte), " without a child");
}

// Invariant 35: the upper entries of a user's top table.
absl::Status check_copies(const HatAudit& audit, const htable_t* ht) {
  const htable_t* const kernel = audit.sys.kas_hat()->hat_htable();
  for (uint32_t entry = audit.own_entries(ht); entry < audit.sys.mmu().ptes_per_table(); ++entry) {
    const x86pte_t here = audit.pte(ht, entry);
    const x86pte_t there = audit.pte(kernel, entry);
    if (here != there) {
      return broken(35, audit.name(ht, entry), ": 0x", absl::Hex(here), ", the kernel has 0x",
                    absl::Hex(there));
    }
  }
  return absl::OkStatus();
}

// Invariant 22.
absl::Status check_locks(const HatAudit& audit, const htable_t* ht) {
  const int32_t lock_cnt = ht->ht_lock_cnt.load(kQuiescent);
  const int32_t valid_cnt = ht->ht_valid_cnt.load(kQuiescent);
  const bool must_be_0 = audit.options.expect_no_locks || audit.is_kernel(ht) || valid_cnt == 0;
  if (lock_cnt < 0 || (must_be_0 && lock_cnt != 0)) {
    return broken(22, audit.name(ht), ": ht_lock_cnt ", lock_cnt, ", ht_valid_cnt ", valid_cnt);
  }
  return absl::OkStatus();
}

absl::Status check_table(HatAudit& audit, const htable_t* ht, HatTotals& totals) {
  const level_t level = ht->ht_level();
  int32_t valid = 0;
  int64_t leaves = 0;
  const uint32_t own = audit.own_entries(ht);
  for (uint32_t entry = 0; entry < own; ++entry) {
    const x86pte_t pte = audit.pte(ht, entry);
    if (!PTE_ISVALID(pte)) continue;
    ++valid;
    const bool leaf = PTE_ISPAGE(pte, level);
    if (leaf) ++leaves;
    absl::Status status =
        leaf ? check_leaf(audit, ht, entry, pte) : check_pointer(audit, ht, entry, pte);
    if (!status.ok()) return status;
  }
  totals.leaves[static_cast<size_t>(level)] += leaves;
  audit.counts.mappings += static_cast<uint64_t>(leaves);
  const int32_t valid_cnt = ht->ht_valid_cnt.load(kQuiescent);
  if (valid_cnt != valid) {
    return broken(11, audit.name(ht), ": ht_valid_cnt ", valid_cnt, ", valid entries ", valid);
  }
  absl::Status status = check_locks(audit, ht);
  if (status.ok()) status = check_copies(audit, ht);
  return status;
}

// Invariant 23.
absl::Status check_totals(const HatAudit& audit, const hat_t* hat, const HatTotals& totals) {
  for (size_t level = 0; level < kMaxLevels; ++level) {
    const int64_t mapped = hat->hat_pages_mapped[level].load(kQuiescent);
    if (mapped != totals.leaves[level]) {
      return broken(23, audit.name(hat), ": hat_pages_mapped[", level, "] ", mapped,
                    ", valid pages ", totals.leaves[level]);
    }
  }
  const int64_t shared = hat->hat_ism_pgcnt.load(kQuiescent);
  if (shared != totals.shared_pages) {
    return broken(23, audit.name(hat), ": hat_ism_pgcnt ", shared, ", in shared tables ",
                  totals.shared_pages);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_entries(HatAudit& audit) {
  std::vector<HatTotals> totals(audit.hats.size());
  for (const htable_t* ht : audit.hashed) {
    HatTotals& of_hat = totals[audit.hat_names.at(ht->ht_hat())];
    if (is_shared_pfn(ht)) {
      // Its count is what the source's was when it was shared; its entries are the source's.
      of_hat.shared_pages += ht->ht_valid_cnt.load(kQuiescent) *
                             static_cast<int64_t>(audit.sys.mmu().level_frames(ht->ht_level()));
      continue;
    }
    absl::Status status = check_table(audit, ht, of_hat);
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < totals.size(); ++i) {
    absl::Status status = check_totals(audit, audit.hats[i], totals[i]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
