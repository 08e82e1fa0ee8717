// See vm/audit.h. Reads without locks: nobody else is here.
#include "vm/audit.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "vm/page_list.h"
#include "vm/page_ring.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

// "page 17 (p_selock -1, p_state 0x80, p_nrm 0x2, p_szc 0, p_vnode file7, p_offset 8192)"
std::string name_of(const page_t& page) {
  const vnode_t* vp = page.p_vnode.load(kRelaxed);
  return absl::StrCat("page ", page.p_pagenum, " (p_selock ", page.p_selock.load(kRelaxed),
                      ", p_state 0x", absl::Hex(page.p_state.load(kRelaxed)), ", p_nrm 0x",
                      absl::Hex(page.p_nrm.load(kRelaxed)), ", p_szc ",
                      static_cast<int>(page.p_szc.load(kRelaxed)), ", p_vnode ",
                      vp == nullptr ? std::string("null") : vp->v_name, ", p_offset ",
                      page.p_offset.load(kRelaxed), ")");
}

class Audit {
 public:
  explicit Audit(Vm& vm) : vm_(vm), visits_(vm.npages) {}

  absl::Status run() {
    check_locks();
    check_lists();
    check_counts();
    check_free_pages();
    check_chains();
    check_rings();
    check_groups();
    check_reserves();
    return status_;
  }

 private:
  // How often each walk met a page.
  struct Visits {
    int list = 0;
    int chain = 0;
    int ring = 0;
  };

  template <class... Parts>
  void fail(const char* invariant, const Parts&... parts) {
    if (!status_.ok()) return;  // the first one counts
    status_ = absl::InternalError(absl::StrCat("invariant ", invariant, ": ", parts...));
  }

  bool known(const page_t* pp) const {
    return pp >= &vm_.pages[0] && pp < &vm_.pages[0] + vm_.npages;
  }
  Visits& visits(const page_t* pp) { return visits_[pp->p_pagenum]; }

  void check_locks() {
    for (pfn_t pfn = 0; pfn < vm_.npages; ++pfn) {
      const page_t& page = vm_.pages[pfn];
      const int32_t state = page.p_selock.load(kRelaxed);
      if (state < 0 && state != SE_WRITER && state != SE_DELETED) {
        fail("41", name_of(page), " has an impossible p_selock");
      } else if (state == SE_EWANTED) {
        fail("41", name_of(page), " has SE_EWANTED set and nobody who asks for it");
      } else if (PP_ISFREE(&page) && state != 0) {
        fail("41", name_of(page), " is free and locked");
      }
    }
  }

  // Walks a list; returns its length, or -1 if it is broken.
  int64_t check_list(page_list_t& list, page_t* head, bool cached, const std::string& name) {
    int64_t length = 0;
    page_t* pp = head;
    if (pp == nullptr) return 0;
    do {
      if (!known(pp) || ++length > static_cast<int64_t>(vm_.npages)) {
        fail("F2", name, " does not come back to its head");
        return -1;
      }
      ++visits(pp).list;
      const page_t* next = pp->p_next();
      if (next == nullptr || next->p_prev() != pp) {
        fail("F2", name_of(*pp), " on ", name, ": p_next and p_prev disagree");
        return -1;
      }
      if (!PP_ISFREE(pp)) fail("F2", name_of(*pp), " is on ", name, " but not P_FREE");
      if (&page_list_of(vm_, pp) != &list)
        fail("F2", name_of(*pp), " is on the wrong list, ", name);
      if ((pp->p_vnode.load(kRelaxed) != nullptr) != cached) {
        fail("F3", name_of(*pp),
             cached ? " has no identity and is on " : " has an identity and is on ", name);
      }
      pp = pp->p_next();
    } while (pp != head);
    return length;
  }

  void check_lists() {
    for (size_t i = 0; i < vm_.lists.size(); ++i) {
      page_list_t& list = vm_.lists[i];
      check_list_length(list, list.free_head.load(kRelaxed), false, list.free_count(),
                        absl::StrCat("free list ", i));
      check_list_length(list, list.cache_head.load(kRelaxed), true, list.cache_count(),
                        absl::StrCat("cache list ", i));
    }
    for (pfn_t pfn = 0; pfn < vm_.npages; ++pfn) {
      const page_t& page = vm_.pages[pfn];
      const int want = PP_ISFREE(&page) ? 1 : 0;
      if (visits_[pfn].list != want) {
        fail("F2", name_of(page), " is on ", visits_[pfn].list, " lists instead of ", want);
      }
    }
  }

  void check_list_length(page_list_t& list, page_t* head, bool cached, int64_t count,
                         const std::string& name) {
    const int64_t length = check_list(list, head, cached, name);
    if (length < 0) return;
    listed_ += length;
    if (length != count) fail("F1", name, " has ", length, " pages, its count says ", count);
  }

  void check_counts() {
    const int64_t free = std::count_if(&vm_.pages[0], &vm_.pages[0] + vm_.npages,
                                       [](const page_t& page) { return PP_ISFREE(&page); });
    if (freemem(vm_) != listed_ || listed_ != free) {
      fail("F1", "freemem ", freemem(vm_), ", pages on lists ", listed_, ", pages P_FREE ", free);
    }
    if (vm_.freemem_waiters.load(kRelaxed) != 0) {
      fail("F1", vm_.freemem_waiters.load(kRelaxed), " threads wait for memory in a quiet system");
    }
  }

  void check_free_pages() {
    for (pfn_t pfn = 0; pfn < vm_.npages; ++pfn) {
      page_t& page = vm_.pages[pfn];
      const bool free = PP_ISFREE(&page);
      const FrameKind kind = vm_.machine.mem().kind(pfn);
      if ((kind == FrameKind::kFree) != free) {
        fail("40", name_of(page), free ? " is free" : " is in use", ", its frame is ",
             frame_kind_name(kind));
      }
      if (!free) continue;
      const uint32_t mappings = vm_.mapping_ops().hment_mapcnt(&page);
      if (mappings != 0 || page.p_kpmref() != 0 || page.p_kpmelist() != nullptr) {
        fail("40", name_of(page), " is free and has ", mappings, " mappings, p_kpmref ",
             page.p_kpmref());
      }
      if (page.p_lckcnt() != 0 || page.p_cowcnt() != 0 || page_iolocked(&page) ||
          page.p_nrm.load(kRelaxed) != 0 || page.p_szc.load(kRelaxed) != 0) {
        fail("40", name_of(page), " is free with p_lckcnt ", page.p_lckcnt(), ", p_cowcnt ",
             page.p_cowcnt(), ", p_iolock_state ",
             static_cast<int>(page.p_iolock_state.load(kRelaxed)));
      }
    }
  }

  void check_chains() {
    std::map<std::pair<const vnode_t*, uint64_t>, pfn_t> identities;
    for (uint32_t bucket = 0; bucket < vm_.config.page_hash_size; ++bucket) {
      for (page_t* pp = vm_.page_hash[bucket].load(kRelaxed); pp != nullptr;
           pp = pp->p_hash.load(kRelaxed)) {
        if (!known(pp) || ++visits(pp).chain > 1) {
          fail("42", "hash chain ", bucket, known(pp) ? " meets twice " : " leaves the page array",
               known(pp) ? name_of(*pp) : "");
          return;
        }
        const vnode_t* vp = pp->p_vnode.load(kRelaxed);
        const uint64_t off = pp->p_offset.load(kRelaxed);
        if (vp == nullptr || page_hash_bucket(vm_, vp, off) != bucket) {
          fail("42", name_of(*pp), " is on hash chain ", bucket, ", where it does not belong");
        }
        const auto [it, fresh] = identities.emplace(std::pair(vp, off), pp->p_pagenum);
        if (!fresh) fail("42", name_of(*pp), " has the identity of page ", it->second);
      }
    }
    for (pfn_t pfn = 0; pfn < vm_.npages; ++pfn) {
      const page_t& page = vm_.pages[pfn];
      const int want = page.p_vnode.load(kRelaxed) != nullptr ? 1 : 0;
      if (visits_[pfn].chain != want) {
        fail("42", name_of(page), " is on ", visits_[pfn].chain, " hash chains instead of ", want);
      }
    }
  }

  void check_ring(const vnode_t* vp) {
    page_t* head = vp->v_pages.load(kRelaxed);
    page_t* pp = head;
    do {
      if (pp == nullptr || !known(pp) || page_is_marker(pp)) {
        fail("42", "v_pages of ", vp->v_name, pp == nullptr ? " is empty" : " holds a marker");
        return;
      }
      if (pp->p_vnode.load(kRelaxed) != vp || ++visits(pp).ring > 1) {
        fail("42", name_of(*pp), " is on the v_pages ring of ", vp->v_name,
             visits(pp).ring > 1 ? " more than once" : "");
        return;
      }
      const page_t* next = pp->p_vpnext();
      if (next == nullptr || next->p_vpprev() != pp) {
        fail("42", name_of(*pp), ": p_vpnext and p_vpprev disagree");
        return;
      }
      pp = pp->p_vpnext();
    } while (pp != head);
  }

  void check_rings() {
    if (!status_.ok()) return;  // rings are found through identities, which have to be sound
    for (pfn_t pfn = 0; pfn < vm_.npages && status_.ok(); ++pfn) {
      const page_t& page = vm_.pages[pfn];
      const vnode_t* vp = page.p_vnode.load(kRelaxed);
      if (vp != nullptr && visits_[pfn].ring == 0) {
        check_ring(vp);
        if (visits_[pfn].ring == 0) {
          fail("42", name_of(page), " is not on the v_pages ring of its vnode");
        }
      }
      if (vp == nullptr && (page.p_vpnext() != nullptr || page.p_vpprev() != nullptr)) {
        fail("42a", name_of(page), " has no identity and is linked on a v_pages ring");
      }
    }
  }

  void check_groups() {
    for (pfn_t pfn = 0; pfn < vm_.npages; ++pfn) {
      page_t& page = vm_.pages[pfn];
      const int szc = page.p_szc.load(kRelaxed);
      if (szc == 0) continue;
      if (szc > vm_.max_szc) {
        fail("G", name_of(page), " has a size code the machine does not have");
        return;
      }
      const page_t* root = PP_GROUPLEADER(vm_, &page, szc);
      const uint64_t count = page_get_pagecnt(vm_, szc);
      const bool whole = root->p_pagenum + count <= vm_.npages;
      if (!whole || !std::all_of(root, root + count, [szc](const page_t& member) {
            return member.p_szc.load(kRelaxed) == szc;
          })) {
        fail("G", name_of(page), " disagrees on p_szc with its group, leader ", name_of(*root));
        return;
      }
      pfn = root->p_pagenum + count - 1;
    }
  }

  void check_reserves() {
    const int64_t available = availrmem(vm_);
    if (available < 0 || available > static_cast<int64_t>(vm_.npages)) {
      fail("R", "availrmem is ", available, " of ", vm_.npages, " pages");
    }
  }

  Vm& vm_;
  std::vector<Visits> visits_;
  int64_t listed_ = 0;
  absl::Status status_;
};

}  // namespace

absl::Status vm_audit(Vm& vm) { return Audit(vm).run(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
