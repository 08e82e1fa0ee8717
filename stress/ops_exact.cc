// Operations at a CPU's own place (place.h) that know exactly what one call must do, and leave the
// place empty.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_format.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/htable.h"
#include "hat/htable_walk.h"
#include "stress/op_bodies.h"
#include "stress/place.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kChangeable = PROT_WRITE_ATTR | PROT_EXEC_ATTR | HAT_NOSYNC;
constexpr uint32_t kRead = PROT_READ_ATTR | PROT_USER_ATTR;

// The page of some file that tells nobody of writes, locked SHARED; or null.
page_t* get_page(World& world, const Draw& d) {
  vnode_t* const vp = world.files[d.r[2] % world.files.size()].get();
  const bool large = !world.large_groups.empty() && vp == world.large_groups.front().vp;
  if (IS_VMODSORT(vp) || large) return nullptr;
  page_t* pp = nullptr;
  const uint64_t off = (d.r[2] >> 32) % 64 * world.sys.mmu().pagesize();
  return vop_getpage(world.sys.vm, vp, off, S_READ, &pp) == 0 ? pp : nullptr;
}

// One of the calls that change attributes, and what becomes of `attr`.
uint32_t change_attr(System& sys, hat_t* hat, uintptr_t va, uint32_t attr, uint64_t random) {
  const uint64_t len = sys.mmu().pagesize();
  const uint32_t named = static_cast<uint32_t>(random >> 2) & kChangeable;
  switch (random % 4) {
    case 0:
      hat_setattr(sys, hat, va, len, named);
      return attr | named;
    case 1:
      hat_clrattr(sys, hat, va, len, named);
      return attr & ~named;
    case 2:
      hat_chgattr(sys, hat, va, len, kRead | named);
      return (attr & ~kChangeable) | named;
    default:
      hat_chgprot(sys, hat, va, len, kRead | named);
      return (attr & (kRead | HAT_NOSYNC)) | (named & ~HAT_NOSYNC);
  }
}

// The last word of the page at va, which is nobody's.
uintptr_t spare_word(const System& sys, uintptr_t va) {
  return va + sys.mmu().pagesize() - sizeof(uint64_t);
}

// What the processor lets pass is what the attributes say. A write would go unnoticed through a
// mapping that is not synced.
void expect_access(World& world, const Worker& w, uintptr_t va, uint32_t attr) {
  const uintptr_t spare = spare_word(world.sys, va);
  const auto check = [&](AccessKind kind, bool expected, const char* what) {
    const bool ok = world.sys.machine.access(w.cpu, spare, kind, Privilege::kUser, w.cpu).ok;
    if (ok == expected) return;
    report_violation(absl::StrFormat("attrs: cpu %d %s %s va 0x%x, whose attributes are 0x%x",
                                     w.cpu, ok ? "may" : "may not", what, va, attr));
  };
  const bool may_write = (attr & PROT_WRITE_ATTR) != 0;
  check(AccessKind::kExec, (attr & PROT_EXEC_ATTR) != 0, "execute");
  if (!may_write || (attr & HAT_NOSYNC) == 0) check(AccessKind::kWrite, may_write, "write");
}

}  // namespace

OpResult op_attrs(World& world, Worker& w, const Draw& d) {
  constexpr int kPages = 3, kChanges = 4;
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t va = place_of(world, w.cpu) + d.r[1] % 64 * pagesize;
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, place_of(world, w.cpu))) return OpResult::kNothingToDo;
  page_t* const pp = get_page(world, d);
  if (pp == nullptr) return OpResult::kNothingToDo;
  // Now and then the space becomes one that others may share.
  const uint32_t share = d.r[3] >> 32 & 15 ? 0 : HAT_LOAD_SHARE;
  uint32_t attrs[kPages];
  for (int i = 0; i < kPages; ++i) {
    attrs[i] = kRead | (static_cast<uint32_t>(d.r[3] >> 8 * i) & kChangeable);
    hat_memload(sys, hat, va + i * pagesize, pp, attrs[i], HAT_LOAD_LOCK | share);
  }
  for (int change = 0; change < kChanges; ++change) {
    attrs[1] = change_attr(sys, hat, va + pagesize, attrs[1], d.r[1] >> (8 + 8 * change));
    for (int i = 0; i < kPages; ++i) {
      uint32_t seen = 0;
      const bool mapped = hat_getattr(sys, hat, va + i * pagesize, &seen) == 0;
      if (mapped && seen == attrs[i]) continue;
      report_violation(
          absl::StrFormat("attrs: va 0x%x of process %d has attributes 0x%x, expected 0x%x (%s)",
                          va + i * pagesize, p.id, seen, attrs[i], mapped ? "mapped" : "unmapped"));
    }
    expect_access(world, w, va + pagesize, attrs[1]);
  }
  hat_unload(sys, hat, va, kPages * pagesize, HAT_UNLOAD_UNLOCK);
  for (int i = 0; i < kPages; ++i) expect_unmapped(world, "attrs", p, va + i * pagesize);
  page_unlock(sys.vm, pp);
  return OpResult::kDone;
}

namespace {

// At the page at va, which was loaded locked.
void access_spare(World& world, const Worker& w, uintptr_t va, AccessKind kind) {
  const uintptr_t spare = spare_word(world.sys, va);
  if (world.sys.machine.access(w.cpu, spare, kind, Privilege::kUser, w.cpu).ok) return;
  report_violation(
      absl::StrFormat("bits: cpu %d has no access to va 0x%x, which was loaded locked", w.cpu, va));
}

// Nothing is known of the page any more, but what its mappings still have.
void forget_bits(page_t* pp) {
  pp->p_nrm.fetch_and(uint8_t(~(P_REF | P_MOD)), std::memory_order_relaxed);
}

void expect_bits(const page_t* pp, uint32_t seen, uint32_t wanted, const char* after) {
  seen &= P_REF | P_MOD;
  if (seen == wanted) return;
  report_violation(absl::StrFormat("bits: after %s page %d has 0x%x, expected 0x%x of REF and MOD",
                                   after, pp->p_pagenum, seen, wanted));
}

// A page that nobody else maps or can lock, mapped a few times at the calling CPU's place.
class Alone {
 public:
  Alone(World& world, Process& p, const Worker& w, page_t* pp, uintptr_t va, int count)
      : world_(world), p_(p), w_(w), pp_(pp), va_(va), count_(count) {}

  uintptr_t at(int i) const { return va_ + i * sys_.mmu().pagesize(); }

  // nosync: a mask of the mappings whose REF and MOD do not matter.
  void load(uint32_t nosync) {
    for (int i = 0; i < count_; ++i) {
      const uint32_t attr = (nosync >> i & 1) != 0 ? HAT_NOSYNC : 0;
      hat_memload(sys_, p_.as.a_hat, at(i), pp_, kRead | PROT_WRITE_ATTR | attr, HAT_LOAD_LOCK);
    }
  }

  void unload() {
    hat_unload(sys_, p_.as.a_hat, va_, count_ * sys_.mmu().pagesize(), HAT_UNLOAD_UNLOCK);
  }

  void access(int i, AccessKind kind) { access_spare(world_, w_, at(i), kind); }

  // Entries that are not synced keep both bits.
  void expect_entries(uint32_t nosync) const {
    for (int i = 0; i < count_; ++i) {
      uint32_t entry = 0;
      x86pte_t pte = 0;
      htable_t* const ht = htable_getpte(sys_, p_.as.a_hat, at(i), &entry, &pte, 0);
      if (ht != nullptr) htable_release(sys_, ht);
      const bool both = (pte & (PT_REF | PT_MOD)) == (PT_REF | PT_MOD);
      if (ht != nullptr && ((nosync >> i & 1) == 0 || both)) continue;
      report_violation(absl::StrFormat(
          "bits: va 0x%x of process %d, not to be synced, has the entry 0x%x", at(i), p_.id, pte));
    }
  }

 private:
  World& world_;
  System& sys_ = world_.sys;
  Process& p_;
  const Worker& w_;
  page_t* const pp_;
  const uintptr_t va_;
  const int count_;
};

}  // namespace

OpResult op_bits(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t va = place_of(world, w.cpu) + d.r[1] % 64 * pagesize;
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, place_of(world, w.cpu))) return OpResult::kNothingToDo;
  page_t* const pp = get_page(world, d);
  if (pp == nullptr) return OpResult::kNothingToDo;
  if (!page_tryupgrade(sys.vm, pp)) {
    page_unlock(sys.vm, pp);
    return OpResult::kRetry;
  }
  sys.vm.mapping_ops().hat_pageunload(pp);

  // As many mappings as a page may have and not count as shared by many, or one less or more.
  const int count =
      d.r[3] % 2 == 0 ? 1 + static_cast<int>(d.r[3] / 2 % 3) : 7 + static_cast<int>(d.r[3] / 2 % 3);
  const int one = 0, other = count - 1;
  // The first one and the last one are synced.
  uint32_t nosync = static_cast<uint32_t>(d.r[1] >> 16) & ((1u << other) - 1) & ~1u;
  Alone alone(world, p, w, pp, va, count);
  alone.load(nosync);
  forget_bits(pp);
  expect_bits(pp, hat_pagesync(sys, pp, HAT_SYNC_DONTZERO), 0, "no access");
  alone.access(one, AccessKind::kRead);
  expect_bits(pp, hat_pagesync(sys, pp, HAT_SYNC_STOPON_REF), P_REF, "a read");
  alone.access(other, AccessKind::kWrite);
  if (d.r[3] / 8 % 2 == 0) {
    expect_bits(pp, hat_pagesync(sys, pp, HAT_SYNC_STOPON_MOD), P_REF | P_MOD, "a write");
  } else if (count <= 8) {
    expect_bits(pp, hat_pagesync(sys, pp, HAT_SYNC_STOPON_SHARED), P_REF | P_MOD, "a write");
  }
  hat_pagesync(sys, pp, HAT_SYNC_ZERORM | (d.r[3] / 16 % 2 == 0 ? HAT_SYNC_STOPON_RM : 0));
  expect_bits(pp, hat_page_getattr(pp, P_REF | P_MOD), P_REF | P_MOD, "hat_pagesync that clears");
  alone.expect_entries(nosync);
  forget_bits(pp);
  expect_bits(pp, hat_pagesync(sys, pp, HAT_SYNC_DONTZERO), 0, "all was collected");

  // What a write leaves in an entry reaches the page in whatever way the entry goes.
  alone.access(other, AccessKind::kWrite);
  const uint64_t len = count * pagesize;
  switch (d.r[3] / 32 % 5) {
    case 0:
      hat_sync(sys, p.as.a_hat, va, len, HAT_SYNC_ZERORM);
      break;
    case 1:
      hat_sync(sys, p.as.a_hat, va, len, HAT_SYNC_DONTZERO);
      break;
    case 2:
      hat_setattr(sys, p.as.a_hat, va, len, HAT_NOSYNC);
      nosync = ~0u;
      alone.expect_entries(nosync);
      break;
    case 3:
      hat_clrattr(sys, p.as.a_hat, va, len, PROT_WRITE_ATTR);
      hat_sync(sys, p.as.a_hat, va, len, HAT_SYNC_DONTZERO);
      break;
    default:
      break;
  }
  alone.unload();
  expect_bits(pp, hat_page_getattr(pp, P_REF | P_MOD), P_REF | P_MOD, "a write and hat_unload");
  if (hat_page_getshare(sys, pp) != 0) {
    report_violation(absl::StrFormat("bits: page %d has %d mappings, and all were unloaded",
                                     pp->p_pagenum, hat_page_getshare(sys, pp)));
  }
  page_unlock(sys.vm, pp);
  return OpResult::kDone;
}

OpResult op_large_bits(World& world, Worker& w, const Draw& d) {
  if (world.large_groups.empty()) return OpResult::kNothingToDo;
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize();
  const uintptr_t va = place_of(world, w.cpu) + world.large_page_bytes();
  ReaderGuard guard(p.as.a_lock);
  if (is_taken(world, p, place_of(world, w.cpu))) return OpResult::kNothingToDo;
  const LargeGroup& group = world.large_groups[d.r[1] % world.large_groups.size()];
  std::vector<page_t*> pages = world.lock_group(group, SE_EXCL);
  if (pages.empty()) return OpResult::kNothingToDo;
  world.unload_group(pages, /*demote=*/false);
  page_t* const leader = pages.front();
  page_t* const one = pages[1 + d.r[2] % (pages.size() - 1)];
  const auto forget = [&pages] { std::for_each(pages.begin(), pages.end(), forget_bits); };

  const uint32_t prot = kRead | PROT_WRITE_ATTR;
  const uintptr_t small_va = va - pagesize;
  hat_memload(sys, hat, small_va, leader, prot, HAT_LOAD_LOCK);
  hat_memload_array(sys, hat, va, pages.size() * pagesize, pages.data(), prot, HAT_LOAD_LOCK);
  // Else they are no large page any more, or a table is in the way, and each has a mapping.
  const bool as_one = hat_getpagesize(sys, hat, va) > static_cast<int64_t>(pagesize);
  forget();

  access_spare(world, w, small_va, AccessKind::kWrite);
  expect_bits(one, hat_pagesync(sys, one, HAT_SYNC_DONTZERO), 0, "a write to the first page alone");
  expect_bits(leader, hat_page_getattr(leader, P_REF | P_MOD), 0,
              "collecting those of another page");
  expect_bits(leader, hat_pagesync(sys, leader, HAT_SYNC_ZERORM), P_REF | P_MOD, "a write to it");
  forget();
  const uintptr_t touched = va + d.r[3] % pages.size() * pagesize;
  access_spare(world, w, touched, AccessKind::kWrite);
  if (as_one) {
    expect_bits(one, hat_pagesync(sys, one, HAT_SYNC_DONTZERO), P_REF | P_MOD,
                "a write to any of them");
  }
  hat_unload(sys, hat, small_va, pagesize, HAT_UNLOAD_UNLOCK);
  hat_unload(sys, hat, va, pages.size() * pagesize, HAT_UNLOAD_UNLOCK);
  for (page_t* pp : pages) {
    const bool written = as_one || pp == pages[(touched - va) / pagesize];
    if (written) expect_bits(pp, hat_page_getattr(pp, P_REF | P_MOD), P_REF | P_MOD, "hat_unload");
    if (hat_page_getshare(sys, pp) != 0) {
      report_violation(absl::StrFormat("bits: page %d has %d mappings, and all were unloaded",
                                       pp->p_pagenum, hat_page_getshare(sys, pp)));
    }
    // What it had been told before is forgotten, and may have been that it is modified.
    hat_page_setattr(sys, pp, P_REF | P_MOD);
  }
  world.unlock_pages(pages);
  return OpResult::kDone;
}

OpResult op_keep(World& world, Worker& w, const Draw& d) {
  if (world.large_groups.empty()) return OpResult::kNothingToDo;
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize(), large = world.large_page_bytes();
  const uintptr_t place = place_of(world, w.cpu);
  WriterGuard guard(p.as.a_lock);
  if (is_taken(world, p, place)) return OpResult::kNothingToDo;
  const LargeGroup& group = world.large_groups[d.r[1] % world.large_groups.size()];
  const std::vector<page_t*> pages = world.lock_group(group, SE_SHARED);
  if (pages.empty()) return OpResult::kNothingToDo;
  page_t* const small = pages.front();
  std::vector<page_t*> array = pages;

  // A large page, or small ones, between two small pages that are not locked.
  if (d.r[2] % 2 == 0) array.resize(1 + d.r[3] % 4);
  const uintptr_t va = place + large;
  hat_memload_array(sys, hat, va, array.size() * pagesize, array.data(), kRead, HAT_LOAD_LOCK);
  hat_memload(sys, hat, va - pagesize, small, kRead, HAT_LOAD);
  hat_memload(sys, hat, va + large, small, kRead, HAT_LOAD);
  p.shadow.unsettle();
  hat_swapout(sys, hat);
  for (size_t i = 0; i < array.size(); ++i) {
    expect_mapped(world, "keep", p, va + i * pagesize, array[i]->p_pagenum, /*locked=*/true);
  }
  expect_unmapped(world, "keep", p, va - pagesize);
  expect_unmapped(world, "keep", p, va + large);
  hat_swapin(sys, hat);
  hat_unload(sys, hat, va, array.size() * pagesize, HAT_UNLOAD_UNLOCK);
  for (size_t i = 0; i < array.size(); ++i) expect_unmapped(world, "keep", p, va + i * pagesize);
  world.unlock_pages(pages);
  return OpResult::kDone;
}

OpResult op_graft(World& world, Worker& w, const Draw& d) {
  if (world.shared_memory.empty()) return OpResult::kNothingToDo;
  SharedMemory& shm = *world.shared_memory[d.r[1] % world.shared_memory.size()];
  Process& p = home_process(world, w, d);
  System& sys = world.sys;
  hat_t* const hat = p.as.a_hat;
  const uint64_t pagesize = sys.mmu().pagesize(), large = world.large_page_bytes();
  const uintptr_t place = place_of(world, w.cpu);
  WriterGuard guard(p.as.a_lock);
  if (is_taken(world, p, place)) return OpResult::kNothingToDo;

  // All of it, or some; where tables can be shared, or one page off.
  const uint64_t pages = shm.bytes / pagesize;
  const uint64_t first = d.r[2] % 2 == 0 ? 0 : d.r[2] / 2 % (pages / 2);
  const uint64_t count = d.r[3] % 2 == 0 ? pages - first : 1 + d.r[3] / 2 % (pages - first);
  const uintptr_t source = shm.base + first * pagesize;
  const uintptr_t va = place + source % large + ((d.r[1] >> 8) % 4 == 0 ? pagesize : 0);
  const uint64_t room = (place + 3 * large - va) / pagesize;
  const uint64_t len = std::min(count, room) * pagesize;

  // Something of our own in the way, most often not.
  std::vector<page_t*> own;
  const uintptr_t own_va = place + large;
  uint64_t own_pages = 0;
  if (!world.large_groups.empty() && (d.r[1] >> 16) % 4 == 0) {
    own =
        world.lock_group(world.large_groups[(d.r[1] >> 24) % world.large_groups.size()], SE_SHARED);
    own_pages = own.empty() ? 0 : (d.r[1] >> 20) % 2 == 0 ? own.size() : 1;
  }
  if (own_pages != 0) {
    hat_memload_array(sys, hat, own_va, own_pages * pagesize, own.data(), kRead, HAT_LOAD_LOCK);
  }
  {
    ReaderGuard holder(shm.holder->as.a_lock);
    hat_share(sys, hat, va, shm.holder->as.a_hat, source, len, 0);
  }
  const auto is_own = [&](uintptr_t at) {
    return at >= own_va && at < own_va + own_pages * pagesize;
  };
  // What the source maps is there or is to be faulted in, but nothing else is.
  constexpr int kLooks = 3;
  const uint64_t step = pagesize * (1 + d.r[3] % 61);
  for (uintptr_t at = va; at < va + len; at += step) {
    if (is_own(at)) continue;
    const uintptr_t from = source + (at - va);
    for (int look = 0;; ++look) {
      const pfn_t before = hat_getpfnum(sys, shm.holder->as.a_hat, from);
      const pfn_t seen = hat_getpfnum(sys, hat, at);
      const pfn_t after = hat_getpfnum(sys, shm.holder->as.a_hat, from);
      if (seen == PFN_INVALID || seen == after || before != after) break;
      if (look < kLooks) continue;
      if (after == PFN_INVALID) break;  // on its way out
      report_violation(absl::StrFormat(
          "graft: va 0x%x of process %d maps frame %d, but the memory it shares at 0x%x has %d", at,
          p.id, seen, from, static_cast<int64_t>(after)));
    }
  }
  for (uint64_t i = 0; i < own_pages; ++i) {
    expect_mapped(world, "graft", p, own_va + i * pagesize, own[i]->p_pagenum, /*locked=*/true);
  }
  if (own_pages != 0) hat_unload(sys, hat, own_va, own_pages * pagesize, HAT_UNLOAD_UNLOCK);
  world.unlock_pages(own);
  hat_unshare(sys, hat, va, len, 0);
  for (uintptr_t at = va; at < va + len; at += step) {
    if (!is_own(at)) expect_unmapped(world, "graft", p, at);
  }
  world.expect_unreachable(w.cpu, va, Privilege::kUser, "hat_unshare");
  return OpResult::kDone;
}

OpResult op_resv(World& world, Worker& w, const Draw& d) {
  System& sys = world.sys;
  // Two fit beside each other, three do not. Who waits keeps nobody from going on.
  const int64_t pages = static_cast<int64_t>(sys.vm.npages * 2 / 5);
  world.leave(w);
  const KmFlag flag = d.r[1] % 2 == 0 ? KmFlag::kSleep : KmFlag::kNoSleep;
  if (page_resv(sys.vm, pages, flag) == 0) return OpResult::kRetry;
  const int64_t left = availrmem(sys.vm);
  if (left < sys.vm.config.t_minarmem) {
    report_violation(absl::StrFormat("page_resv left %d pages, at least %d are to be left", left,
                                     sys.vm.config.t_minarmem));
  }
  yield();
  page_unresv(sys.vm, pages);
  return OpResult::kDone;
}

OpResult op_mempte(World& world, Worker& w, const Draw&) {
  System& sys = world.sys;
  // Behind the kernel's windows; a table for each CPU.
  const uint64_t large = world.large_page_bytes();
  const uintptr_t va = (sys.heap_eaddr / large + 1 + w.cpu) * large;
  const int depth = sys.me().t_hatdepth();
  const MemPte entry = hat_mempte_setup(sys, va);
  htable_t* const found = htable_lookup(sys, sys.kas_hat(), va, 0);
  if (found != entry.ht) {
    report_violation(absl::StrFormat("mempte: nothing keeps the table of va 0x%x", va));
  }
  htable_release(sys, found);
  hat_mempte_release(sys, va, entry);
  if (sys.me().t_hatdepth() != depth) {
    report_violation(absl::StrFormat("invariant 58: cpu %d: t_hatdepth %d after hat_mempte_setup",
                                     w.cpu, sys.me().t_hatdepth()));
  }
  return OpResult::kDone;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
