// kpm with users recorded on the page. See hat/kpm_mapping.h.
#include "absl/strings/str_cat.h"
#include "hat/hat.h"
#include "hat/hat_boot.h"
#include "hat/hat_load.h"
#include "hat/hment.h"
#include "hat/htable.h"
#include "hat/kpm_mapping.h"
#include "hat/pte_ops.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The table for an address of the window; it is there for ever.
htable_t* kpm_table(const System& sys, uintptr_t va) {
  const int shift = sys.mmu().level_shift(1);
  return sys.kpm_tables[(va >> shift) - (sys.kpm_vbase >> shift)];
}

kpme* head_of(const page_t* pp) { return static_cast<kpme*>(pp->p_kpmelist()); }

// pp's mlist held. An off-list entry takes no mlist of its own, and needs no memory.
void kpm_load(System& sys, page_t* pp, uintptr_t va) {
  htable_t* const ht = kpm_table(sys, va);
  const x86pte_t pte = hati_mkpte(
      pp->p_pagenum, PROT_READ_ATTR | PROT_WRITE_ATTR | HAT_STORECACHING_OK, 0, HAT_LOAD_NOCONSIST);
  hati_pte_map(sys, ht, htable_va2entry(sys, va, ht), nullptr, pte | PT_GLOBAL, HAT_LOAD);
}

// pp's mlist held. When this returns, no CPU uses the translation.
void kpm_unload(System& sys, page_t* pp, uintptr_t va) {
  htable_t* const ht = kpm_table(sys, va);
  const x86pte_t pte = x86pte_inval(sys, ht, htable_va2entry(sys, va, ht), 0);
  HAT_ASSERT(PTE_ISVALID(pte) && PTE2PFN(pte, 0) == pp->p_pagenum,
             absl::StrCat("invariant 55: page ", pp->p_pagenum, " has kpm users, its pte is ",
                          absl::Hex(pte)));
  HTABLE_DEC(sys, ht);
  sys.kas_hat()->hat_pages_mapped[0].fetch_sub(1, std::memory_order_relaxed);
}

void link(page_t* pp, kpme* k) {
  kpme* const head = head_of(pp);
  k->kpe_next = head;
  k->kpe_prev = nullptr;
  if (head != nullptr) head->kpe_prev = k;
  pp->p_kpmelist = static_cast<void*>(k);
  // Relaxed: unlocked readers lock the page and look again.
  k->kpe_page.store(pp, std::memory_order_relaxed);
}

void unlink(page_t* pp, kpme* k) {
  kpme* const next = k->kpe_next();
  kpme* const prev = k->kpe_prev();
  if (next != nullptr) next->kpe_prev = prev;
  if (prev != nullptr) {
    prev->kpe_next = next;
  } else {
    pp->p_kpmelist = static_cast<void*>(next);
  }
  k->kpe_next = nullptr;
  k->kpe_prev = nullptr;
  // Release, for mapin: the next page that k is linked to may have another mlist.
  k->kpe_page.store(nullptr, std::memory_order_release);
}

class OnDemandKpm final : public KpmMapping {
 public:
  const char* name() const override { return "on demand"; }

  level_t boot_table_level(const System&) const override { return 0; }

  void boot(System& sys) override {
    const size_t first = sys.precreated_tables.size();
    hat_precreate_tables(sys, sys.kpm_vbase, sys.kpm_eaddr - sys.kpm_vbase, 0);
    sys.kpm_tables.assign(sys.precreated_tables.begin() + static_cast<std::ptrdiff_t>(first),
                          sys.precreated_tables.end());
  }

  void mapin(System& sys, page_t* pp, kpme* k, uintptr_t va) override {
    x86_hm_enter(sys, pp);
    // Acquire: if k was on another page's list, its links were last written under another mlist.
    page_t* const of = k != nullptr ? k->kpe_page.load(std::memory_order_acquire) : nullptr;
    HAT_ASSERT(
        of == nullptr || of == pp,
        absl::StrCat("invariant 55: hat_kpm_mapin of page ", pp->p_pagenum,
                     ": the kpme is on the list of page ", of != nullptr ? of->p_pagenum : 0));
    if (of == nullptr) {
      if (pp->p_kpmref() == 0) kpm_load(sys, pp, va);
      if (k != nullptr) link(pp, k);
      pp->p_kpmref = pp->p_kpmref() + 1;
    }
    x86_hm_exit(sys, pp);
  }

  void mapout(System& sys, page_t* pp, kpme* k, uintptr_t va) override {
    x86_hm_enter(sys, pp);
    if (k != nullptr) {
      HAT_ASSERT(k->kpe_page.load(std::memory_order_relaxed) == pp,
                 absl::StrCat("invariant 55: hat_kpm_mapout of page ", pp->p_pagenum,
                              ": the kpme is not on its list"));
      unlink(pp, k);
    }
    HAT_ASSERT(pp->p_kpmref() > 0, absl::StrCat("invariant 55: hat_kpm_mapout of page ",
                                                pp->p_pagenum, ", which has no kpm users"));
    pp->p_kpmref = pp->p_kpmref() - 1;
    if (pp->p_kpmref() == 0) kpm_unload(sys, pp, va);
    x86_hm_exit(sys, pp);
  }

  void pageunload(System& sys, page_t* pp) override {
    // EXCL keeps users from coming and going.
    if (pp->p_kpmref() == 0) return;
    x86_hm_enter(sys, pp);
    while (kpme* const k = head_of(pp)) {
      unlink(pp, k);
      pp->p_kpmref = pp->p_kpmref() - 1;
    }
    if (pp->p_kpmref() != 0) {
      panic(absl::StrCat("hat_pageunload: page ", pp->p_pagenum, " has ", pp->p_kpmref(),
                         " anonymous kpm users"));
    }
    kpm_unload(sys, pp, hat_kpm_page2va(sys, pp));
    x86_hm_exit(sys, pp);
  }

  bool records_users() const override { return true; }
};

}  // namespace

std::unique_ptr<KpmMapping> make_on_demand_kpm() { return std::make_unique<OnDemandKpm>(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
