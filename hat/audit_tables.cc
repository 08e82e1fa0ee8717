// Where every page table is (hash, cache, reserve) and which frame stands behind it.
#include "absl/container/flat_hash_set.h"
#include "hat/audit_internal.h"
#include "hat/htable.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Tables met so far, for invariant 18: each in one place, and once.
using Met = absl::flat_hash_set<const htable_t*>;

absl::Status check_identity(HatAudit& audit, hat_t* hat, uint32_t bucket, htable_t* ht) {
  const MmuGeometry& mmu = audit.sys.mmu();
  const level_t level = ht->ht_level();
  if (ht->ht_hat() != hat) {
    return broken(18, audit.name(ht), " is hashed in ", audit.name(hat));
  }
  if (level < 0 || level > mmu.max_level() ||
      htable_base(audit.sys, ht->ht_vaddr(), level) != ht->ht_vaddr()) {
    return broken(17, audit.name(ht), ": no such table");
  }
  const uint32_t expected = htable_hash(audit.sys, hat, ht->ht_vaddr(), level);
  if (bucket != expected) {
    return broken(17, audit.name(ht), " is in bucket ", bucket, ", its key hashes to ", expected);
  }
  if (!audit.by_identity.emplace(TableKey{hat, ht->ht_vaddr(), level}, ht).second) {
    return broken(17, audit.name(ht), " exists twice");
  }
  return absl::OkStatus();
}

absl::Status collect_bucket(HatAudit& audit, hat_t* hat, uint32_t bucket, Met& met) {
  const htable_t* prev = nullptr;
  for (htable_t* ht = hat->hat_ht_hash[bucket](); ht != nullptr; ht = ht->ht_next()) {
    if (!met.insert(ht).second) return broken(18, audit.name(ht), " is hashed twice");
    if (ht->ht_prev() != prev) {
      return broken(18, audit.name(ht), ": ht_prev is not the table before it, bucket ", bucket);
    }
    prev = ht;
    absl::Status status = check_identity(audit, hat, bucket, ht);
    if (!status.ok()) return status;
    audit.hashed.push_back(ht);
    audit.table_facts.emplace(ht, TableFacts{});
  }
  return absl::OkStatus();
}

absl::Status collect_hashed(HatAudit& audit, Met& met) {
  for (hat_t* hat : audit.hats) {
    for (uint32_t bucket = 0; bucket < hat->hat_num_hash(); ++bucket) {
      absl::Status status = collect_bucket(audit, hat, bucket, met);
      if (!status.ok()) return status;
    }
    const auto top = audit.by_identity.find(TableKey{hat, 0, audit.sys.mmu().max_level()});
    if (top == audit.by_identity.end() || top->second != hat->hat_htable()) {
      return broken(18, audit.name(hat), ": hat_htable is not its hashed top table");
    }
  }
  audit.counts.tables = audit.hashed.size();
  return absl::OkStatus();
}

absl::Status check_cached(const HatAudit& audit, const hat_t* hat, const htable_t* ht) {
  const std::string what = absl::StrCat("table in the cache of ", audit.name(hat));
  if (ht->ht_hat() != hat) return broken(19, what, ": ht_hat is ", audit.name(ht->ht_hat()));
  if (ht->ht_pfn() >= audit.sys.vm.npages || is_shared_pfn(ht)) {
    return broken(19, what, ": ht_pfn ", ht->ht_pfn(), ", ht_flags ", ht->ht_flags());
  }
  const int32_t valid_cnt = ht->ht_valid_cnt.load(kQuiescent);
  const int32_t busy = ht->ht_busy.load(kQuiescent);
  const int32_t lock_cnt = ht->ht_lock_cnt.load(kQuiescent);
  if (valid_cnt != 0 || busy != 0 || lock_cnt != 0) {
    return broken(19, what, ": ht_valid_cnt ", valid_cnt, ", ht_busy ", busy, ", ht_lock_cnt ",
                  lock_cnt);
  }
  for (uint32_t entry = 0; entry < audit.sys.mmu().ptes_per_table(); ++entry) {
    const x86pte_t pte = audit.pte(ht, entry);
    if (PTE_ISVALID(pte)) {
      return broken(19, what, ": frame ", ht->ht_pfn(), " entry ", entry, " has pte 0x",
                    absl::Hex(pte));
    }
  }
  return absl::OkStatus();
}

absl::Status collect_cached(HatAudit& audit, Met& met) {
  for (const hat_t* hat : audit.hats) {
    for (htable_t* ht = hat->hat_ht_cached.load(kQuiescent); ht != nullptr; ht = ht->ht_next()) {
      if (!met.insert(ht).second) {
        return broken(18, audit.name(ht), " is in the cache of ", audit.name(hat),
                      " and in another place");
      }
      absl::Status status = check_cached(audit, hat, ht);
      if (!status.ok()) return status;
      audit.cached.push_back(ht);
    }
  }
  return absl::OkStatus();
}

absl::Status collect_reserve(HatAudit& audit, Met& met) {
  const Reserve<htable_t>& reserve = audit.sys.htable_reserve;
  for (htable_t* ht = reserve.pool(); ht != nullptr; ht = ht->ht_next()) {
    if (!met.insert(ht).second) {
      return broken(18, audit.name(ht), " is on the reserve and in another place");
    }
    if (ht->ht_pfn() != PFN_INVALID || ht->ht_hat() != nullptr) {
      return broken(20, "table on the reserve: ht_pfn ", ht->ht_pfn(), ", ht_hat ",
                    ht->ht_hat() == nullptr ? "null" : audit.name(ht->ht_hat()));
    }
    audit.reserved.push_back(ht);
  }
  const uint32_t count = reserve.count.load(kQuiescent);
  if (count != audit.reserved.size()) {
    return broken(20, "htable_reserve: count ", count, ", list length ", audit.reserved.size());
  }
  return absl::OkStatus();
}

// Invariant 62.
absl::Status check_shared(HatAudit& audit, const htable_t* ht) {
  const htable_t* const sharee = ht->ht_shares();
  if (!is_shared_pfn(ht)) {
    if (sharee == nullptr) return absl::OkStatus();
    return broken(62, audit.name(ht), ": ht_shares set without HTABLE_SHARED_PFN");
  }
  const auto facts = audit.table_facts.find(sharee);
  if (facts == audit.table_facts.end()) {
    return broken(62, audit.name(ht), ": ht_shares is no hashed table");
  }
  if (is_shared_pfn(sharee) || sharee->ht_pfn() != ht->ht_pfn() ||
      sharee->ht_level() != ht->ht_level()) {
    return broken(62, audit.name(ht), ": ht_pfn ", ht->ht_pfn(), ", shares ", audit.name(sharee),
                  " with ht_pfn ", sharee->ht_pfn(), ", ht_flags ", sharee->ht_flags());
  }
  if ((sharee->ht_hat()->hat_flags.load(kQuiescent) & HAT_SHARED) == 0) {
    return broken(62, audit.name(ht), " shares ", audit.name(sharee), ", whose hat is not shared");
  }
  const int32_t lock_cnt = ht->ht_lock_cnt.load(kQuiescent);
  if (lock_cnt != 0) return broken(62, audit.name(ht), ": shared, ht_lock_cnt ", lock_cnt);
  ++facts->second.sharers;
  return absl::OkStatus();
}

// Invariant 21 for a table with a frame of its own.
absl::Status check_frame(const HatAudit& audit, const htable_t* ht,
                         absl::flat_hash_set<pfn_t>& frames) {
  System& sys = audit.sys;
  const pfn_t pfn = ht->ht_pfn();
  const page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
  if (pp == nullptr) return broken(21, audit.name(ht), ": ht_pfn ", pfn, " is no memory");
  if (!frames.insert(pfn).second) {
    return broken(21, audit.name(ht), ": ht_pfn ", pfn, " backs another table too");
  }
  if (!PAGE_SHARED(pp) || PP_ISFREE(pp)) {
    return broken(21, audit.name(ht), ": page ", pfn, " has p_selock ",
                  pp->p_selock.load(kQuiescent), ", p_state ", pp->p_state.load(kQuiescent));
  }
  const vnode_t* const vp = pp->p_vnode.load(kQuiescent);
  if (vp != nullptr && vp != &sys.vm.kvp) {
    return broken(21, audit.name(ht), ": page ", pfn, " belongs to ", vp->v_name);
  }
  if (pp->p_mapping.load(kQuiescent) != nullptr) {
    return broken(21, audit.name(ht), ": page ", pfn, " is mapped: p_mapping set");
  }
  const FrameKind kind = sys.machine.mem().kind(pfn);
  if (kind != FrameKind::kTable) {
    return broken(21, audit.name(ht), ": frame ", pfn, " has kind ", frame_kind_name(kind));
  }
  return absl::OkStatus();
}

absl::Status check_frames(HatAudit& audit) {
  absl::flat_hash_set<pfn_t> frames;
  for (const std::vector<htable_t*>* tables : {&audit.hashed, &audit.cached}) {
    for (const htable_t* ht : *tables) {
      absl::Status status = check_shared(audit, ht);
      if (status.ok() && !is_shared_pfn(ht)) status = check_frame(audit, ht, frames);
      if (!status.ok()) return status;
    }
  }
  const int64_t active = audit.sys.active_ptables.load(kQuiescent);
  const HatStatTotals stats = audit.sys.hatstat.sum();
  const auto counted = static_cast<int64_t>(stats.hs_ptable_allocs - stats.hs_ptable_frees);
  const auto found = static_cast<int64_t>(frames.size());
  if (active != found || counted != found) {
    return broken(60, "active_ptables ", active, ", hs_ptable_allocs - hs_ptable_frees ", counted,
                  ", tables with a frame ", found);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_tables(HatAudit& audit) {
  Met met;
  absl::Status status = collect_hashed(audit, met);
  if (status.ok()) status = collect_cached(audit, met);
  if (status.ok()) status = collect_reserve(audit, met);
  if (!status.ok()) return status;
  const int64_t allocated = audit.sys.htable_cache.outstanding();
  if (allocated != static_cast<int64_t>(met.size())) {
    return broken(18, allocated, " htables allocated, ", audit.hashed.size(), " hashed, ",
                  audit.cached.size(), " cached, ", audit.reserved.size(), " reserved");
  }
  return check_frames(audit);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
