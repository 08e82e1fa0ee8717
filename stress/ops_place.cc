// Operations at a CPU's own place (place.h), which they leave empty.
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "hat/htable.h"
#include "hat/htable_steal.h"
#include "stress/op_bodies.h"
#include "stress/place.h"
#include "stress/sparse_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Behind all memory: any frame numbers will do.
pfn_t device_frame(System& sys, uint64_t random) {
  return sys.machine.mem().size() + 16 + random % 64;
}

}  // namespace

OpResult op_devload(World& world, Worker& w, const Draw& d) {
  constexpr int kPages = 48;
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const pfn_t device = device_frame(sys, d.r[1]);
  const uintptr_t va = place_of(world, w.cpu);
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, va)) return OpResult::kNothingToDo;

  const bool locked = d.r[3] % 2 == 0;
  const auto wanted = [&d](int page) { return (d.r[2] >> page & 1) != 0; };
  const int times = 1 + d.r[3] / 2 % 2;
  for (int i = 0; i < kPages; ++i) {
    if (!wanted(i)) continue;
    for (int again = 0; again < times; ++again) {
      hat_devload(sys, hat, va + i * pagesize, pagesize, device + i,
                  PROT_READ_ATTR | PROT_USER_ATTR, locked ? HAT_LOAD_LOCK : HAT_LOAD);
    }
  }
  if (d.r[3] / 4 % 4 == 0) steal_by_hand(world, /*table=*/true);
  for (int i = 0; i < kPages; ++i) {
    if (wanted(i)) {
      expect_mapped(world, "devload", p, va + i * pagesize, device + i, locked);
    } else {
      expect_unmapped(world, "devload", p, va + i * pagesize);
    }
  }

  // Every page is reported once, and none that was not there.
  uint64_t reported = 0;
  const auto note = [&](uintptr_t start, uintptr_t end) {
    for (uintptr_t at = start; at < end; at += pagesize) {
      const uint64_t page = (at - va) / pagesize;
      if (at < va || page >= kPages || !wanted(page) || (reported >> page & 1) != 0) {
        report_violation(
            absl::StrFormat("devload: unloading va 0x%x of process %d reported the range 0x%x to "
                            "0x%x, of which 0x%x was not loaded or has been reported",
                            va, p.id, start, end, at));
      }
      reported |= uint64_t{1} << page;
    }
  };
  const HatUnloadCallback callback = note;
  if (locked && times == 2) hat_unlock(sys, hat, va, kPages * pagesize);
  hat_unload_callback(sys, hat, va, kPages * pagesize, locked ? HAT_UNLOAD_UNLOCK : HAT_UNLOAD,
                      &callback);
  const uint64_t all = d.r[2] & ((uint64_t{1} << kPages) - 1);
  if (reported != all && (locked || !world.oracle.stealing_since_settle())) {
    report_violation(absl::StrFormat(
        "devload: unloading va 0x%x of process %d reported the pages 0x%x, but 0x%x were loaded",
        va, p.id, reported, all));
  }
  for (int i = 0; i < kPages; ++i) expect_unmapped(world, "devload", p, va + i * pagesize);
  return OpResult::kDone;
}

// Takes tables that nobody uses, and no translation: not even one that could be had again.
OpResult op_reap_mapped(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t va = place_of(world, w.cpu);
  const pfn_t device = device_frame(sys, d.r[2]);
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, va)) return OpResult::kNothingToDo;
  hat_devload(sys, hat, va, pagesize, device, PROT_READ_ATTR | PROT_USER_ATTR, HAT_LOAD);
  htable_reap(sys);
  expect_mapped(world, "reap_mapped", p, va, device, /*locked=*/false);
  hat_unload(sys, hat, va, pagesize, HAT_UNLOAD);
  return OpResult::kDone;
}

OpResult op_offlist(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t va = place_of(world, w.cpu) + d.r[1] % 64 * pagesize;
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, place_of(world, w.cpu))) return OpResult::kNothingToDo;
  vnode_t* const vp = world.files[d.r[2] % world.files.size()].get();
  const uint64_t off = (d.r[2] >> 32) % 64 * pagesize;
  page_t* pp = nullptr;
  if (vop_getpage(sys.vm, vp, off, S_READ, &pp) != 0) return OpResult::kNothingToDo;

  // The page lock is what keeps the page for a translation that nobody can find.
  const bool locked = d.r[3] % 2 == 0;
  const bool by_frame = d.r[3] / 2 % 2 == 0;
  const uint32_t flags = locked ? HAT_LOAD_LOCK : HAT_LOAD;
  const uint32_t prot = PROT_READ_ATTR | PROT_USER_ATTR;
  if (by_frame) {
    // Memory has a record all the same.
    hat_devload(sys, hat, va, pagesize, pp->p_pagenum, prot, flags);
    if (locked && hat_page_getshare(sys, pp) == 0) {
      report_violation(absl::StrFormat(
          "invariant 1: va 0x%x of process %d maps page %d, whose mapping list is empty", va, p.id,
          pp->p_pagenum));
    }
  } else {
    const uint32_t nested = d.r[3] / 4 % 4 == 0 ? HAT_NO_KALLOC : 0;
    hat_memload(sys, hat, va, pp, prot, flags | HAT_LOAD_NOCONSIST | nested);
  }
  expect_mapped(world, "offlist", p, va, pp->p_pagenum, locked);
  const AccessResult got = sys.machine.access(w.cpu, va, AccessKind::kRead, Privilege::kUser);
  if (got.ok && got.value != page_stamp(vp->v_id, off)) {
    report_violation(absl::StrFormat(
        "data: cpu %d read va 0x%x of process %d and found frame %d, expected page %d of %s", w.cpu,
        va, p.id, got.pfn, pp->p_pagenum, vp->v_name));
  }
  hat_unload(sys, hat, va, pagesize, locked ? HAT_UNLOAD_UNLOCK : HAT_UNLOAD);
  world.expect_unreachable(w.cpu, va, Privilege::kUser, "hat_unload");
  page_unlock(sys.vm, pp);
  return OpResult::kDone;
}

OpResult op_array(World& world, Worker& w, const Draw& d) {
  if (world.large_groups.empty()) return OpResult::kNothingToDo;
  const LargeGroup& group = world.large_groups[d.r[1] % world.large_groups.size()];
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t place = place_of(world, w.cpu);
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, place)) return OpResult::kNothingToDo;
  std::vector<page_t*> pages = world.lock_group(group, SE_SHARED);
  if (pages.empty()) return OpResult::kNothingToDo;

  // A large page, unless it is broken up already, or is one page short, at an odd address, or has
  // two of its pages exchanged.
  std::vector<page_t*> array = pages;
  uintptr_t va = place + world.large_page_bytes();
  const uint64_t other = 1 + d.r[2] / 4 % (pages.size() - 2);
  const uint64_t variant = d.r[2] % 4;
  if (variant == 1) array.pop_back();
  if (variant == 2) va -= other * pagesize;
  if (variant == 3) std::swap(array[other], array.back());
  const bool large = variant == 0 && pages.front()->p_szc.load(std::memory_order_relaxed) > 0;
  const bool locked = d.r[3] % 2 == 0;
  const uint64_t bytes = array.size() * pagesize;
  // A table that a thief has yet to let go of keeps a large page out.
  htable_t* const left = large ? htable_lookup(sys, hat, va, 0) : nullptr;
  if (left != nullptr) htable_release(sys, left);
  hat_memload_array(sys, hat, va, bytes, array.data(), PROT_READ_ATTR | PROT_USER_ATTR,
                    locked ? HAT_LOAD_LOCK : HAT_LOAD);
  for (size_t i = 0; i < array.size(); ++i) {
    expect_mapped(world, "array", p, va + i * pagesize, array[i]->p_pagenum, locked);
  }
  const int64_t size = hat_getpagesize(sys, hat, va);
  const auto small = static_cast<int64_t>(pagesize);
  const auto expected = large ? static_cast<int64_t>(world.large_page_bytes()) : small;
  if (size != expected && !(left != nullptr && size == small) && !(size == -1 && !locked)) {
    report_violation(absl::StrFormat("array: va 0x%x of process %d is mapped by a page of size %d",
                                     va, p.id, size));
  }
  if (locked && d.r[3] / 2 % 2 == 0) {
    hat_unlock(sys, hat, va, bytes);
    hat_unload(sys, hat, va, bytes, HAT_UNLOAD);
  } else {
    hat_unload(sys, hat, va, bytes, locked ? HAT_UNLOAD_UNLOCK : HAT_UNLOAD);
  }
  for (size_t i = 0; i < array.size(); ++i) expect_unmapped(world, "array", p, va + i * pagesize);
  world.unlock_pages(pages);
  return OpResult::kDone;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
