// Whole-system audit: checks the invariants that hold at quiescence (no HAT call in progress on any CPU).
//
// Shared by models and stress. Names the first invariant that fails, the object and the fields, e.g.
//   "invariant 11: htable hat=3 va=0x200000 level=0: ht_valid_cnt 4, valid entries 5".
// Covers 1-11, 13-24, 26, 27, 29 (over the TLBs), 33-36, 39, 40-42 (through vm_audit), 58-60, 62.
#ifndef HATCHECK_HAT_AUDIT_H_
#define HATCHECK_HAT_AUDIT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct AuditOptions {
  // HAT_LOAD_LOCKs the caller knows to be outstanding per (hat, level-0 table base) are not known here;
  // with this set every ht_lock_cnt must be 0 (invariant 22).
  bool expect_no_locks = true;
};

// What an audit saw, for progress lines and summaries.
struct AuditCounts {
  uint64_t hats = 0, tables = 0, mappings = 0, embedded = 0, hments = 0, pages = 0, tlb_entries = 0;
  uint64_t longest_list = 0;
};

// Ok, or kInternal with the message above.
absl::Status hat_audit(System& sys, const AuditOptions& options = {}, AuditCounts* counts = nullptr);

// A readable dump of every hat and table, for evidence folders.
std::string hat_dump(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_AUDIT_H_
