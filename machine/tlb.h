// The translation caches of one CPU: its TLB and its paging-structure cache.
//
// The TLB remembers leaf entries. It is set-associative (4 ways) and replaces in rotation, so the
// same sequence of operations always leaves the same content. The paging-structure cache remembers
// pointer entries: "the part of the address space around va goes on in this table". A CPU may hold
// such an entry although the leaf below it is absent or long flushed, which is why removing a
// pointer entry needs a flush of its own.
//
// Neither cache remembers that something is absent. An entry is a copy made at fill time: nothing
// here notices when the tables change, software has to flush.
//
// What drops what:
//                      TLB non-global   TLB global   paging structures
//   invlpg(va)         of va            of va        all
//   flush_nonglobal()  all              kept         all               (a load of cr3)
//   flush_all()        all              all          all               (a toggle of CR4.PGE)
//
// Invariants:
//   T1  No two valid TLB entries have the same page base and level.
//   T2  Every entry was inserted with PT_REF set in its PTE (invariant 31).
//
// Locks: none of its own. A Tlb belongs to a Core and every call needs the core's gate (core.h).
#ifndef HATCHECK_MACHINE_TLB_H_
#define HATCHECK_MACHINE_TLB_H_

#include <cstdint>
#include <vector>

#include "machine/frames.h"
#include "machine/geometry.h"
#include "machine/pte.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct TlbEntry {
  uintptr_t va = 0;  // first address of the page
  pfn_t pfn = PFN_INVALID;
  x86pte_t pte = 0;  // as it was after the walk set REF (and MOD)
  // Where the PTE lives: a first write sets PT_MOD there.
  pfn_t table = PFN_INVALID;
  uint32_t index = 0;
  int level = 0;
  bool writable = false;
  bool user = false;
  bool nx = false;
  bool global = false;
  bool dirty = false;
  // The lives in which the page's first frame and the table's frame were when this was cached.
  FrameLife life;
  FrameLife table_life;
};

// The entry at `level` that covers `va` points to the table `table` (of level - 1).
struct PscEntry {
  uintptr_t va = 0;
  int level = 0;  // 0: this slot is empty
  pfn_t table = PFN_INVALID;
  FrameLife table_life;
};

class Tlb {
 public:
  static constexpr int kMiss = -1;

  // `entries`: 0 (nothing is ever cached), 1 to 4, or 4 times a power of two. `psc_entries`: any
  // number, 0 for a CPU without a paging-structure cache.
  Tlb(const MmuGeometry& mmu, int entries, int psc_entries);
  Tlb(const Tlb&) = delete;
  Tlb& operator=(const Tlb&) = delete;

  // The slot of the entry that translates va, or kMiss. Should pages of two sizes be cached for va,
  // the smaller one wins.
  int lookup(uintptr_t va) const {
    for (int level = 0; level <= mmu_.max_page_level; ++level) {
      const int slot = find(tag_of(va, level), level);
      if (slot != kMiss) {
        return slot;
      }
    }
    return kMiss;
  }
  TlbEntry entry(int slot) const { return entries_[static_cast<size_t>(slot)](); }

  // Replaces the entry of the same page if there is one.
  void insert(const TlbEntry& entry);
  void set_dirty(int slot);
  void drop(int slot) { tags_[static_cast<size_t>(slot)] = 0; }

  // The cached pointer entry for va that saves most of the walk, or one with level 0.
  PscEntry psc_lookup(uintptr_t va) const;
  void psc_insert(const PscEntry& entry);

  void invlpg(uintptr_t va);
  void flush_nonglobal();
  void flush_all();

  std::vector<TlbEntry> snapshot() const;
  std::vector<PscEntry> psc_snapshot() const;

 private:
  static constexpr int kMaxWays = 4;

  // A tag is the page base with its low bits, which are 0 (a page has 16 bytes at least), put to
  // use: bit 0 valid, bits 1 and 2 the level, bit 3 global. 0 is an empty slot. Tags are kept apart
  // from the entries so that a lookup and a flush read one word per slot.
  static constexpr uint64_t kTagValid = 1;
  static constexpr int kTagLevelShift = 1;
  static constexpr uint64_t kTagGlobal = 8;

  uint64_t tag_of(uintptr_t va, int level) const {
    return (va & mmu_.level_mask(level)) | static_cast<uint64_t>(level) << kTagLevelShift |
           kTagValid;
  }
  // First slot of the set in which a page with this tag may be.
  size_t set_of(uint64_t tag, int level) const {
    return ((tag >> mmu_.level_shift(level)) & set_mask_) * ways_;
  }
  int find(uint64_t tag, int level) const {
    const size_t first = set_of(tag, level);
    for (size_t slot = first; slot < first + ways_; ++slot) {
      if ((tags_[slot]() & ~kTagGlobal) == tag) {
        return static_cast<int>(slot);
      }
    }
    return kMiss;
  }
  void psc_flush();

  const MmuGeometry mmu_;
  const size_t ways_;
  const size_t set_mask_;
  std::vector<Guarded<uint64_t>> tags_;
  std::vector<Guarded<TlbEntry>> entries_;
  std::vector<Guarded<uint32_t>> next_victim_;  // per set: the way to replace when all are valid
  std::vector<Guarded<PscEntry>> psc_;
  Guarded<uint32_t> psc_next_victim_{0};
  Guarded<bool> psc_used_{false};  // false: all of psc_ is empty, a flush has nothing to do
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_TLB_H_
