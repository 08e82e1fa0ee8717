// segmap_audit: checks segmap's invariants (segmap/smap.h) while no segmap call is in progress.
//
// Names the first invariant that fails, the object and the fields, for example
//   "invariant 43: slot 3: on queue 1 of list 0, SM_QNDX_ZERO is set".
// In this order: 53, 52, 43, 44, 45, 46, 47, 54, 57, 48, 49, 50, 55, 56. 51 is a matter of those
// who soft lock, 61 of progress: segmap_explain_waiting says what is known about it.
//
// Thread safety: one thread, while all others are outside segmap, the HAT and the page layer, and
// what they did happens before the call. Windows may be out.
#ifndef HATCHECK_SEGMAP_AUDIT_H_
#define HATCHECK_SEGMAP_AUDIT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct SegmapAuditOptions {
  // The caller knows of no window that is out: every sm_refcnt must be 0 (invariant 47).
  bool expect_no_references = true;
};

// What an audit saw.
struct SegmapAuditCounts {
  uint64_t blank = 0, cached = 0, in_use = 0;  // slots by state
  uint64_t translations = 0, kpm_pages = 0;
};

// Ok, or kInternal with the message above.
absl::Status segmap_audit(Segmap& seg, const SegmapAuditOptions& options = {},
                          SegmapAuditCounts* counts = nullptr);

// Who waits for a slot although one is free, and where that lies (invariant 61): "2 wait for a slot
// of list 0; slot 1 is free on queue 1 of list 0, the release queue". Empty if nobody does. At any
// time, from any thread: a queue whose mutex is taken is left out.
std::string segmap_explain_waiting(Segmap& seg);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_AUDIT_H_
