// Mapping lists: every page's records, what they name, and the index that finds them.
#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "hat/audit_internal.h"
#include "hat/hment_index.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using Listed = absl::flat_hash_set<const hment_t*>;

std::string name_page(const page_t* pp) { return absl::StrCat("page ", pp->p_pagenum); }

// A record says that (ht, entry) maps pp; ht is known to be hashed.
absl::Status check_record(HatAudit& audit, const page_t* pp, const htable_t* ht, uint32_t entry) {
  const level_t level = ht->ht_level();
  if (entry >= audit.sys.mmu().ptes_per_table()) {
    return broken(7, name_page(pp), ": record of ", audit.name(ht, entry), ": no such entry");
  }
  const x86pte_t pte = audit.pte(ht, entry);
  if (!PTE_ISPAGE(pte, level) || PTE2PFN(pte, level) != pp->p_pagenum) {
    return broken(7, name_page(pp), ": record of ", audit.name(ht, entry), ", whose pte is 0x",
                  absl::Hex(pte));
  }
  if (is_shared_pfn(ht)) {
    return broken(62, name_page(pp), ": record of ", audit.name(ht, entry), ", a sharer's entry");
  }
  if ((pte & PT_SOFTWARE) >= PT_NOCONSIST) {
    return broken(9, name_page(pp), ": record of ", audit.name(ht, entry),
                  ", whose pte is off-list: 0x", absl::Hex(pte));
  }
  // Else hat_pageunload, which looks at sizes up to p_szc, would not find it.
  const int szc = pp->p_szc.load(kQuiescent);
  if (level > szc) {
    return broken(7, name_page(pp), ": p_szc ", szc, ", mapped by ", audit.name(ht, entry));
  }
  if (!audit.records.emplace(EntryKey{ht, entry}, pp->p_pagenum).second) {
    return broken(6, name_page(pp), ": two records of ", audit.name(ht, entry));
  }
  return absl::OkStatus();
}

absl::Status check_embedded(HatAudit& audit, const page_t* pp) {
  const auto* const ht = static_cast<const htable_t*>(pp->p_mapping.load(kQuiescent));
  if (!audit.table_facts.contains(ht)) {
    return broken(1, name_page(pp), ": p_embed set, p_mapping is no hashed table");
  }
  if (pp->p_share() != 0) {
    return broken(1, name_page(pp), ": p_embed set, p_share ", pp->p_share());
  }
  ++audit.counts.embedded;
  return check_record(audit, pp, ht, pp->p_mlentry());
}

absl::Status check_list(HatAudit& audit, const page_t* pp, Listed& listed) {
  uint64_t length = 0;
  const hment_t* prev = nullptr;
  const auto* hm = static_cast<const hment_t*>(pp->p_mapping.load(kQuiescent));
  for (; hm != nullptr; prev = hm, hm = hm->hm_next()) {
    if (!listed.insert(hm).second) {
      return broken(3, name_page(pp), ": hment ", length, " of the list is on a list already");
    }
    if (hm->hm_prev() != prev) {
      return broken(3, name_page(pp), ": hm_prev of hment ", length, " is not the one before it");
    }
    if (hm->hm_pfn() != pp->p_pagenum) {
      return broken(4, name_page(pp), ": hment ", length, " has hm_pfn ", hm->hm_pfn());
    }
    if (!audit.table_facts.contains(hm->hm_htable())) {
      return broken(10, name_page(pp), ": hment ", length, ": hm_htable is no hashed table");
    }
    absl::Status status = check_record(audit, pp, hm->hm_htable(), hm->hm_entry());
    if (!status.ok()) return status;
    ++length;
  }
  if (pp->p_share() != length) {
    return broken(2, name_page(pp), ": p_share ", pp->p_share(), ", list length ", length);
  }
  audit.counts.longest_list = std::max(audit.counts.longest_list, length);
  return absl::OkStatus();
}

// Invariants 5 and 6: the index has exactly what the lists have, each in its bucket.
absl::Status check_index(const HatAudit& audit, const Listed& listed) {
  const HmentIndex& index = *audit.sys.hment_index;
  // First, because only then can it be walked safely.
  const std::string complaint = index.check_shape();
  if (!complaint.empty()) {
    return complaint.starts_with("invariant ") ? absl::InternalError(complaint)
                                               : broken(5, complaint);
  }
  absl::Status status;
  uint64_t indexed = 0;
  index.for_each([&](uint32_t bucket, hment_t* hm) {
    ++indexed;
    if (status.ok() && !listed.contains(hm)) {
      status = broken(5, "hment with hm_pfn ", hm->hm_pfn(), ", hm_entry ", hm->hm_entry(),
                      " in bucket ", bucket, " is on no page's list");
    }
  });
  if (status.ok() && indexed != listed.size()) {
    return broken(5, listed.size(), " hments on lists, ", indexed, " in the index");
  }
  return status;
}

// Invariant 39.
absl::Status check_hment_count(const HatAudit& audit, const Listed& listed) {
  const Reserve<hment_t>& reserve = audit.sys.hment_reserve;
  const auto allocated = static_cast<uint64_t>(audit.sys.hment_cache.outstanding());
  uint64_t length = 0;
  for (const hment_t* hm = reserve.pool(); hm != nullptr; hm = hm->hm_next()) {
    if (listed.contains(hm) || ++length > allocated) {
      return broken(39, "hment_reserve: hment ", length, " is in use or the list has a cycle");
    }
  }
  const uint32_t count = reserve.count.load(kQuiescent);
  if (count != length) {
    return broken(39, "hment_reserve: count ", count, ", list length ", length);
  }
  if (allocated != listed.size() + length) {
    return broken(39, allocated, " hments allocated, ", listed.size(), " listed, ", length,
                  " reserved");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_pages(HatAudit& audit) {
  Listed listed;
  const auto hments = static_cast<size_t>(audit.sys.hment_cache.outstanding());
  listed.reserve(hments);
  audit.records.reserve(2 * hments);
  for (pfn_t pfn = 0; pfn < audit.sys.vm.npages; ++pfn) {
    const page_t* const pp = page_numtopp_nolock(audit.sys.vm, pfn);
    if (pp == nullptr) continue;
    if (pp->p_mapping.load(kQuiescent) != nullptr) ++audit.counts.pages;
    absl::Status status = pp->p_embed.load(kQuiescent) != 0 ? check_embedded(audit, pp)
                                                            : check_list(audit, pp, listed);
    if (!status.ok()) return status;
  }
  audit.counts.hments = listed.size();
  absl::Status status = check_index(audit, listed);
  if (status.ok()) status = check_hment_count(audit, listed);
  return status;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
