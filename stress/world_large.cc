// Large pages and the kernel's window pages of the stress world.
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "stress/sparse_backing.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<page_t*> World::lock_group(const LargeGroup& group, se_t mode) {
  std::vector<page_t*> pages;
  for (uint64_t at = 0; at < large_page_bytes(); at += sys.mmu().pagesize()) {
    page_t* pp = page_lookup_nowait(sys.vm, group.vp, group.off + at, mode);
    if (pp == nullptr) {
      unlock_pages(pages);
      return {};
    }
    pages.push_back(pp);
  }
  return pages;
}

void World::unlock_pages(const std::vector<page_t*>& pages) {
  for (page_t* pp : pages) page_unlock(sys.vm, pp);
}

void World::expect_no_large_mapping(page_t* leader) {
  uint32_t entry = 0;
  htable_t* ht = nullptr;
  hment_t* hm = nullptr;
  x86_hm_enter(sys, leader);
  while ((hm = hment_walk(sys, leader, &ht, &entry, hm)) != nullptr) {
    if (ht->ht_level() == 0) continue;
    report_violation(absl::StrFormat(
        "invariant 7: page %d is no large one any more, and a mapping of level %d is left",
        leader->p_pagenum, ht->ht_level()));
  }
  x86_hm_exit(sys, leader);
}

void World::unload_group(const std::vector<page_t*>& pages, bool demote) {
  // One bracket around all of it: a large translation goes for all constituents at once.
  for (page_t* pp : pages) oracle.page_unload_begin(pp->p_pagenum);
  if (demote && pages.front()->p_szc.load(std::memory_order_relaxed) > 0) {
    hat_page_demote(sys, pages.front());
    expect_no_large_mapping(pages.front());
  }
  for (page_t* pp : pages) hat_pageunload(sys, pp);
  for (page_t* pp : pages) oracle.page_unload_end(pp->p_pagenum);
}

bool World::try_demote(const LargeGroup& group, uint64_t page) {
  const uint64_t off = group.off + page * sys.mmu().pagesize();
  page_t* const pp = page_lookup_nowait(sys.vm, group.vp, off, SE_EXCL);
  if (pp == nullptr) return false;
  page_t* const root = PP_PAGEROOT(sys.vm, pp);
  const bool done = page_try_demote_pages(sys.vm, pp) != 0;
  if (done) expect_no_large_mapping(root);
  page_unlock(sys.vm, pp);
  return done;
}

const seg_t* World::large_segment(Process& p) {
  for (const auto& [base, seg] : p.as.a_segments) {
    if (seg.s_szc > 0 && !large_groups.empty() && seg.s_vp == large_groups.front().vp) return &seg;
  }
  return nullptr;
}

bool World::build_group(const LargeGroup& group) {
  page_t* leader = page_alloc_large(sys.vm, group.vp, group.off, 1);
  if (leader == nullptr) return false;
  const uint64_t pagesize = sys.mmu().pagesize();
  std::vector<uint8_t> bytes(pagesize);
  for (uint64_t at = 0; at < large_page_bytes(); at += pagesize) {
    page_t* pp = leader + at / pagesize;
    group.vp->v_backing->read(group.off + at, absl::MakeSpan(bytes));
    sys.machine.mem().write_bytes(pp->p_pagenum, 0, bytes);
    page_unlock(sys.vm, pp);
  }
  return true;
}

FaultResult World::load_large(Process& p, const seg_t& seg, uintptr_t va) {
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t base = va - (va - seg.s_base) % large_page_bytes();
  // W6: the anon lock of its first page serves for it.
  MutexGuard alone(p.anon_stripe(base).mutex);
  std::vector<page_t*> pages;
  for (uint64_t at = 0; at < large_page_bytes(); at += pagesize) {
    page_t* pp = nullptr;
    if (vop_getpage(sys.vm, seg.s_vp, seg.offset_of(base + at), S_READ, &pp) != 0) {
      unlock_pages(pages);
      return FaultResult::kError;
    }
    pages.push_back(pp);
    if (at > 0 || pp->p_szc.load(std::memory_order_relaxed) > 0) continue;
    // A group that was broken up: ordinary pages. It cannot become a large page again, and be
    // mapped as one, while we hold its first page.
    const FaultResult result =
        load(p, va, {seg.s_vp, seg.offset_of(va)}, AccessKind::kWrite, seg.s_prot, HAT_LOAD);
    unlock_pages(pages);
    return result;
  }
  const bool writable = (seg.s_prot & PROT_WRITE_ATTR) != 0;
  for (size_t i = 0; i < pages.size(); ++i) p.shadow.begin(base + i * pagesize);
  hat_memload_array(sys, p.as.a_hat, base, large_page_bytes(), pages.data(),
                    seg.s_prot | PROT_USER_ATTR, HAT_LOAD);
  for (size_t i = 0; i < pages.size(); ++i) {
    const pfn_t pfn = pages[i]->p_pagenum;
    p.shadow.end_mapped(base + i * pagesize, pfn, writable, oracle.unload_epoch(pfn));
  }
  unlock_pages(pages);
  return FaultResult::kMapped;
}

bool World::map_window(CpuId cpu, PageId id) {
  page_t* pp = nullptr;
  if (vop_getpage(sys.vm, id.vp, id.off, S_READ, &pp) != 0) return false;
  const uintptr_t va = window(cpu);
  const uint64_t epoch = oracle.unload_epoch(pp->p_pagenum);
  kernel_shadow.begin(va);
  hat_memload(sys, sys.kas_hat(), va, pp, PROT_READ_ATTR, HAT_LOAD);
  kernel_shadow.end_mapped(va, pp->p_pagenum, false, epoch);
  page_unlock(sys.vm, pp);
  return true;
}

void World::unmap_window(CpuId cpu) {
  const uintptr_t va = window(cpu);
  kernel_shadow.begin(va);
  hat_unload(sys, sys.kas_hat(), va, sys.mmu().pagesize(), HAT_UNLOAD);
  kernel_shadow.end_unmapped(va);
}

void World::probe_window(CpuId cpu) {
  const uintptr_t va = window(cpu);
  const Expectation before = kernel_shadow.look(va);
  const pfn_t seen = hat_getpfnum(sys, sys.kas_hat(), va);
  const Expectation after = kernel_shadow.look(va);
  const absl::Status status = oracle.check(va, seen, before, after);
  if (!status.ok()) report_violation(absl::StrFormat("cpu %d's window: %s", cpu, status.message()));
}

void World::peek_window(CpuId reader, CpuId owner) {
  const uintptr_t va = window(owner);
  pfn_t wrong = PFN_INVALID;
  uint64_t version = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Expectation before = kernel_shadow.look(va);
    const AccessResult got = sys.machine.access(reader, va, AccessKind::kRead, Privilege::kKernel);
    const Expectation after = kernel_shadow.look(va);
    if (!got.ok) return;
    const absl::Status status = oracle.check(va, got.pfn, before, after, Saw::kCpu);
    if (status.ok()) return;
    if (got.pfn == wrong && after.version == version) {
      report_violation(absl::StrFormat("cpu %d read cpu %d's kernel window: %s", reader, owner,
                                       status.message()));
    }
    wrong = got.pfn;
    version = after.version;
    pass_through_mlist(wrong);
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
