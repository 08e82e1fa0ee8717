// What the CPUs run and what they have cached, against the page tables.
#include "hat/audit_internal.h"
#include "hat/shootdown.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Invariant 27 for one CPU.
absl::Status check_current(const HatAudit& audit, CpuId cpu) {
  System& sys = audit.sys;
  const hat_t* const hat = sys.cpus[cpu].cpu_current_hat.load(kQuiescent);
  if (!audit.hat_names.contains(hat)) {
    return broken(27, "cpu ", cpu, ": cpu_current_hat is no hat");
  }
  const pfn_t cr3 = sys.machine.cr3(cpu);
  if (cr3 != hat->hat_htable()->ht_pfn()) {
    return broken(27, "cpu ", cpu, ": runs ", audit.name(hat), ", but cr3 is frame ", cr3);
  }
  const bool kernel = hat == sys.kas_hat();
  if (!(kernel ? sys.khat_cpuset : hat->hat_cpus).contains(cpu)) {
    return broken(27, "cpu ", cpu, ": runs ", audit.name(hat), ", but is not in its set");
  }
  const uint32_t info = sys.cpus[cpu].mcpu_tlb_info.load(kQuiescent);
  if (info != 0 && ((info & TLB_CPU_HALTED) == 0 || !kernel)) {
    return broken(27, "cpu ", cpu, ": runs ", audit.name(hat), ", mcpu_tlb_info ", info);
  }
  return absl::OkStatus();
}

absl::Status check_cpu_sets(const HatAudit& audit) {
  for (const hat_t* hat : audit.hats) {
    if (hat == audit.sys.kas_hat()) continue;
    for (const CpuId cpu : hat->hat_cpus.snapshot()) {
      if (cpu >= audit.sys.cpus.size() ||
          audit.sys.cpus[cpu].cpu_current_hat.load(kQuiescent) != hat) {
        return broken(27, audit.name(hat), ": cpu ", cpu, " is in hat_cpus and runs another hat");
      }
    }
  }
  return absl::OkStatus();
}

// Where a walk from `root` finds the entry of `level` for va.
struct Place {
  bool exists = false;
  pfn_t table = PFN_INVALID;
  uint32_t index = 0;
  x86pte_t pte = 0;
};

Place walk_to(const HatAudit& audit, pfn_t root, uintptr_t va, level_t level) {
  const MmuGeometry& mmu = audit.sys.mmu();
  PhysMem& mem = audit.sys.machine.mem();
  Place place{true, root, mmu.index(va, mmu.max_level()), 0};
  for (level_t l = mmu.max_level();; --l) {
    place.index = mmu.index(va, l);
    place.pte = mem.word(place.table, place.index).load(kQuiescent);
    if (l == level) return place;
    if (!PTE_ISPTP(place.pte, l)) return Place{};
    place.table = PTE2PFN(place.pte, l);
  }
}

absl::Status check_tlb_entry(const HatAudit& audit, CpuId cpu, pfn_t root, const TlbEntry& entry) {
  const Place place = walk_to(audit, root, entry.va, entry.level);
  const std::string what = absl::StrFormat("cpu %d TLB va=0x%x level=%d pte=0x%x", cpu, entry.va,
                                           entry.level, entry.pte);
  if (!PTE_ISVALID(entry.pte) || (entry.pte & PT_REF) == 0) {
    return broken(31, what, ": cached without PT_REF");
  }
  PhysMem& mem = audit.sys.machine.mem();
  if (!place.exists || !PTE_ISPAGE(place.pte, entry.level) ||
      PTE2PFN(place.pte, entry.level) != entry.pfn || place.table != entry.table ||
      place.index != entry.index || mem.life(entry.pfn) != entry.life) {
    return broken(29, what, ", frame ", entry.pfn, ": stale, the tables have 0x",
                  absl::Hex(place.exists ? place.pte : 0));
  }
  if ((entry.writable && (place.pte & PT_WRITABLE) == 0) ||
      (entry.dirty && (place.pte & PT_MOD) == 0) || (entry.user && (place.pte & PT_USER) == 0) ||
      (!entry.nx && (place.pte & PT_NX) != 0)) {
    return broken(30, what, ", dirty ", entry.dirty ? 1 : 0,
                  ": has rights that the tables do not give: 0x", absl::Hex(place.pte));
  }
  if ((place.pte & PT_REF) == 0) {
    return broken(31, what, ": cached, but the entry 0x", absl::Hex(place.pte), " has no PT_REF");
  }
  return absl::OkStatus();
}

// A cached pointer to a table that has been unlinked is as bad as a cached page.
absl::Status check_psc_entry(const HatAudit& audit, CpuId cpu, pfn_t root, const PscEntry& entry) {
  if (entry.level == 0) return absl::OkStatus();
  const Place place = walk_to(audit, root, entry.va, entry.level);
  if (place.exists && PTE_ISPTP(place.pte, entry.level) &&
      PTE2PFN(place.pte, entry.level) == entry.table) {
    return absl::OkStatus();
  }
  return broken(
      29, absl::StrFormat("cpu %d paging structures va=0x%x level=%d", cpu, entry.va, entry.level),
      ": stale pointer to frame ", entry.table, ", the tables have 0x",
      absl::Hex(place.exists ? place.pte : 0));
}

absl::Status check_caches(HatAudit& audit, CpuId cpu) {
  System& sys = audit.sys;
  // An idle CPU that has been marked flushes everything before it touches anything.
  if ((sys.cpus[cpu].mcpu_tlb_info.load(kQuiescent) & TLB_INVAL_ALL) != 0) return absl::OkStatus();
  const pfn_t root = sys.machine.cr3(cpu);
  for (const TlbEntry& entry : sys.machine.tlb_snapshot(cpu)) {
    ++audit.counts.tlb_entries;
    absl::Status status = check_tlb_entry(audit, cpu, root, entry);
    if (!status.ok()) return status;
  }
  for (const PscEntry& entry : sys.machine.psc_snapshot(cpu)) {
    absl::Status status = check_psc_entry(audit, cpu, root, entry);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_tlbs(HatAudit& audit) {
  const auto ncpus = static_cast<CpuId>(audit.sys.cpus.size());
  for (CpuId cpu = 0; cpu < ncpus; ++cpu) {
    absl::Status status = check_current(audit, cpu);
    if (!status.ok()) return status;
  }
  absl::Status status = check_cpu_sets(audit);
  for (CpuId cpu = 0; cpu < ncpus && status.ok(); ++cpu) status = check_caches(audit, cpu);
  return status;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
