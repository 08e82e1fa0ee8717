// Whole-system audit: checks the invariants that hold at quiescence (no HAT call in progress on any
// CPU).
//
// Shared by models and stress. Names the first invariant that fails, the object and the fields,
// e.g.
//   "invariant 11: htable hat=3 va=0x200000 level=0: ht_valid_cnt 4, valid entries 5".
// Hats are named by their place in the list of hats, 1 being the head; the kernel's is hat=0.
//
// What is checked where, in this order (hat-facts, section 7; the numbers in brackets are the same
// invariant seen from another side):
//
//   vm_audit          40-42 and the page layer's own
//   audit_hats.cc     24-26 (list, flags), 58, 59 (depth, reserve owner); U: nobody is left in
//   hat_unmappers
//                     or waits for it
//   audit_tables.cc   17-20, 21, 60, 62 (where each table is, what backs it)
//   audit_tree.cc     16, 14 [13], 15 (parents, children, holds)
//   audit_pages.cc    1-4, 10, 7, 9, 5, 6, 39 (mapping lists, their records, the index)
//   audit_kpm.cc      55 (kpm users and their translations)
//   audit_entries.cc  36, 16, 34, 35, 8, 11 [12], 22, 23 (every entry of every table, counts)
//   audit_tlbs.cc     27, 31, 29 [28], 30 (what the CPUs have cached, against the tables)
//
// Not visible at quiescence, hence assertions in place or the oracle's business: 32, 33, 37, 38.
// HAT_FREEING hats are allowed between hat_free_start and hat_free_end; they are excused from 15
// and 23.
//
// Thread safety: one thread, while all others are outside the HAT and the page layer, and what they
// did happens before the call. Takes only the gates of the CPUs (to read their TLBs) and the locks
// of vm_audit.
#ifndef HATCHECK_HAT_AUDIT_H_
#define HATCHECK_HAT_AUDIT_H_

#include <string>

#include "absl/status/status.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct AuditOptions {
  // HAT_LOAD_LOCKs the caller knows to be outstanding per (hat, level-0 table base) are not known
  // here; with this set every ht_lock_cnt must be 0 (invariant 22).
  bool expect_no_locks = true;
};

// What an audit saw, for progress lines and summaries.
struct AuditCounts {
  uint64_t hats = 0, tables = 0, mappings = 0, embedded = 0, hments = 0, pages = 0, tlb_entries = 0;
  uint64_t longest_list = 0;
};

// Ok, or kInternal with the message above.
absl::Status hat_audit(System& sys, const AuditOptions& options = {},
                       AuditCounts* counts = nullptr);

// A readable dump of every hat and table, for evidence folders. Same conditions as hat_audit, but
// may also be called after a failure, to show what is there.
std::string hat_dump(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_AUDIT_H_
