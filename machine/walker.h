// The page-table walker: what one memory instruction does with the TLB, the tables and the frame.
//
// The rules, which software relies on:
//
//   W1  A translation is cached only after PT_REF was seen set, or set by compare-and-swap, in its
//       entry. So a valid entry without PT_REF is cached nowhere and needs no flush.
//   W2  The first write through an entry without the dirty mark sets PT_MOD in memory by an atomic
//       operation; a write through an entry with the mark leaves the PTE alone. What happens if the
//       PTE has changed since it was cached depends on ModVariant.
//   W3  Pointer entries are marked PT_REF before they are followed.
//   W4  A compare-and-swap that fails sends the walker back to the same entry, which it judges
//   anew. W5  A cached leaf that lacks the permission is dropped and the walk done once more before
//   a fault
//       is reported. So an entry that is stricter than memory costs a walk, not a fault, and after
//       a fault the faulting leaf is not cached.
//   W6  Permissions are those of the leaf alone: writes need PT_WRITABLE at any privilege, user
//       accesses need PT_USER, fetches need PT_NX clear.
//   W7  A walk may begin at any table that the paging-structure cache names.
//
// All loads and compare-and-swaps of page-table words are seq_cst; cpuset.h says why.
//
// Checks, always on, that real hardware does not make. Each panics, naming CPU, address, frame and
// the cache (or the tables) that led there:
//
//   H1  A frame is touched in the life in which its translation was cached, and is not kFree.
//   H2  A table is read, and PT_MOD written, only in a frame of kind kTable, in the life in which
//       the way to it was cached.
//   H3  User privilege reaches no page table.
//   H4  Frame numbers exist; large pages are aligned and of a level the machine has.
//   H5  Invariant 31: PT_REF is set in what enters the TLB.
//
// H1 and H2 cannot fire in correct software: a frame enters its next life only after every cache
// has dropped what led to its last, and a walk that has read an entry with PT_REF still holds its
// core's gate, on which the flush for that entry has to wait.
//
// Thread safety: no state but the physical memory. The caller holds the gate of the core.
#ifndef HATCHECK_MACHINE_WALKER_H_
#define HATCHECK_MACHINE_WALKER_H_

#include <cstdint>

#include "absl/types/span.h"
#include "machine/core.h"
#include "machine/frames.h"
#include "machine/geometry.h"
#include "machine/pte.h"
#include "machine/tlb.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// How a CPU sets PT_MOD on the first write through a clean cached entry.
enum class ModVariant {
  kRecheck,     // drops the entry and walks again: faults if the PTE no longer permits the write
  kBlindDirty,  // or's PT_MOD into whatever is in the PTE's place by then, even 0, and writes
};

enum class AccessKind { kRead, kWrite, kExec };
enum class Privilege { kUser, kKernel };

struct AccessResult {
  bool ok = false;
  bool present = false;  // of a fault: there was an entry, it did not permit the access
  pfn_t pfn = PFN_INVALID;
  uint64_t value = 0;  // what the word held before
};

class Walker {
 public:
  Walker(const MmuGeometry& mmu, ModVariant mod_variant, PhysMem& mem)
      : mmu_(mmu), mod_variant_(mod_variant), mem_(mem) {}

  // One instruction. REQUIRES: the gate of `core` is held.
  AccessResult access(Core& core, uintptr_t va, AccessKind kind, Privilege priv,
                      uint64_t new_value) const;

  // A string instruction with kernel rights within one base page: one translation, then the bytes.
  // False is a fault, and nothing was moved. REQUIRES: the gate of `core` is held.
  bool read_string(Core& core, uintptr_t va, absl::Span<uint8_t> to) const;
  bool write_string(Core& core, uintptr_t va, absl::Span<const uint8_t> from) const;

 private:
  // What led to a frame.
  enum class Via { kTlb, kPsc, kTables };

  struct Request {
    Core& core;
    uintptr_t va;
    AccessKind kind;
    Privilege priv;
  };

  // What a walk gives. `ok`: the entry is what was cached. Otherwise it is a fault.
  struct Translation {
    bool ok;
    bool present;
    TlbEntry entry;
    Via via;
  };

  // From the TLB or by a walk.
  Translation translate(const Request& request) const;
  // The checked frame and offset that a translated address leads to.
  struct Place {
    pfn_t pfn;
    uint32_t offset;
  };
  Place place(const Request& request, const TlbEntry& entry, Via via) const;
  // Sets PT_MOD for the clean entry at `slot` and marks it dirty (kBlindDirty).
  void blind_dirty(const Request& request, int slot) const;
  Translation walk(const Request& request) const;
  // What the leaf found at (table, index) gives; `done` false: lost a race, read the entry again.
  struct LeafResult {
    bool done;
    Translation translation;
  };
  LeafResult take_leaf(const Request& request, int level, pfn_t table, uint32_t index, x86pte_t pte,
                       Via via) const;
  AccessResult touch(const Request& request, const TlbEntry& entry, Via via,
                     uint64_t new_value) const;

  static bool permitted(const Request& request, bool writable, bool user, bool nx);
  // H2; `cached`, if not null, is the life in which the way to the table was cached.
  void check_table(const Request& request, pfn_t table, const FrameLife* cached, Via via) const;
  // H1 and H3.
  void check_frame(const Request& request, pfn_t pfn, const TlbEntry& entry, Via via) const;
  [[noreturn]] void stale(const Request& request, const char* verb, pfn_t pfn, const char* what,
                          Via via) const;
  static const char* via_name(Via via);

  const MmuGeometry mmu_;
  const ModVariant mod_variant_;
  PhysMem& mem_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_WALKER_H_
