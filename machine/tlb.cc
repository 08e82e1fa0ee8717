#include "machine/tlb.h"

#include <bit>

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

size_t ways_for(int entries) {
  HAT_ASSERT(entries >= 0 && (entries <= 4 || entries % 4 == 0),
             "tlb_entries must be 0 to 4, or 4 times a power of two");
  return entries < 4 ? static_cast<size_t>(entries) : 4;
}

size_t sets_for(int entries) {
  const size_t sets = entries <= 4 ? 1 : static_cast<size_t>(entries) / 4;
  HAT_ASSERT(std::has_single_bit(sets), "tlb_entries must be 0 to 4, or 4 times a power of two");
  return sets;
}

}  // namespace

Tlb::Tlb(const MmuGeometry& mmu, int entries, int psc_entries)
    : mmu_(mmu),
      ways_(ways_for(entries)),
      set_mask_(sets_for(entries) - 1),
      tags_(ways_ * sets_for(entries)),
      entries_(ways_ * sets_for(entries)),
      next_victim_(sets_for(entries)),
      psc_(static_cast<size_t>(psc_entries)) {}

void Tlb::insert(const TlbEntry& entry) {
  if (ways_ == 0) {
    return;
  }
  const uint64_t tag = tag_of(entry.va, entry.level);
  const size_t first = set_of(tag, entry.level);
  int slot = find(tag, entry.level);
  for (size_t way = 0; slot == kMiss && way < ways_; ++way) {
    if (tags_[first + way]() == 0) {
      slot = static_cast<int>(first + way);
    }
  }
  if (slot == kMiss) {
    Guarded<uint32_t>& next = next_victim_[first / ways_];
    const uint32_t way = next();
    next = (way + 1) % static_cast<uint32_t>(ways_);
    slot = static_cast<int>(first + way);
  }
  tags_[static_cast<size_t>(slot)] = tag | (entry.global ? kTagGlobal : 0);
  entries_[static_cast<size_t>(slot)] = entry;
}

void Tlb::set_dirty(int slot) {
  TlbEntry changed = entry(slot);
  changed.dirty = true;
  changed.pte |= PT_MOD;
  entries_[static_cast<size_t>(slot)] = changed;
}

PscEntry Tlb::psc_lookup(uintptr_t va) const {
  PscEntry best;
  if (!psc_used_()) {
    return best;
  }
  for (const Guarded<PscEntry>& slot : psc_) {
    const PscEntry entry = slot();
    if (entry.level > 0 && (best.level == 0 || entry.level < best.level) &&
        entry.va == (va & mmu_.level_mask(entry.level))) {
      best = entry;
    }
  }
  return best;
}

void Tlb::psc_insert(const PscEntry& entry) {
  if (psc_.empty()) {
    return;
  }
  Guarded<PscEntry>* empty = nullptr;
  for (Guarded<PscEntry>& slot : psc_) {
    const PscEntry old = slot();
    if (old.level == entry.level && old.va == entry.va) {
      slot = entry;
      return;
    }
    if (old.level == 0 && empty == nullptr) {
      empty = &slot;
    }
  }
  if (empty == nullptr) {
    const uint32_t victim = psc_next_victim_();
    psc_next_victim_ = (victim + 1) % static_cast<uint32_t>(psc_.size());
    empty = &psc_[victim];
  }
  *empty = entry;
  psc_used_ = true;
}

void Tlb::psc_flush() {
  if (!psc_used_()) {
    return;
  }
  for (Guarded<PscEntry>& slot : psc_) {
    slot = PscEntry();
  }
  psc_used_ = false;
}

void Tlb::invlpg(uintptr_t va) {
  for (int level = 0; level <= mmu_.max_page_level; ++level) {
    const int slot = find(tag_of(va, level), level);
    if (slot != kMiss) {
      drop(slot);
    }
  }
  psc_flush();
}

void Tlb::flush_nonglobal() {
  for (Guarded<uint64_t>& tag : tags_) {
    if ((tag() & kTagGlobal) == 0) {
      tag = 0;
    }
  }
  psc_flush();
}

void Tlb::flush_all() {
  for (Guarded<uint64_t>& tag : tags_) {
    tag = 0;
  }
  psc_flush();
}

std::vector<TlbEntry> Tlb::snapshot() const {
  std::vector<TlbEntry> valid;
  for (size_t slot = 0; slot < tags_.size(); ++slot) {
    if (tags_[slot]() != 0) {
      valid.push_back(entries_[slot]());
    }
  }
  return valid;
}

std::vector<PscEntry> Tlb::psc_snapshot() const {
  std::vector<PscEntry> valid;
  for (const Guarded<PscEntry>& slot : psc_) {
    const PscEntry entry = slot();
    if (entry.level != 0) {
      valid.push_back(entry);
    }
  }
  return valid;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
