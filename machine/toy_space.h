// ToySpace: page tables built by hand, for tests of the machine.
//
// The least software that can drive a Machine from one thread: takes frames from the bottom of
// physical memory, creates the tables on the way to an address, writes leaf entries. It flushes
// nothing; tests do that, or leave it out on purpose. Only for tests; no locks.
#ifndef HATCHECK_MACHINE_TOY_SPACE_H_
#define HATCHECK_MACHINE_TOY_SPACE_H_

#include <cstdint>

#include "machine/machine.h"
#include "machine/pte.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class ToySpace {
 public:
  // Frames from `first_frame` on are this space's to use.
  explicit ToySpace(Machine& machine, pfn_t first_frame = 1)
      : machine_(machine), next_frame_(first_frame), root_(new_frames(FrameKind::kTable, 1)) {}

  pfn_t root() const { return root_; }

  // `count` frames, the first of which is a multiple of count.
  pfn_t new_frames(FrameKind kind, uint64_t count) {
    const pfn_t first = (next_frame_ + count - 1) / count * count;
    next_frame_ = first + count;
    for (pfn_t pfn = first; pfn < next_frame_; ++pfn) {
      machine_.mem().set_kind(pfn, kind);
    }
    return first;
  }
  pfn_t new_page(int level = 0) {
    return new_frames(FrameKind::kData, machine_.mmu().level_frames(level));
  }

  // The table of `level` on the way to va, made if there is none.
  pfn_t table(uintptr_t va, int level) {
    pfn_t table = root_;
    for (int above = machine_.mmu().max_level(); above > level; --above) {
      Atomic<uint64_t>& word = machine_.mem().word(table, machine_.mmu().index(va, above));
      x86pte_t pte = word.load(std::memory_order_seq_cst);
      if (!PTE_ISVALID(pte)) {
        pte = MAKEPTP(new_frames(FrameKind::kTable, 1));
        word.store(pte, std::memory_order_seq_cst);
      }
      table = PTE2PFN(pte, above);
    }
    return table;
  }

  // The word of the entry at `level` for va.
  Atomic<uint64_t>& word(uintptr_t va, int level = 0) {
    return machine_.mem().word(table(va, level), machine_.mmu().index(va, level));
  }
  x86pte_t pte(uintptr_t va, int level = 0) {
    return word(va, level).load(std::memory_order_seq_cst);
  }
  void set(uintptr_t va, x86pte_t pte, int level = 0) {
    word(va, level).store(pte, std::memory_order_seq_cst);
  }
  // Maps frame pfn with the permission bits given; returns pfn.
  pfn_t map(uintptr_t va, pfn_t pfn, x86pte_t bits, int level = 0) {
    set(va, MAKEPTE(pfn, level) | bits, level);
    return pfn;
  }

  void load(CpuId cpu) {
    machine_.with_core(cpu, [this](Core& core) { core.load_cr3(root_); });
  }
  void invlpg(CpuId cpu, uintptr_t va) {
    machine_.with_core(cpu, [va](Core& core) { core.invlpg(va); });
  }

 private:
  Machine& machine_;
  pfn_t next_frame_;
  const pfn_t root_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_TOY_SPACE_H_
