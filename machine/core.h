// Core: the part of one CPU that address translation needs, and the gate that makes it atomic.
//
// The gate (class machine.core, place 46) is held for the duration of one instruction: an access
// with its TLB lookup, walk, REF/MOD update, fill and the touch of the frame; a section with
// interrupts off; one service of a cross call. So whatever the gate protects changes between two
// instructions only, and fill and flush on one CPU are atomic with each other.
//
// A core that is captured executes nothing: whoever wants its gate for an instruction or a section
// waits on `released` until the initiator of the cross call lets it go.
//
// Thread safety: the public operations below are for code that runs inside Machine::with_core or
// inside a cross call; they fail if the calling thread does not hold this core's gate.
//
// Invariant C1: at most one gate is held by a thread at any time, and nothing is locked under it.
#ifndef HATCHECK_MACHINE_CORE_H_
#define HATCHECK_MACHINE_CORE_H_

#include <cstdint>

#include "machine/geometry.h"
#include "machine/pte.h"
#include "machine/tlb.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The gate of a CPU: its instructions, and the interrupts between them.
inline constexpr LockClass kCoreLock{"machine.core", 46};

// What one CPU has done so far.
struct CoreStats {
  uint64_t accesses = 0;
  uint64_t tlb_hits = 0;  // accesses that needed no walk
  uint64_t walks = 0;
  uint64_t psc_hits = 0;  // walks that began below the root
  uint64_t tlb_fills = 0;
  uint64_t ref_sets = 0;   // REF bits set in memory, in leaf and pointer entries
  uint64_t mod_sets = 0;   // MOD bits set in memory
  uint64_t pte_races = 0;  // compare-and-swaps lost to software or to another CPU
  uint64_t faults = 0;
  uint64_t interrupts = 0;  // services of cross calls

  CoreStats& operator+=(const CoreStats& other);
};

class Core {
 public:
  Core(CpuId id, const MmuGeometry& mmu, int tlb_entries, int psc_entries)
      : id_(id), gate_(kCoreLock, id), tlb_(mmu, tlb_entries, psc_entries) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  CpuId id() const { return id_; }

  // Drops what is cached for va, global or not, and all paging structures.
  void invlpg(uintptr_t va);

  // Makes `root` the top table. Also if it is already: all non-global translations are dropped.
  void load_cr3(pfn_t root);
  pfn_t cr3() const;

  // Drops everything, global translations too.
  void flush_all();

  Tlb& tlb();

  // Whether a capturing cross call keeps this core from executing anything.
  bool captured() const;

 private:
  friend class Machine;
  friend class Walker;

  // Counters, each changed under the gate.
  struct Counters {
    Guarded<uint64_t> accesses{0};
    Guarded<uint64_t> tlb_hits{0};
    Guarded<uint64_t> walks{0};
    Guarded<uint64_t> psc_hits{0};
    Guarded<uint64_t> tlb_fills{0};
    Guarded<uint64_t> ref_sets{0};
    Guarded<uint64_t> mod_sets{0};
    Guarded<uint64_t> pte_races{0};
    Guarded<uint64_t> faults{0};
    Guarded<uint64_t> interrupts{0};
  };
  static void count(Guarded<uint64_t>& counter) { counter = counter() + 1; }
  CoreStats stats() const;

  const CpuId id_;
  mutable Mutex gate_;
  CondVar released_{"captured core"};
  // Protected by gate_, like all that follows.
  Guarded<bool> captured_{false};
  Guarded<pfn_t> cr3_{PFN_INVALID};
  Tlb tlb_;
  Counters counters_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_CORE_H_
