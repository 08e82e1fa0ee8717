// Operations on the translations of one address space.
#include <algorithm>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "stress/op_bodies.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A range inside one segment.
struct Range {
  const seg_t* seg = nullptr;
  uintptr_t va = 0;
  uint64_t pages = 0;
};

// 1 to 16 pages of a segment of p, whole large pages where the segment has them; no segment if p
// has none. a_lock held.
Range pick_any_range(World& world, Process& p, const Draw& d) {
  const seg_t* seg = world.pick_segment(p, d.r[1]);
  if (seg == nullptr) return {};
  const uint64_t pagesize = world.sys.mmu().pagesize();
  const uintptr_t va = world.pick_page(*seg, d.r[2]);
  if (seg->s_szc > 0) {
    return {seg, va - (va - seg->s_base) % world.large_page_bytes(),
            world.large_page_bytes() / pagesize};
  }
  const uint64_t left = (seg->end() - va) / pagesize;
  return {seg, va, std::min<uint64_t>(left, 1 + d.r[3] % 16)};
}

// The same, but nothing that the caller may not change: shared page tables are changed by their
// holder only.
Range pick_range(World& world, Process& p, const Draw& d) {
  const Range range = pick_any_range(world, p, d);
  return range.seg == nullptr || world.shared_memory_of(*range.seg) != nullptr ? Range{} : range;
}

AccessKind pick_kind(const seg_t& seg, uint64_t random) {
  if ((seg.s_prot & PROT_WRITE_ATTR) != 0 && random % 2 == 0) return AccessKind::kWrite;
  if ((seg.s_prot & PROT_EXEC_ATTR) != 0 && random % 4 == 1) return AccessKind::kExec;
  return AccessKind::kRead;
}

// An address of p and how to access it.
struct Target {
  bool found = false;
  uintptr_t va = 0;
  AccessKind kind = AccessKind::kRead;
};

Target pick_target(World& world, Process& p, const Draw& d) {
  ReaderGuard guard(p.as.a_lock);
  const seg_t* seg = world.pick_segment(p, d.r[1]);
  if (seg == nullptr) return {};
  return {true, world.pick_page(*seg, d.r[2]), pick_kind(*seg, d.r[3])};
}

// Asks the HAT about va and compares with the oracle. a_lock held, so the segments stand still.
void check_probe(World& world, Process& p, uintptr_t va) {
  const Expectation before = p.shadow.look(va);
  const pfn_t seen = hat_getpfnum(world.sys, p.as.a_hat, va);
  const Expectation after = p.shadow.look(va);
  const absl::Status status = world.oracle.check(va, seen, before, after);
  if (!status.ok()) {
    report_violation(absl::StrFormat("process %d: %s", p.id, status.message()));
  }
}

}  // namespace

Process& home_process(World& world, Worker& w, const Draw& d) {
  const bool stay = w.home != nullptr && d.r[0] % 8 != 0;
  if (!stay) world.enter(w, *world.slots[(d.r[0] >> 8) % world.slots.size()]);
  return *w.home->process;
}

OpResult op_fault(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  const Target target = pick_target(world, p, d);
  if (!target.found) return OpResult::kNothingToDo;
  return world.fault(p, target.va, target.kind) == FaultResult::kMapped ? OpResult::kDone
                                                                        : OpResult::kNothingToDo;
}

OpResult op_refault(World& world, Worker& w, const Draw& d) {
  const OpResult first = op_fault(world, w, d);
  if (first != OpResult::kDone) return first;
  Process& p = *w.home->process;
  const Target target = pick_target(world, p, d);
  if (!target.found) return OpResult::kNothingToDo;
  world.fault(p, target.va, AccessKind::kRead);
  return OpResult::kDone;
}

OpResult op_touch(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  const Target target = pick_target(world, p, d);
  if (!target.found) return OpResult::kNothingToDo;
  return world.touch(w, target.va, target.kind) ? OpResult::kDone : OpResult::kNothingToDo;
}

// A fault is nobody's business, but the pointers to page tables stay cached.
OpResult op_speculate(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  const Target target = pick_target(world, p, d);
  if (!target.found) return OpResult::kNothingToDo;
  // The page itself, or another one of the same table.
  const uint64_t entries = world.sys.mmu().ptes_per_table();
  const uint64_t page = target.va / world.sys.mmu().pagesize();
  const uint64_t other = d.r[3] % 2 == 0 ? page : page - page % entries + (d.r[3] >> 8) % entries;
  return world.speculate(w, other * world.sys.mmu().pagesize()) ? OpResult::kDone
                                                                : OpResult::kNothingToDo;
}

OpResult op_unload(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  ReaderGuard guard(p.as.a_lock);
  const Range range = pick_range(world, p, d);
  if (range.seg == nullptr) return OpResult::kNothingToDo;
  world.unload(p, range.va, range.pages);
  check_probe(world, p, range.va);
  return OpResult::kDone;
}

OpResult op_protect(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  // As writer: no load may give the permission back while we look.
  WriterGuard guard(p.as.a_lock);
  const Range range = pick_range(world, p, d);
  if (range.seg == nullptr) return OpResult::kNothingToDo;
  const uint64_t pagesize = world.sys.mmu().pagesize();
  const uint64_t bytes = range.pages * pagesize;
  const bool may_give = range.seg->s_type == SegType::kShared && !IS_VMODSORT(range.seg->s_vp) &&
                        (range.seg->s_prot & PROT_WRITE_ATTR) != 0;
  const bool give = may_give && d.r[3] % 3 == 0;
  for (uint64_t i = 0; i < range.pages; ++i) p.shadow.begin(range.va + i * pagesize);
  if (give) {
    hat_setattr(world.sys, p.as.a_hat, range.va, bytes, PROT_WRITE_ATTR);
  } else if (d.r[3] % 3 == 1) {
    hat_chgprot(world.sys, p.as.a_hat, range.va, bytes,
                (range.seg->s_prot & ~PROT_WRITE_ATTR) | PROT_USER_ATTR);
  } else {
    hat_clrattr(world.sys, p.as.a_hat, range.va, bytes, PROT_WRITE_ATTR);
  }
  for (uint64_t i = 0; i < range.pages; ++i) {
    p.shadow.end_protected(range.va + i * pagesize, give);
  }
  if (give) return OpResult::kDone;
  // Words past the CPUs' own are nobody's: if the write wrongly succeeds, it destroys nothing.
  const uintptr_t spare = range.va + pagesize - sizeof(uint64_t);
  const AccessResult got =
      world.sys.machine.access(w.cpu, spare, AccessKind::kWrite, Privilege::kUser, d.r[3]);
  if (world.still_reaches(w.cpu, spare, AccessKind::kWrite, Privilege::kUser, got)) {
    report_violation(absl::StrFormat(
        "invariant 30: cpu %d could write through va 0x%x of process %d (frame %d) after write "
        "permission was taken away",
        w.cpu, range.va, p.id, got.pfn));
  }
  return OpResult::kDone;
}

OpResult op_sync(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  ReaderGuard guard(p.as.a_lock);
  const Range range = pick_any_range(world, p, d);
  if (range.seg == nullptr) return OpResult::kNothingToDo;
  hat_sync(world.sys, p.as.a_hat, range.va, range.pages * world.sys.mmu().pagesize(),
           d.r[3] % 2 == 0 ? HAT_SYNC_ZERORM : HAT_SYNC_DONTZERO);
  return OpResult::kDone;
}

OpResult op_probe(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  ReaderGuard guard(p.as.a_lock);
  const Range range = pick_range(world, p, d);
  if (range.seg == nullptr) return OpResult::kNothingToDo;
  // A large page answers for each of its addresses.
  check_probe(world, p, range.va + d.r[3] % range.pages * world.sys.mmu().pagesize());
  const Expectation before = p.shadow.look(range.va);
  uint32_t attr = 0;
  const bool mapped = hat_getattr(world.sys, p.as.a_hat, range.va, &attr) == 0;
  const Expectation after = p.shadow.look(range.va);
  if (mapped && before.version == after.version && before.belief == Belief::kMapped &&
      (attr & PROT_WRITE_ATTR) != 0 && !before.writable) {
    report_violation(
        absl::StrFormat("oracle O4: va 0x%x of process %d is writable, but was loaded "
                        "read-only",
                        range.va, p.id));
  }
  hat_getpagesize(world.sys, p.as.a_hat, range.va);
  return OpResult::kDone;
}

OpResult op_lock(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  // As writer: an unload by somebody else would have to undo our lock.
  WriterGuard guard(p.as.a_lock);
  const Range range = pick_range(world, p, d);
  if (range.seg == nullptr || range.seg->s_type != SegType::kShared || range.seg->s_szc > 0) {
    return OpResult::kNothingToDo;
  }
  System& sys = world.sys;
  page_t* pp = nullptr;
  if (vop_getpage(sys.vm, range.seg->s_vp, range.seg->offset_of(range.va), S_READ, &pp) != 0) {
    return OpResult::kNothingToDo;
  }
  const uint32_t prot = PROT_READ_ATTR | PROT_USER_ATTR;
  const uint64_t epoch = world.oracle.unload_epoch(pp->p_pagenum);
  p.shadow.begin(range.va);
  hat_memload(sys, p.as.a_hat, range.va, pp, prot, HAT_LOAD_LOCK);
  p.shadow.end_mapped(range.va, pp->p_pagenum, false, epoch);
  if (d.r[3] % 4 < 2) steal_by_hand(world, /*table=*/d.r[3] % 8 < 4);
  // The page is held and its table is locked: neither pageunload nor a stealer may take it.
  const pfn_t seen = hat_getpfnum(sys, p.as.a_hat, range.va);
  if (seen != pp->p_pagenum) {
    report_violation(absl::StrFormat(
        "invariant 22: va 0x%x of process %d was loaded locked with frame %d, but the HAT maps %d",
        range.va, p.id, pp->p_pagenum, static_cast<int64_t>(seen)));
  }
  if (d.r[3] % 2 == 0) {
    hat_unlock(sys, p.as.a_hat, range.va, sys.mmu().pagesize());
  } else {
    p.shadow.begin(range.va);
    hat_unload(sys, p.as.a_hat, range.va, sys.mmu().pagesize(), HAT_UNLOAD_UNLOCK);
    p.shadow.end_unmapped(range.va);
  }
  page_unlock(sys.vm, pp);
  return OpResult::kDone;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
