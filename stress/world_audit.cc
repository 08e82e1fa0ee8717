// What must be true of the world while no operation is under way.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "hat/kmem.h"
#include "hat/pte_ops.h"
#include "stress/segmap_world.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Not by hment_walk, which asks for the mlist: who audits is on no CPU, and cannot take one.
bool has_writable_mapping(System& sys, const page_t& page) {
  const auto writable = [&sys](htable_t* ht, uint32_t entry) {
    return (x86pte_get(sys, ht, entry) & PT_WRITABLE) != 0;
  };
  void* const mapping = page.p_mapping.load(std::memory_order_relaxed);
  if (page.p_embed.load(std::memory_order_relaxed) != 0) {
    return writable(static_cast<htable_t*>(mapping), page.p_mlentry());
  }
  for (auto* hm = static_cast<hment_t*>(mapping); hm != nullptr; hm = hm->hm_next()) {
    if (writable(hm->hm_htable(), hm->hm_entry())) return true;
  }
  return false;
}

}  // namespace

// Every page table and every page of the kernel's heap was promised first.
int64_t World::promised_pages() const {
  return availrmem(sys.vm) + sys.active_ptables.load(std::memory_order_relaxed) +
         sys.kmem_backed.load(std::memory_order_relaxed) / kSlabBytes;
}

absl::Status World::compare_page(const page_t& page) const {
  const vnode_t* const vp = page.p_vnode.load(std::memory_order_relaxed);
  if (vp == nullptr || vp == &sys.vm.kvp || PP_ISFREE(&page)) return absl::OkStatus();
  const auto wrong = [&page, vp](const std::string& what) {
    return absl::InternalError(
        absl::StrFormat("page %d (%s offset 0x%x) %s", page.p_pagenum, vp->v_name,
                        page.p_offset.load(std::memory_order_relaxed), what));
  };
  const int32_t locks = page.p_selock.load(std::memory_order_relaxed);
  if (locks != 0 || page_iolocked(&page)) {
    return wrong(absl::StrCat("is locked, and no operation is under way: p_selock ", locks,
                              page_iolocked(&page) ? ", I/O lock" : ""));
  }
  // Who writes to a page of a sorted vnode must fault first, or the page is not written back.
  if (IS_VMODSORT(vp) && !PP_ISMOD(&page) && has_writable_mapping(sys, page)) {
    return wrong(
        "is not marked modified and is mapped writable, but its vnode is to be told of "
        "the first write");
  }
  return absl::OkStatus();
}

absl::Status World::compare_pages() const {
  for (pfn_t pfn = 0; pfn < sys.vm.npages; ++pfn) {
    const absl::Status status = compare_page(sys.vm.pages[pfn]);
    if (!status.ok()) return status;
  }
  const int64_t promised = promised_pages();
  if (promised == promised_) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("availrmem (%d pages), page tables (%d) and the kernel's heap (%d bytes) "
                      "make %d pages, at first they made %d",
                      availrmem(sys.vm), sys.active_ptables.load(std::memory_order_relaxed),
                      sys.kmem_backed.load(std::memory_order_relaxed), promised, promised_));
}

absl::Status World::compare() {
  for (auto& slot : slots) {
    if (slot->process == nullptr) continue;
    Process& p = *slot->process;
    const absl::Status status = oracle.compare(p.as.a_hat, p.shadow);
    if (!status.ok()) {
      return absl::InternalError(
          absl::StrFormat("process %d (%s): %s", p.id, slot->program->name, status.message()));
    }
  }
  for (auto& shm : shared_memory) {
    const absl::Status status = oracle.compare(shm->holder->as.a_hat, shm->holder->shadow);
    if (!status.ok()) {
      return absl::InternalError(
          absl::StrFormat("shared memory %s: %s", shm->vp->v_name, status.message()));
    }
  }
  oracle.settle();
  const absl::Status pages = compare_pages();
  if (!pages.ok()) return pages;
  return segmap != nullptr ? segmap->audit() : absl::OkStatus();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
