#include "machine/core.h"

namespace hatcheck::inline HATCHECK_BACKEND {

CoreStats& CoreStats::operator+=(const CoreStats& other) {
  accesses += other.accesses;
  tlb_hits += other.tlb_hits;
  walks += other.walks;
  psc_hits += other.psc_hits;
  tlb_fills += other.tlb_fills;
  ref_sets += other.ref_sets;
  mod_sets += other.mod_sets;
  pte_races += other.pte_races;
  faults += other.faults;
  interrupts += other.interrupts;
  return *this;
}

void Core::invlpg(uintptr_t va) {
  gate_.assert_held();
  tlb_.invlpg(va);
}

void Core::load_cr3(pfn_t root) {
  gate_.assert_held();
  cr3_ = root;
  tlb_.flush_nonglobal();
}

pfn_t Core::cr3() const {
  gate_.assert_held();
  return cr3_();
}

void Core::flush_all() {
  gate_.assert_held();
  tlb_.flush_all();
}

Tlb& Core::tlb() {
  gate_.assert_held();
  return tlb_;
}

bool Core::captured() const {
  gate_.assert_held();
  return captured_();
}

CoreStats Core::stats() const {
  gate_.assert_held();
  CoreStats stats;
  stats.accesses = counters_.accesses();
  stats.tlb_hits = counters_.tlb_hits();
  stats.walks = counters_.walks();
  stats.psc_hits = counters_.psc_hits();
  stats.tlb_fills = counters_.tlb_fills();
  stats.ref_sets = counters_.ref_sets();
  stats.mod_sets = counters_.mod_sets();
  stats.pte_races = counters_.pte_races();
  stats.faults = counters_.faults();
  stats.interrupts = counters_.interrupts();
  return stats;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
