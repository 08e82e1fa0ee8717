#include "machine/walker.h"

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {

AccessResult Walker::access(Core& core, uintptr_t va, AccessKind kind, Privilege priv,
                            uint64_t new_value) const {
  const Request request{core, va, kind, priv};
  const Translation translation = translate(request);
  if (!translation.ok) {
    AccessResult fault;
    fault.present = translation.present;
    return fault;
  }
  return touch(request, translation.entry, translation.via, new_value);
}

bool Walker::read_string(Core& core, uintptr_t va, absl::Span<uint8_t> to) const {
  const Request request{core, va, AccessKind::kRead, Privilege::kKernel};
  HAT_ASSERT((va & mmu_.level_offset(0)) + to.size() <= mmu_.pagesize());
  const Translation translation = translate(request);
  if (!translation.ok) return false;
  const Place from = place(request, translation.entry, translation.via);
  mem_.read_bytes(from.pfn, from.offset, to);
  return true;
}

bool Walker::write_string(Core& core, uintptr_t va, absl::Span<const uint8_t> from) const {
  const Request request{core, va, AccessKind::kWrite, Privilege::kKernel};
  HAT_ASSERT((va & mmu_.level_offset(0)) + from.size() <= mmu_.pagesize());
  const Translation translation = translate(request);
  if (!translation.ok) return false;
  const Place to = place(request, translation.entry, translation.via);
  mem_.write_bytes(to.pfn, to.offset, from);
  return true;
}

Walker::Translation Walker::translate(const Request& request) const {
  Core& core = request.core;
  Core::count(core.counters_.accesses);
  const int slot = core.tlb_.lookup(request.va);
  if (slot != Tlb::kMiss) {
    const TlbEntry entry = core.tlb_.entry(slot);
    if (permitted(request, entry.writable, entry.user, entry.nx)) {
      const bool first_write = request.kind == AccessKind::kWrite && !entry.dirty;
      if (!first_write || mod_variant_ == ModVariant::kBlindDirty) {
        if (first_write) {
          blind_dirty(request, slot);
        }
        Core::count(core.counters_.tlb_hits);
        return {true, true, entry, Via::kTlb};
      }
    }
    // Either stricter than this access needs, or about to be written for the first time: what
    // memory says now decides.
    core.tlb_.drop(slot);
  }
  const Translation translation = walk(request);
  if (!translation.ok) {
    Core::count(core.counters_.faults);
  }
  return translation;
}

bool Walker::permitted(const Request& request, bool writable, bool user, bool nx) {
  return (request.priv == Privilege::kKernel || user) &&
         (request.kind != AccessKind::kWrite || writable) &&
         (request.kind != AccessKind::kExec || !nx);
}

void Walker::blind_dirty(const Request& request, int slot) const {
  Tlb& tlb = request.core.tlb_;
  const TlbEntry entry = tlb.entry(slot);
  check_table(request, entry.table, &entry.table_life, Via::kTlb);
  mem_.word(entry.table, entry.index).fetch_or(PT_MOD, std::memory_order_seq_cst);
  Core::count(request.core.counters_.mod_sets);
  tlb.set_dirty(slot);
}

Walker::Translation Walker::walk(const Request& request) const {
  Core& core = request.core;
  Core::count(core.counters_.walks);
  if (mmu_.in_va_hole(request.va)) {
    return {false, false, {}, Via::kTables};
  }
  Via via = Via::kTables;
  int level = mmu_.max_level();
  pfn_t table = core.cr3_();
  const PscEntry start = core.tlb_.psc_lookup(request.va);
  if (start.level > 0) {
    Core::count(core.counters_.psc_hits);
    via = Via::kPsc;
    level = start.level - 1;
    table = start.table;
    check_table(request, table, &start.table_life, via);
  } else {
    if (table == PFN_INVALID) {
      panic(absl::StrFormat("cpu %u va %#x: access before a top table was loaded", core.id_,
                            request.va));
    }
    check_table(request, table, nullptr, via);
  }

  while (true) {
    const uint32_t index = mmu_.index(request.va, level);
    Atomic<uint64_t>& word = mem_.word(table, index);
    x86pte_t pte = word.load(std::memory_order_seq_cst);
    if (!PTE_ISVALID(pte)) {
      return {false, false, {}, via};
    }
    if (PTE_ISPAGE(pte, level)) {
      const LeafResult leaf = take_leaf(request, level, table, index, pte, via);
      if (leaf.done) {
        return leaf.translation;
      }
      continue;
    }
    if ((pte & PT_REF) == 0) {
      if (!word.compare_exchange_strong(pte, pte | PT_REF, std::memory_order_seq_cst,
                                        std::memory_order_seq_cst)) {
        Core::count(core.counters_.pte_races);
        continue;
      }
      Core::count(core.counters_.ref_sets);
    }
    table = PTE2PFN(pte, level);
    check_table(request, table, nullptr, via);
    core.tlb_.psc_insert({request.va & mmu_.level_mask(level), level, table, mem_.life(table)});
    --level;
  }
}

Walker::LeafResult Walker::take_leaf(const Request& request, int level, pfn_t table, uint32_t index,
                                     x86pte_t pte, Via via) const {
  Core& core = request.core;
  const bool writable = (pte & PT_WRITABLE) != 0;
  const bool user = (pte & PT_USER) != 0;
  const bool nx = (pte & PT_NX) != 0;
  if (!permitted(request, writable, user, nx)) {
    return {true, {false, true, {}, via}};
  }

  // One compare-and-swap for both bits: what is cached is then exactly what memory holds.
  const x86pte_t want = pte | PT_REF | (request.kind == AccessKind::kWrite ? PT_MOD : 0);
  if (want != pte) {
    x86pte_t expected = pte;
    if (!mem_.word(table, index)
             .compare_exchange_strong(expected, want, std::memory_order_seq_cst,
                                      std::memory_order_seq_cst)) {
      Core::count(core.counters_.pte_races);
      return {false, {}};
    }
    if ((pte & PT_REF) == 0) {
      Core::count(core.counters_.ref_sets);
    }
    if (((want ^ pte) & PT_MOD) != 0) {
      Core::count(core.counters_.mod_sets);
    }
  }

  // Only now may the frame be looked at: while PT_REF was not set, software was free to clear the
  // entry and to free the frame without a flush.
  const pfn_t pfn = PTE2PFN(want, level);
  if (level > mmu_.max_page_level || pfn % mmu_.level_frames(level) != 0 ||
      pfn + mmu_.level_frames(level) > mem_.size()) {
    panic(
        absl::StrFormat("malformed PTE: cpu %u va %#x found %#x at level %d, entry %u of frame %#x",
                        core.id_, request.va, want, level, index, table));
  }
  TlbEntry entry;
  entry.va = request.va & mmu_.level_mask(level);
  entry.pfn = pfn;
  entry.pte = want;
  entry.table = table;
  entry.index = index;
  entry.level = level;
  entry.writable = writable;
  entry.user = user;
  entry.nx = nx;
  entry.global = (want & PT_GLOBAL) != 0;
  entry.dirty = (want & PT_MOD) != 0;
  entry.life = mem_.life(pfn);
  entry.table_life = mem_.life(table);
  HAT_ASSERT((entry.pte & PT_REF) != 0,
             absl::StrFormat("invariant 31: cpu %u va %#x caches PTE %#x, which lacks PT_REF",
                             core.id_, request.va, entry.pte));
  core.tlb_.insert(entry);
  Core::count(core.counters_.tlb_fills);
  return {true, {true, true, entry, via}};
}

Walker::Place Walker::place(const Request& request, const TlbEntry& entry, Via via) const {
  const uintptr_t offset = request.va & mmu_.level_offset(entry.level);
  const pfn_t pfn = entry.pfn + (offset >> mmu_.page_shift());
  check_frame(request, pfn, entry, via);
  return {pfn, static_cast<uint32_t>(offset & mmu_.level_offset(0))};
}

AccessResult Walker::touch(const Request& request, const TlbEntry& entry, Via via,
                           uint64_t new_value) const {
  const Place at = place(request, entry, via);
  // The order that x86 gives the loads and stores of a program.
  Atomic<uint64_t>& word = mem_.word(at.pfn, at.offset / sizeof(uint64_t));
  AccessResult result;
  result.ok = true;
  result.present = true;
  result.pfn = at.pfn;
  result.value = request.kind == AccessKind::kWrite
                     ? word.exchange(new_value, std::memory_order_acq_rel)
                     : word.load(std::memory_order_acquire);
  return result;
}

void Walker::check_table(const Request& request, pfn_t table, const FrameLife* cached,
                         Via via) const {
  if (table >= mem_.size()) [[unlikely]] {
    panic(absl::StrFormat("malformed pointer entry or cr3: cpu %u va %#x leads to frame %u of %u",
                          request.core.id_, request.va, table, mem_.size()));
  }
  const FrameLife now = mem_.life(table);
  if (now.kind() != FrameKind::kTable) [[unlikely]] {
    stale(request, "walked", table, now.kind() == FrameKind::kFree ? "free" : "data", via);
  }
  if (cached != nullptr && now != *cached) [[unlikely]] {
    stale(request, "walked", table, "another page table by now", via);
  }
}

void Walker::check_frame(const Request& request, pfn_t pfn, const TlbEntry& entry, Via via) const {
  const FrameKind kind = mem_.kind(pfn);
  if (kind == FrameKind::kFree) [[unlikely]] {
    stale(request, "reached", pfn, "free", via);
  }
  // Of a large page only the first frame's life is remembered: the frames of a large page are given
  // out and taken back together.
  if (mem_.life(entry.pfn) != entry.life) [[unlikely]] {
    stale(request, "reached", pfn, "somebody else's by now", via);
  }
  if (kind == FrameKind::kTable && request.priv == Privilege::kUser) [[unlikely]] {
    panic(
        absl::StrFormat("page table exposed: user access of cpu %u va %#x reached frame %u, which "
                        "is a page table, through %s",
                        request.core.id_, request.va, pfn, via_name(via)));
  }
}

void Walker::stale(const Request& request, const char* verb, pfn_t pfn, const char* what,
                   Via via) const {
  panic(
      absl::StrFormat("stale translation (invariant 29): cpu %u va %#x %s frame %u, which is %s, "
                      "through %s",
                      request.core.id_, request.va, verb, pfn, what, via_name(via)));
}

const char* Walker::via_name(Via via) {
  switch (via) {
    case Via::kTlb:
      return "its TLB";
    case Via::kPsc:
      return "its paging-structure cache";
    case Via::kTables:
      return "the page tables";
  }
  return "?";
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
