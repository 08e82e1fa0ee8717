#include "hat/hment.h"

#include "absl/strings/str_cat.h"
#include "hat/hment_index.h"
#include "hat/hment_reserve.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// p_mapping and p_embed are atomics only for hment_steal, which peeks at them without the mlist and
// looks again under it. Everything here holds the mlist, so relaxed accesses do.
namespace {

constexpr std::memory_order kUnderMlist = std::memory_order_relaxed;

bool is_mapped(const page_t* pp) { return pp->p_mapping.load(kUnderMlist) != nullptr; }

bool is_embedded(const page_t* pp) { return pp->p_embed.load(kUnderMlist) != 0; }

htable_t* embedded_htable(const page_t* pp) {
  return static_cast<htable_t*>(pp->p_mapping.load(kUnderMlist));
}

hment_t* first_hment(const page_t* pp) {
  return static_cast<hment_t*>(pp->p_mapping.load(kUnderMlist));
}

bool is_embedded_mapping(const page_t* pp, const htable_t* ht, uint32_t entry) {
  return is_embedded(pp) && embedded_htable(pp) == ht && pp->p_mlentry() == entry;
}

std::string state_of(const page_t* pp) {
  return absl::StrCat("page pfn=", pp->p_pagenum, " p_embed=", pp->p_embed.load(kUnderMlist),
                      " p_share=", pp->p_share(), is_mapped(pp) ? "" : " p_mapping null");
}

// Makes hm the head of pp's list.
void push_front(page_t* pp, hment_t* hm) {
  hment_t* const old_head = first_hment(pp);
  if (old_head != nullptr) {
    HAT_ASSERT(old_head->hm_prev() == nullptr,
               "invariant 3: head has a predecessor: " + state_of(pp));
    old_head->hm_prev = hm;
  }
  hm->hm_next = old_head;
  hm->hm_prev = nullptr;
  pp->p_mapping.store(hm, kUnderMlist);
  pp->p_share = pp->p_share() + 1;
}

// Records a mapping of a page that has a list, or no mapping at all: on the list and in the index.
void hment_insert(System& sys, page_t* pp, htable_t* ht, uint32_t entry, hment_t* hm) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  HAT_ASSERT(!is_embedded(pp),
             "invariant 1: second mapping beside an embedded one: " + state_of(pp));
  HAT_ASSERT(is_mapped(pp) == (pp->p_share() != 0), "invariant 2: " + state_of(pp));
  // All three before the index sees hm: others compare keys under the bucket's lock alone.
  hm->hm_pfn = pp->p_pagenum;
  hm->hm_htable = ht;
  hm->hm_entry = entry;
  push_front(pp, hm);
  sys.hment_index->insert(hm);
}

// Moves the embedded mapping of pp into hm: the page has a list of one then.
void hment_promote(System& sys, page_t* pp, hment_t* hm) {
  htable_t* ht = embedded_htable(pp);
  const uint32_t entry = pp->p_mlentry();
  HAT_ASSERT(pp->p_share() == 0, "invariant 1: " + state_of(pp));
  pp->p_embed.store(0, kUnderMlist);
  pp->p_mapping.store(nullptr, kUnderMlist);
  pp->p_mlentry = 0;
  hment_insert(sys, pp, ht, entry, hm);
}

// What it takes to record one more mapping of a page.
enum class Need {
  kNothing,    // the page has no mapping: embed it. Or: this very mapping is the embedded one
  kPromotion,  // another mapping is embedded: first make that one an hment
  kRecord,     // the page has a list: an hment for the new mapping
};

Need what_is_needed(const page_t* pp, const htable_t* ht, uint32_t entry) {
  if (!is_mapped(pp)) return Need::kNothing;
  if (!is_embedded(pp)) return Need::kRecord;
  return is_embedded_mapping(pp, ht, entry) ? Need::kNothing : Need::kPromotion;
}

}  // namespace

hment_t* hment_prepare(System& sys, htable_t* ht, uint32_t entry, page_t* pp) {
  hment_t* hm = nullptr;  // allocated, not used yet
  for (;;) {
    HAT_ASSERT(x86_hm_held(sys, pp));
    const Need need = what_is_needed(pp, ht, entry);
    if (need == Need::kNothing && hm == nullptr) return nullptr;
    if (need == Need::kRecord && hm != nullptr) return hm;
    if (need == Need::kPromotion && hm != nullptr) {
      hment_promote(sys, pp, hm);
      hm = nullptr;  // in use now; the new mapping needs one more
      continue;
    }
    // Getting one may load translations or take a mapping from another page, whose mlist may be the
    // same mutex; freeing one may call kmem as well. While the mlist is dropped others add, promote
    // and remove mappings of this page, ours among them: start over.
    x86_hm_exit(sys, pp);
    if (hm == nullptr) {
      hm = hment_alloc(sys);
    } else {
      hment_free(sys, hm);
      hm = nullptr;
    }
    x86_hm_enter(sys, pp);
  }
}

void hment_assign(System& sys, htable_t* ht, uint32_t entry, page_t* pp, hment_t* hm) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  HAT_ASSERT(ht->ht_busy.load(std::memory_order_relaxed) > 0,
             "mapping recorded in a table nobody holds");
  if (is_mapped(pp)) {
    if (hm == nullptr) {
      panic(absl::StrCat("hment_assign: no hment for a second mapping, ", state_of(pp)));
    }
    hment_insert(sys, pp, ht, entry, hm);
    return;
  }
  HAT_ASSERT(hm == nullptr, "hment_prepare returned an hment for a first mapping");
  HAT_ASSERT(!is_embedded(pp) && pp->p_share() == 0, "invariant 2: " + state_of(pp));
  pp->p_mlentry = entry;
  pp->p_mapping.store(ht, kUnderMlist);
  pp->p_embed.store(1, kUnderMlist);
}

hment_t* hment_remove(System& sys, page_t* pp, htable_t* ht, uint32_t entry) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  const HmentKey key{ht, entry, pp->p_pagenum};
  if (is_embedded(pp)) {
    if (!is_embedded_mapping(pp, ht, entry)) {
      panic(absl::StrCat("hment_remove: ", to_string(key), " is not the embedded mapping, ",
                         state_of(pp)));
    }
    pp->p_embed.store(0, kUnderMlist);
    pp->p_mapping.store(nullptr, kUnderMlist);
    pp->p_mlentry = 0;
    return nullptr;
  }

  // The index finds it in a list that may be thousands long.
  hment_t* hm = sys.hment_index->remove(key);
  if (hm == nullptr) {
    panic(absl::StrCat("hment_remove: no hment for ", to_string(key), ", ", state_of(pp)));
  }
  hment_t* next = hm->hm_next();
  hment_t* prev = hm->hm_prev();
  HAT_ASSERT(pp->p_share() > 0, "invariant 2: " + state_of(pp));
  HAT_ASSERT((prev == nullptr ? first_hment(pp) : prev->hm_next()) == hm &&
                 (next == nullptr || next->hm_prev() == hm),
             "invariant 3: neighbours of " + to_string(key) + " disagree, " + state_of(pp));
  if (next != nullptr) next->hm_prev = prev;
  if (prev != nullptr) {
    prev->hm_next = next;
  } else {
    pp->p_mapping.store(next, kUnderMlist);
  }
  // A list of one stays a list: a page that was shared once is likely to be shared again.
  pp->p_share = pp->p_share() - 1;
  hm->hm_next = nullptr;
  hm->hm_prev = nullptr;
  return hm;
}

hment_t* hment_walk(System& sys, page_t* pp, htable_t** ht, uint32_t* entry, hment_t* prev) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  hment_t* hm = nullptr;
  if (is_embedded(pp)) {
    if (prev != nullptr) return nullptr;
    *ht = embedded_htable(pp);
    *entry = pp->p_mlentry();
    hm = HMENT_EMBEDDED;
  } else {
    HAT_ASSERT(prev != HMENT_EMBEDDED, "mlist dropped during a walk, " + state_of(pp));
    hm = prev == nullptr ? first_hment(pp) : prev->hm_next();
    if (hm == nullptr) return nullptr;
    HAT_ASSERT(hm->hm_pfn() == pp->p_pagenum,
               "invariant 4: " + to_string(hment_key(hm)) + " on the list of " + state_of(pp));
    *ht = hm->hm_htable();
    *entry = hm->hm_entry();
  }
  return hm;
}

uint32_t hment_mapcnt(System& sys, page_t* pp) {
  x86_hm_enter(sys, pp);
  uint32_t count = is_embedded(pp) ? 1 : pp->p_share();
  x86_hm_exit(sys, pp);

  // Large mappings are recorded at the first page of their group. p_szc is read without a lock; a
  // demotion meanwhile has unloaded the large mappings first, so a level too many finds none.
  for (int szc = 1; szc <= pp->p_szc.load(std::memory_order_relaxed); ++szc) {
    page_t* leader = PP_GROUPLEADER(sys.vm, pp, szc);
    if (leader == pp) continue;  // counted above, whatever the size
    x86_hm_enter(sys, leader);
    htable_t* ht = nullptr;
    uint32_t entry = 0;
    hment_t* hm = nullptr;
    while ((hm = hment_walk(sys, leader, &ht, &entry, hm)) != nullptr) {
      if (ht->ht_level() == szc) ++count;
    }
    x86_hm_exit(sys, leader);
  }
  return count;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
