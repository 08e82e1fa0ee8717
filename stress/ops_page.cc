// Operations on pages, whoever maps them, and on memory as a whole.
#include <cstdint>
#include <vector>

#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "stress/op_bodies.h"
#include "vm/page_alloc.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A random page of the world's files in some mode, or null: a page of the kernel's, a free one, a
// large one or a busy one is left alone.
page_t* lock_some_page(World& world, uint64_t random, se_t mode) {
  System& sys = world.sys;
  page_t* pp = page_numtopp_nolock(sys.vm, random % sys.vm.npages);
  if (pp == nullptr || PP_ISFREE(pp) || !page_trylock(sys.vm, pp, mode)) return nullptr;
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  const bool ours = !PP_ISFREE(pp) && vp != nullptr && vp != &sys.vm.kvp &&
                    pp->p_szc.load(std::memory_order_relaxed) == 0;
  if (ours) return pp;
  page_unlock(sys.vm, pp);
  return nullptr;
}

// One of the first pages of a file, where threads meet; or null.
page_t* lock_near_page(World& world, uint64_t random, se_t mode) {
  Vm& vm = world.sys.vm;
  vnode_t* const vp = world.files[(random >> 8) % world.files.size()].get();
  const uint64_t off = (random >> 32) % world.focus() * vm.pagesize;
  page_t* const pp = page_lookup_nowait(vm, vp, off, mode);
  if (pp == nullptr || pp->p_szc.load(std::memory_order_relaxed) == 0) return pp;
  page_unlock(vm, pp);
  return nullptr;
}

// A few tries: most frames are free or tables.
page_t* find_page(World& world, uint64_t random, se_t mode) {
  constexpr int kTries = 16;
  if (random % 2 == 0 && !world.files.empty()) {
    page_t* const pp = lock_near_page(world, random, mode);
    if (pp != nullptr) return pp;
  }
  for (int i = 0; i < kTries; ++i) {
    page_t* pp = lock_some_page(world, random + i * 7919, mode);
    if (pp != nullptr) return pp;
  }
  return nullptr;
}

}  // namespace

OpResult op_pageunload(World& world, Worker&, const Draw& d) {
  System& sys = world.sys;
  page_t* pp = find_page(world, d.r[0], SE_EXCL);
  if (pp == nullptr) return OpResult::kNothingToDo;
  sys.vm.mapping_ops().hat_pageunload(pp);
  world.check_clean_page(pp);
  const uint32_t share = hat_page_getshare(sys, pp);
  if (share != 0) {
    report_violation(absl::StrFormat("hat_pageunload returned, but page %d still has %d mappings",
                                     pp->p_pagenum, share));
  }
  page_unlock(sys.vm, pp);
  return OpResult::kDone;
}

OpResult op_pagesync(World& world, Worker&, const Draw& d) {
  static constexpr uint32_t kFlags[] = {HAT_SYNC_DONTZERO, HAT_SYNC_ZERORM, HAT_SYNC_STOPON_REF,
                                        HAT_SYNC_STOPON_MOD, HAT_SYNC_STOPON_RM};
  System& sys = world.sys;
  page_t* pp = find_page(world, d.r[0], SE_SHARED);
  if (pp == nullptr) return OpResult::kNothingToDo;
  hat_pagesync(sys, pp, kFlags[d.r[1] % std::size(kFlags)]);
  const bool mapped = hat_page_is_mapped(sys, pp);
  page_unlock(sys.vm, pp);
  return mapped ? OpResult::kDone : OpResult::kNothingToDo;
}

OpResult op_pageout(World& world, Worker&, const Draw& d) {
  System& sys = world.sys;
  page_t* pp = find_page(world, d.r[0], SE_SHARED);
  if (pp == nullptr) return OpResult::kNothingToDo;
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  // Only the world's files outlive our hold on the page; private vnodes may go with their process.
  const bool file = std::any_of(world.files.begin(), world.files.end(),
                                [vp](const auto& f) { return f.get() == vp; });
  page_unlock(sys.vm, pp);
  if (!file) return OpResult::kNothingToDo;
  static constexpr uint32_t kFlags[] = {B_ASYNC, B_ASYNC | B_FREE, B_ASYNC | B_FREE | B_DONTNEED};
  const int error =
      vop_putpage(sys.vm, vp, off, sys.mmu().pagesize(), kFlags[d.r[1] % std::size(kFlags)]);
  HAT_ASSERT(error == 0, "stress: the backing store failed");
  return OpResult::kDone;
}

OpResult op_hog(World& world, Worker& w, const Draw& d) {
  Vm& vm = world.sys.vm;
  world.leave(w);
  // Fewer than the pageout thread keeps free, so that there is an end to the waiting.
  const uint64_t pages = vm.npages / 64 + d.r[1] % (vm.npages / 32);
  // Behind everything else in a file.
  vnode_t* const vp = world.files[d.r[2] % world.files.size()].get();
  const uint64_t off = uint64_t{1 + w.cpu} << 40;
  page_t* ring = page_create_va(vm, vp, off, pages * vm.pagesize, PG_EXCL | PG_WAIT);
  if (ring == nullptr) report_violation("hog: pages that nobody else creates exist already");
  yield();
  while (ring != nullptr) {
    page_t* const pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    page_destroy(vm, pp, 0);
  }
  return OpResult::kDone;
}

bool steal_by_hand(World& world, bool table) {
  System& sys = world.sys;
  world.oracle.note_steal();
  if (!table) {
    hment_t* hm = hment_steal(sys);
    if (hm != nullptr) hment_free(sys, hm);
    return hm != nullptr;
  }
  htable_t* stolen = htable_steal(sys, 1);
  const bool found = stolen != nullptr;
  while (stolen != nullptr) {
    htable_t* next = stolen->ht_next();
    stolen->ht_next = nullptr;
    htable_free(sys, stolen);
    stolen = next;
  }
  return found;
}

OpResult op_steal(World& world, Worker&, const Draw& d) {
  return steal_by_hand(world, /*table=*/d.r[0] % 4 == 0) ? OpResult::kDone : OpResult::kNothingToDo;
}

// Takes tables that nobody uses, and no translation.
OpResult op_reap(World& world, Worker&, const Draw&) {
  htable_reap(world.sys);
  kmem_reap(world.sys);
  return OpResult::kDone;
}

OpResult op_large(World& world, Worker& w, const Draw& d) {
  if (world.large_groups.empty()) return OpResult::kNothingToDo;
  System& sys = world.sys;
  LargeGroup& group = world.large_groups[d.r[1] % world.large_groups.size()];
  const uint64_t choice = d.r[2] % 16;
  if (choice < 2) {
    MutexGuard guard(world.group_mutex);
    if (choice == 0 && d.r[2] / 16 % 2 == 0) {
      const uint64_t pages = world.large_page_bytes() / sys.mmu().pagesize();
      if (!world.try_demote(group, d.r[3] % pages)) return OpResult::kRetry;
      group.whole = false;
      return OpResult::kDone;
    }
    std::vector<page_t*> pages = world.lock_group(group, SE_EXCL);
    if (pages.empty()) return OpResult::kNothingToDo;
    world.unload_group(pages, /*demote=*/choice == 0);
    if (choice == 0) group.whole = false;
    world.unlock_pages(pages);
    return OpResult::kDone;
  }
  if (choice == 2) {
    // Rebuild a group that was broken up: its small pages go back to the file first.
    MutexGuard guard(world.group_mutex);
    if (group.whole) return OpResult::kNothingToDo;
    vop_putpage(sys.vm, group.vp, group.off, world.large_page_bytes(), B_INVAL);
    group.whole = world.build_group(group);
    return group.whole ? OpResult::kDone : OpResult::kNothingToDo;
  }
  Process& p = home_process(world, w, d);
  if (choice == 3) {
    // One small translation where a large one could be: the next large load must step down.
    WriterGuard guard(p.as.a_lock);
    const seg_t* seg = world.large_segment(p);
    if (seg == nullptr) return OpResult::kNothingToDo;
    const uintptr_t va = seg->s_base + (group.off - seg->s_offset);
    if (!seg->contains(va)) return OpResult::kNothingToDo;
    world.unload(p, va, world.large_page_bytes() / sys.mmu().pagesize());
    world.load(p, va, {group.vp, group.off}, AccessKind::kRead, seg->s_prot, HAT_LOAD);
    return OpResult::kDone;
  }
  uintptr_t va = 0;
  {
    ReaderGuard guard(p.as.a_lock);
    const seg_t* seg = world.large_segment(p);
    if (seg == nullptr) return OpResult::kNothingToDo;
    va = seg->s_base + (group.off - seg->s_offset);
    if (!seg->contains(va)) return OpResult::kNothingToDo;
    if (choice < 6) {
      world.unload(p, va, world.large_page_bytes() / sys.mmu().pagesize());
      return OpResult::kDone;
    }
  }
  va += d.r[3] % (world.large_page_bytes() / sys.mmu().pagesize()) * sys.mmu().pagesize();
  return world.touch(w, va, AccessKind::kWrite) ? OpResult::kDone : OpResult::kNothingToDo;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
