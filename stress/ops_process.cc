// Operations on whole address spaces and on CPUs.
#include <cstdint>

#include "absl/strings/str_format.h"
#include "stress/op_bodies.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

Slot& pick_slot(World& world, uint64_t random) { return *world.slots[random % world.slots.size()]; }

}  // namespace

OpResult op_switch(World& world, Worker& w, const Draw& d) {
  world.enter(w, pick_slot(world, d.r[1]));
  return OpResult::kDone;
}

OpResult op_exit(World& world, Worker& w, const Draw& d) {
  Slot& slot = pick_slot(world, d.r[1]);
  world.leave(w);
  if (!world.close(slot)) return OpResult::kRetry;
  world.exit(slot);
  world.exec(slot);
  world.reopen(slot);
  return OpResult::kDone;
}

OpResult op_fork(World& world, Worker& w, const Draw& d) {
  Slot& parent = pick_slot(world, d.r[1]);
  Slot& child = pick_slot(world, d.r[2]);
  if (&parent == &child) return OpResult::kNothingToDo;
  world.leave(w);
  if (!world.close(child)) return OpResult::kRetry;
  OpResult result = OpResult::kRetry;
  // Never wait for the parent while the child is closed: two forks might wait for each other.
  if (world.visit(parent)) {
    world.exit(child);
    world.fork(child, *parent.process);
    child.program = parent.program;
    world.end_visit(parent);
    result = OpResult::kDone;
  }
  world.reopen(child);
  return result;
}

OpResult op_swapout(World& world, Worker&, const Draw& d) {
  Slot& slot = pick_slot(world, d.r[1]);
  if (!world.visit(slot)) return OpResult::kRetry;
  Process& p = *slot.process;
  {
    WriterGuard guard(p.as.a_lock);
    p.shadow.unsettle();
    hat_swapout(world.sys, p.as.a_hat);
    hat_swapin(world.sys, p.as.a_hat);
  }
  world.end_visit(slot);
  return OpResult::kDone;
}

OpResult op_attach(World& world, Worker& w, const Draw& d) {
  if (world.shared_memory.empty()) return OpResult::kNothingToDo;
  SharedMemory& shm = *world.shared_memory[d.r[1] % world.shared_memory.size()];
  Process& p = home_process(world, w, d);
  {
    WriterGuard guard(p.as.a_lock);
    seg_t seg;
    seg.s_base = shm.base;
    seg.s_size = shm.bytes;
    seg.s_prot = PROT_READ_ATTR | PROT_WRITE_ATTR;
    seg.s_vp = shm.vp;
    seg.s_type = SegType::kShared;
    p.layout_version.fetch_add(1, std::memory_order_acq_rel);
    if (!as_addseg(&p.as, seg)) return OpResult::kNothingToDo;  // attached already
    ReaderGuard holder(shm.holder->as.a_lock);
    hat_share(world.sys, p.as.a_hat, shm.base, shm.holder->as.a_hat, shm.base, shm.bytes, 0);
  }
  world.touch(
      w, shm.base + d.r[2] % (shm.bytes / world.sys.mmu().pagesize()) * world.sys.mmu().pagesize(),
      AccessKind::kWrite);
  return OpResult::kDone;
}

OpResult op_detach(World& world, Worker& w, const Draw& d) {
  if (world.shared_memory.empty()) return OpResult::kNothingToDo;
  SharedMemory& shm = *world.shared_memory[d.r[1] % world.shared_memory.size()];
  Process& p = home_process(world, w, d);
  WriterGuard guard(p.as.a_lock);
  const seg_t* seg = as_segat(&p.as, shm.base);
  if (seg == nullptr || seg->s_vp != shm.vp) return OpResult::kNothingToDo;
  p.layout_version.fetch_add(1, std::memory_order_acq_rel);
  hat_unshare(world.sys, p.as.a_hat, shm.base, shm.bytes, 0);
  as_unmap(&p.as, shm.base, shm.bytes);
  world.expect_unreachable(w.cpu, shm.base, Privilege::kUser, "hat_unshare");
  return OpResult::kDone;
}

OpResult op_window(World& world, Worker& w, const Draw& d) {
  const auto& files = world.files;
  const PageId id{files[d.r[1] % files.size()].get(), d.r[2] % 64 * world.sys.mmu().pagesize()};
  // A large page's file is left to the large-page operations.
  if (!world.large_groups.empty() && id.vp == world.large_groups.front().vp) {
    return OpResult::kNothingToDo;
  }
  if (!world.map_window(w.cpu, id)) return OpResult::kNothingToDo;
  if (d.r[3] / 64 % 8 == 0) steal_by_hand(world, /*table=*/true);
  if (d.r[3] / 64 % 8 == 1) {
    // Round through the pages, so that the thief comes by this one.
    constexpr int kHments = 32;
    for (int i = 0; i < kHments && steal_by_hand(world, /*table=*/false); ++i) continue;
  }
  world.probe_window(w.cpu);
  world.peek_window(w.cpu, w.cpu);
  world.peek_window(w.cpu, d.r[3] % world.sys.machine.ncpus());
  world.unmap_window(w.cpu);
  world.expect_unreachable(w.cpu, world.window(w.cpu), Privilege::kKernel,
                           "hat_unload of its window");
  return OpResult::kDone;
}

OpResult op_idle(World& world, Worker& w, const Draw& d) {
  const uint32_t ncpus = world.sys.machine.ncpus();
  // Something to go stale while we are away.
  world.peek_window(w.cpu, d.r[1] % ncpus);
  world.leave(w);
  tlb_going_idle(world.sys);
  yield();
  tlb_service(world.sys);
  for (uint32_t i = 0; i < 4; ++i) world.peek_window(w.cpu, (d.r[1] + i) % ncpus);
  return OpResult::kDone;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
