#include <algorithm>

#include "hat/audit_internal.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A damaged chain must not keep the dump from ending.
constexpr size_t kMostTables = 1u << 20;

std::string flag_names(uint32_t flags) {
  std::string names;
  if ((flags & HAT_FREEING) != 0) names += " HAT_FREEING";
  if ((flags & HAT_VICTIM) != 0) names += " HAT_VICTIM";
  if ((flags & HAT_SHARED) != 0) names += " HAT_SHARED";
  return names;
}

void dump_table(const HatAudit& audit, const htable_t* ht, std::string* out) {
  absl::StrAppendFormat(out, "  level %d va %#018x pfn %#x busy %d valid %d locks %d%s\n",
                        ht->ht_level(), ht->ht_vaddr(), ht->ht_pfn(), ht->ht_busy.load(kQuiescent),
                        ht->ht_valid_cnt.load(kQuiescent), ht->ht_lock_cnt.load(kQuiescent),
                        is_shared_pfn(ht) ? " shared" : "");
  if (ht->ht_pfn() >= audit.sys.vm.npages) return;
  for (uint32_t entry = 0; entry < audit.sys.mmu().ptes_per_table(); ++entry) {
    const x86pte_t pte = audit.pte(ht, entry);
    if (pte == 0) continue;
    absl::StrAppendFormat(out, "    %3u va %#018x pte %#018x%s\n", entry, audit.entry_va(ht, entry),
                          pte,
                          PTE_ISPTP(pte, ht->ht_level()) ? " table"
                          : PTE_ISVALID(pte)             ? ""
                                                         : " invalid");
  }
}

void dump_hat(const HatAudit& audit, const hat_t* hat, std::string* out) {
  const uint32_t flags = hat->hat_flags.load(kQuiescent);
  absl::StrAppend(out, audit.name(hat), hat == audit.sys.kas_hat() ? " (kernel)" : "",
                  flag_names(flags), ", pages mapped");
  for (const Atomic<int64_t>& mapped : hat->hat_pages_mapped) {
    absl::StrAppend(out, " ", mapped.load(kQuiescent));
  }
  absl::StrAppend(out, ", shared ", hat->hat_ism_pgcnt.load(kQuiescent), ", cpus");
  for (const CpuId cpu : hat->hat_cpus.snapshot()) absl::StrAppend(out, " ", cpu);
  absl::StrAppend(out, "\n");

  std::vector<const htable_t*> tables;
  for (uint32_t bucket = 0; bucket < hat->hat_num_hash(); ++bucket) {
    const htable_t* ht = hat->hat_ht_hash[bucket]();
    for (; ht != nullptr && tables.size() < kMostTables; ht = ht->ht_next()) tables.push_back(ht);
  }
  std::sort(tables.begin(), tables.end(), [](const htable_t* a, const htable_t* b) {
    return a->ht_vaddr() != b->ht_vaddr() ? a->ht_vaddr() < b->ht_vaddr()
                                          : a->ht_level() > b->ht_level();
  });
  for (const htable_t* ht : tables) dump_table(audit, ht, out);
}

}  // namespace

std::string hat_dump(System& sys) {
  const AuditOptions options;
  HatAudit audit{.sys = sys, .options = options};
  std::string out;
  for (hat_t* hat = sys.kas_hat(); hat != nullptr; hat = hat->hat_next()) {
    if (!audit.hat_names.emplace(hat, audit.hat_names.size()).second) {
      absl::StrAppend(&out, "the list of hats has a cycle\n");
      break;
    }
    dump_hat(audit, hat, &out);
  }
  absl::StrAppend(&out, "htable_reserve ", sys.htable_reserve.count.load(kQuiescent),
                  ", hment_reserve ", sys.hment_reserve.count.load(kQuiescent), ", active_ptables ",
                  sys.active_ptables.load(kQuiescent), "\n");
  return out;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
