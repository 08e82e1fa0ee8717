#include "segmap/audit.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "hat/hat.h"
#include "hat/htable.h"
#include "hat/pte_ops.h"
#include "segmap/smap_freelist.h"
#include "segmap/smap_hash.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr std::memory_order kQuiescent = std::memory_order_relaxed;

template <class... Args>
absl::Status broken(int which, const Args&... message) {
  return absl::InternalError(absl::StrCat("invariant ", which, ": ", message...));
}

std::string name(const smap& slot) { return absl::StrCat("slot ", slot.sm_index); }

std::string identity(const smap& slot) {
  if (slot.sm_vp() == nullptr) return "no identity";
  return absl::StrCat("(", slot.sm_vp()->v_name, ", ", slot.sm_off(), ")");
}

const smap* next_of(const smap* smp) { return smp->sm_next.load(kQuiescent); }

// The queue a slot was found on.
struct Place {
  uint32_t list = 0;
  uint32_t queue = 0;
};

class SegmapAudit {
 public:
  SegmapAudit(Segmap& seg, const SegmapAuditOptions& options) : seg_(seg), options_(options) {}

  absl::Status run() {
    for (uint32_t i = 0; i < seg_.smd_nfree; ++i) {
      const absl::Status status = check_list(i);
      if (!status.ok()) return status;
    }
    absl::Status status = check_queues();
    if (status.ok()) status = check_chains();
    if (status.ok()) status = check_references();
    for (uint32_t i = 0; status.ok() && i < seg_.smd_nfree; ++i) {
      const uint32_t waiting = seg_.waiting->waiting(seg_, i);
      if (waiting != 0) status = broken(54, waiting, " counted as waiting for list ", i);
    }
    for (const smap& slot : seg_.smd_sm) {
      if (status.ok()) status = check_translations(slot);
      if (status.ok()) status = check_kpm(slot);
    }
    return status;
  }

  SegmapAuditCounts counts;

 private:
  // 53, 52 and the queue half of 43.
  absl::Status check_list(uint32_t ndx) {
    const smfree& list = seg_.smd_free[ndx];
    const sm_freeq* const zero = &list.sm_freeq[0];
    const sm_freeq* const one = &list.sm_freeq[1];
    const sm_freeq* const allocq = list.sm_allocq.load(kQuiescent);
    const sm_freeq* const releq = list.sm_releq.load(kQuiescent);
    if (!(allocq == zero && releq == one) && !(allocq == one && releq == zero)) {
      return broken(53, "list ", ndx, ": sm_allocq and sm_releq are not its two queues");
    }
    for (uint32_t q = 0; q < 2; ++q) {
      const absl::Status status = check_ring(Place{ndx, q}, list.sm_freeq[q]);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status check_ring(Place place, const sm_freeq& queue) {
    const std::string where = absl::StrCat("queue ", place.queue, " of list ", place.list);
    const smap* const first = queue.smq_free();
    const smap* slot = first;
    if (first == nullptr) return absl::OkStatus();
    do {
      const smap* const next = next_of(slot);
      if (next == nullptr || next->sm_prev() != slot) {
        return broken(52, where, ": the links of ", name(*slot), " and its successor disagree");
      }
      if (!places_.emplace(slot, place).second) {
        return broken(52, where, ": ", name(*slot), " was met twice");
      }
      if (slot->sm_free_ndx != place.list) {
        return broken(43, name(*slot), ": on ", where, ", belongs to list ", slot->sm_free_ndx);
      }
      if (((slot->sm_flags() & SM_QNDX_ZERO) != 0) != (place.queue == 0)) {
        return broken(43, name(*slot), ": on ", where, ", SM_QNDX_ZERO is ",
                      place.queue == 0 ? "clear" : "set");
      }
      slot = next;
    } while (slot != first);
    return absl::OkStatus();
  }

  // 43 and 44 from the slots' side.
  absl::Status check_queues() {
    for (const smap& slot : seg_.smd_sm) {
      const bool linked = next_of(&slot) != nullptr;
      const bool queued = places_.contains(&slot);
      if (linked != queued || linked != (slot.sm_prev() != nullptr)) {
        return broken(43, name(slot), ": ", queued ? "on a queue" : "on no queue", ", sm_next is ",
                      linked ? "set" : "null", ", sm_prev is ",
                      slot.sm_prev() != nullptr ? "set" : "null");
      }
      if (queued != (slot.sm_refcnt() == 0)) {
        return broken(44, name(slot), ": ", queued ? "on a queue" : "on no queue", ", sm_refcnt ",
                      slot.sm_refcnt());
      }
    }
    const uint64_t stolen = seg_.stats.sum().stolen;
    if (stolen != 0) return broken(44, stolen, " slots were found stolen");
    return absl::OkStatus();
  }

  // 45 and 46.
  absl::Status check_chains() {
    absl::flat_hash_set<const smap*> chained;
    absl::flat_hash_map<std::pair<const vnode_t*, uint64_t>, const smap*> known;
    for (const smaphash& bucket : seg_.smd_hash) {
      for (const smap* slot = bucket.sh_hash_list(); slot != nullptr; slot = slot->sm_hash()) {
        if (!chained.insert(slot).second) return broken(45, name(*slot), ": chained twice");
        if (slot->sm_vp() == nullptr) {
          return broken(45, name(*slot), ": on a chain without an identity");
        }
        if (&smap_hash_bucket(seg_, slot->sm_vp(), slot->sm_off()) != &bucket) {
          return broken(45, name(*slot), ": on a chain that is not that of ", identity(*slot));
        }
        if ((slot->sm_off() & seg_.maxboffset()) != 0) {
          return broken(46, name(*slot), ": sm_off ", slot->sm_off(), " is not a multiple of ",
                        seg_.maxbsize);
        }
        const auto [other, fresh] = known.emplace(std::pair(slot->sm_vp(), slot->sm_off()), slot);
        if (!fresh) {
          return broken(46, name(*slot), " and ", name(*other->second), ": both are ",
                        identity(*slot));
        }
      }
    }
    for (const smap& slot : seg_.smd_sm) {
      if (slot.sm_vp() != nullptr && !chained.contains(&slot)) {
        return broken(45, name(slot), ": ", identity(slot), " is on no chain");
      }
    }
    return absl::OkStatus();
  }

  // 44 (used slots are hashed), 47, 57.
  absl::Status check_references() {
    for (const smap& slot : seg_.smd_sm) {
      const uint32_t refcnt = slot.sm_refcnt();
      if (refcnt > 0 && options_.expect_no_references) {
        return broken(47, name(slot), ": ", identity(slot), " has sm_refcnt ", refcnt,
                      ", no window is out");
      }
      if (refcnt > 0 && slot.sm_vp() == nullptr) {
        return broken(44, name(slot), ": sm_refcnt ", refcnt, ", no identity");
      }
      if (!seg_.segmap_kpm && refcnt == 0 && slot.sm_vp() != nullptr &&
          (slot.sm_flags() & SM_NOTKPM_RELEASED) == 0) {
        return broken(57, name(slot), ": free, ", identity(slot), ", without SM_NOTKPM_RELEASED");
      }
      ++(refcnt > 0 ? counts.in_use : slot.sm_vp() != nullptr ? counts.cached : counts.blank);
    }
    return absl::OkStatus();
  }

  page_t* page_at(uintptr_t va) {
    htable_t* const ht = hat_kmap_table(seg_.sys, va);
    const x86pte_t pte = x86pte_get(seg_.sys, ht, htable_va2entry(seg_.sys, va, ht));
    return PTE_ISVALID(pte) ? page_numtopp_nolock(seg_.sys.vm, PTE2PFN(pte, 0)) : nullptr;
  }

  // 48, 49, 50.
  absl::Status check_translations(const smap& slot) {
    const uint32_t bitmap = slot.sm_bitmap.load(kQuiescent);
    for (uint32_t i = 0; i < seg_.pages_per_slot(); ++i) {
      const uint64_t within = uint64_t{i} << seg_.sys.vm.pageshift;
      const page_t* const pp = page_at(seg_.smap_addr(&slot) + within);
      const bool bit = (bitmap & (uint32_t{1} << i)) != 0;
      if (bit && (pp == nullptr || !PAGE_EXCL(pp) || slot.sm_refcnt() == 0)) {
        return broken(50, name(slot), " page ", i, ": its sm_bitmap bit is set, ",
                      pp == nullptr           ? "it is not mapped"
                      : slot.sm_refcnt() == 0 ? "the slot is free"
                                              : "the page is not locked EXCL");
      }
      if (pp == nullptr) continue;
      ++counts.translations;
      if (slot.sm_vp() == nullptr) {
        return broken(48, name(slot), " page ", i, ": frame ", pp->p_pagenum,
                      " is mapped, the slot is blank");
      }
      if (pp->p_vnode.load(kQuiescent) != slot.sm_vp() ||
          pp->p_offset.load(kQuiescent) != slot.sm_off() + within) {
        return broken(49, name(slot), " page ", i, ": frame ", pp->p_pagenum,
                      " is mapped, which is not page ", i, " of ", identity(slot));
      }
    }
    return absl::OkStatus();
  }

  // 55 from the slot's side; 56.
  absl::Status check_kpm(const smap& slot) {
    const page_t* const pp = slot.sm_kpme.kpe_page.load(kQuiescent);
    if (pp == nullptr) return absl::OkStatus();
    ++counts.kpm_pages;
    const auto* k = static_cast<const kpme*>(pp->p_kpmelist());
    while (k != nullptr && k != &slot.sm_kpme) k = k->kpe_next();
    if (k == nullptr) {
      return broken(55, name(slot), ": kpe_page is page ", pp->p_pagenum,
                    ", which does not list the slot");
    }
    if (slot.sm_vp() == nullptr || pp->p_vnode.load(kQuiescent) != slot.sm_vp() ||
        pp->p_offset.load(kQuiescent) != slot.sm_off()) {
      return broken(56, name(slot), ": kpe_page is page ", pp->p_pagenum, ", which is not ",
                    identity(slot));
    }
    return absl::OkStatus();
  }

  Segmap& seg_;
  const SegmapAuditOptions& options_;
  absl::flat_hash_map<const smap*, Place> places_;
};

// The slots of a queue as words; its mutex is only tried.
void explain_queue(const smfree& list, uint32_t ndx, uint32_t q, sm_freeq& queue,
                   std::vector<std::string>* words) {
  if (!queue.smq_mtx.tryenter()) return;
  const smap* const first = queue.smq_free();
  const smap* slot = first;
  // Bounded, should the ring be broken.
  for (int n = 0; slot != nullptr && n < 8; ++n) {
    const bool release = list.sm_releq.load(kQuiescent) == &queue;
    words->push_back(absl::StrCat(name(*slot), " is free on queue ", q, " of list ", ndx, ", the ",
                                  release ? "release" : "allocation", " queue"));
    slot = next_of(slot);
    if (slot == first) break;
  }
  queue.smq_mtx.exit();
}

}  // namespace

absl::Status segmap_audit(Segmap& seg, const SegmapAuditOptions& options,
                          SegmapAuditCounts* counts) {
  SegmapAudit audit(seg, options);
  const absl::Status status = audit.run();
  if (status.ok() && counts != nullptr) *counts = audit.counts;
  return status;
}

std::string segmap_explain_waiting(Segmap& seg) {
  std::vector<std::string> waiters, free_slots;
  for (uint32_t colour = 0; colour < seg.smd_ncolor; ++colour) {
    std::vector<std::string> of_colour;
    uint32_t waiting = 0;
    for (uint32_t i = colour; i < seg.smd_nfree; i += seg.smd_ncolor) {
      const uint32_t here = seg.waiting->waiting(seg, i);
      if (here != 0) {
        waiting += here;
        of_colour.push_back(absl::StrCat(here, " wait for a slot of list ", i));
      }
    }
    if (waiting == 0) continue;
    // By the counted protocol one number stands for all lists.
    if (seg.config.waiting == WaitingDesign::kCounted) of_colour.resize(1);
    waiters.insert(waiters.end(), of_colour.begin(), of_colour.end());
    for (uint32_t i = colour; i < seg.smd_nfree; i += seg.smd_ncolor) {
      for (uint32_t q = 0; q < 2; ++q) {
        explain_queue(seg.smd_free[i], i, q, seg.smd_free[i].sm_freeq[q], &free_slots);
      }
    }
  }
  if (waiters.empty() || free_slots.empty()) return "";
  return absl::StrCat(absl::StrJoin(waiters, ", "), "; ", absl::StrJoin(free_slots, ", "));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
