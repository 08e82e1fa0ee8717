// What the parts of the audit share: the facts gathered so far, and how a broken invariant is told.
//
// Each part adds to the facts and relies on those of the parts before it, in the order of audit.h:
// only pointers that an earlier part has vouched for are followed without a check.
//
// Included by audit*.cc and hat_dump.cc only. All loads of atomics are relaxed: the system is
// quiescent.
#ifndef HATCHECK_HAT_AUDIT_INTERNAL_H_
#define HATCHECK_HAT_AUDIT_INTERNAL_H_

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/audit.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr std::memory_order kQuiescent = std::memory_order_relaxed;

// A mapping by its place, and a table by its identity.
using EntryKey = std::pair<const htable_t*, uint32_t>;
using TableKey = std::tuple<const hat_t*, uintptr_t, level_t>;

// A hashed table.
struct TableFacts {
  int32_t children = 0;
  int32_t sharers = 0;
  int32_t permanent = 0;  // holds that are never dropped
};

struct HatAudit {
  System& sys;
  const AuditOptions& options;
  AuditCounts counts{};

  // The kernel's first, then the list. The position is the hat's name.
  std::vector<hat_t*> hats{};
  absl::flat_hash_map<const hat_t*, size_t> hat_names{};

  std::vector<htable_t*> hashed{};
  absl::flat_hash_map<const htable_t*, TableFacts> table_facts{};  // of those in `hashed`
  absl::flat_hash_map<TableKey, htable_t*> by_identity{};
  std::vector<htable_t*> cached{};
  std::vector<htable_t*> reserved{};

  // Which page each recorded mapping belongs to.
  absl::flat_hash_map<EntryKey, pfn_t> records{};

  std::string name(const hat_t* hat) const;
  std::string name(const htable_t* ht) const;
  std::string name(const htable_t* ht, uint32_t entry) const;

  x86pte_t pte(const htable_t* ht, uint32_t entry) const {
    return sys.machine.mem().word(ht->ht_pfn(), entry).load(kQuiescent);
  }
  bool is_kernel(const htable_t* ht) const { return ht->ht_hat() == sys.kas_hat(); }
  // Number of entries that are the table's own: in a user's top table the upper ones are copies of
  // the kernel's.
  uint32_t own_entries(const htable_t* ht) const;
  // First address that an entry maps (htable_e2va without its assertions).
  uintptr_t entry_va(const htable_t* ht, uint32_t entry) const;
};

inline bool is_shared_pfn(const htable_t* ht) { return (ht->ht_flags() & HTABLE_SHARED_PFN) != 0; }
inline bool is_freeing(const hat_t* hat) {
  return (hat->hat_flags.load(kQuiescent) & HAT_FREEING) != 0;
}

// The error for a broken invariant; which: its number or letter.
template <class Which, class... Args>
absl::Status broken(Which which, const Args&... message) {
  return absl::InternalError(absl::StrCat("invariant ", which, ": ", message...));
}

absl::Status audit_hats(HatAudit& audit);
absl::Status audit_tables(HatAudit& audit);
absl::Status audit_tree(HatAudit& audit);
absl::Status audit_pages(HatAudit& audit);
absl::Status audit_kpm(HatAudit& audit);
absl::Status audit_entries(HatAudit& audit);
absl::Status audit_tlbs(HatAudit& audit);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_AUDIT_INTERNAL_H_
