#include "stress/world.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "stress/segmap_world.h"
#include "stress/sparse_backing.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

void report_violation(const std::string& message, Where where) { panic(message, where); }

// Tells the oracle about every hat_pageunload that the page layer or an operation asks for.
class World::UnloadWatch final : public PageMappingOps {
 public:
  UnloadWatch(Vm& vm, Oracle& oracle, PageMappingOps& hat) : vm_(vm), oracle_(oracle), hat_(hat) {}

  uint32_t hment_mapcnt(page_t* pp) override { return hat_.hment_mapcnt(pp); }
  void hat_pageunload(page_t* pp) override {
    const page_t* const root = PP_PAGEROOT(vm_, pp);
    const uint64_t count = page_get_pagecnt(vm_, pp->p_szc.load(std::memory_order_relaxed));
    for (uint64_t i = 0; i < count; ++i) {
      if (root + i != pp) oracle_.constituent_unload(root[i].p_pagenum);
    }
    oracle_.page_unload_begin(pp->p_pagenum);
    hat_.hat_pageunload(pp);
    oracle_.page_unload_end(pp->p_pagenum);
  }
  uint32_t hat_pagesync(page_t* pp, uint32_t flags) override {
    return hat_.hat_pagesync(pp, flags);
  }
  void hat_page_setattr(page_t* pp, uint32_t bits) override { hat_.hat_page_setattr(pp, bits); }
  void hat_page_clrattr(page_t* pp, uint32_t bits) override { hat_.hat_page_clrattr(pp, bits); }

 private:
  Vm& vm_;
  Oracle& oracle_;
  PageMappingOps& hat_;
};

World::World(System& sys_in, uint32_t focus)
    : sys(sys_in),
      oracle(sys_in),
      watch_(std::make_unique<UnloadWatch>(sys_in.vm, oracle, *sys_in.page_ops)),
      focus_(focus),
      promised_(promised_pages()) {
  sys.vm.set_mapping_ops(watch_.get());
  kernel_shadow.never_stolen_from();
  pageout_hand_ = page_first(sys.vm);
}

World::~World() {
  segmap.reset();
  for (auto& slot : slots) {
    if (slot->process != nullptr) exit(*slot);
  }
  for (auto& shm : shared_memory) {
    Process& holder = *shm->holder;
    WriterGuard guard(holder.as.a_lock);
    hat_free_start(sys, holder.as.a_hat);
    hat_unload(sys, holder.as.a_hat, shm->base, shm->bytes, HAT_UNLOAD_UNMAP);
    hat_free_end(sys, holder.as.a_hat);
  }
  for (const LargeGroup& group : large_groups) {
    for (uint64_t at = 0; at < large_page_bytes(); at += sys.mmu().pagesize()) {
      page_t* pp = page_lookup(sys.vm, group.vp, group.off + at, SE_EXCL);
      if (pp == nullptr) continue;
      // A group that was never broken up goes as one; its leader is the first page found.
      if (pp->p_szc.load(std::memory_order_relaxed) == 0) {
        page_destroy(sys.vm, pp, 0);
        continue;
      }
      for (uint64_t rest = sys.mmu().pagesize(); rest < large_page_bytes();
           rest += sys.mmu().pagesize()) {
        page_lookup(sys.vm, group.vp, group.off + rest, SE_EXCL);
      }
      page_destroy_pages(sys.vm, pp);
      break;
    }
  }
  for (auto& file : files) vn_recycle(sys.vm, file.get());
  for (auto& shm : shared_memory) shm->holder.reset();
  sys.vm.set_mapping_ops(sys.page_ops.get());
}

vnode_t* World::add_file(const std::string& name, bool vmodsort) {
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  files.push_back(
      std::make_unique<vnode_t>(name, id, vmodsort ? VMODSORT : 0,
                                std::make_unique<SparseBacking>(id, sys.mmu().pagesize())));
  return files.back().get();
}

const ProcessTemplate* World::add_program(ProcessTemplate program) {
  programs.push_back(std::make_unique<ProcessTemplate>(std::move(program)));
  return programs.back().get();
}

void World::add_slot(const ProcessTemplate* program) {
  slots.push_back(std::make_unique<Slot>());
  slots.back()->program = program;
  exec(*slots.back());
}

void World::add_large_groups(uint32_t count) {
  if (sys.mmu().max_page_level < 1) return;
  vnode_t* vp = add_file("large", false);
  for (uint32_t i = 0; i < count; ++i) {
    const LargeGroup group{vp, i * large_page_bytes()};
    if (!build_group(group)) return;
    large_groups.push_back(group);
  }
}

void World::add_shared_memory(uint64_t bytes) {
  auto shm = std::make_unique<SharedMemory>();
  shm->vp = add_file(absl::StrCat("shm", shared_memory.size()), false);
  shm->bytes = bytes;
  shm->base = uintptr_t{0x500000000000} + shared_memory.size() * (uintptr_t{1} << 30);
  shm->holder = new_process();
  Process& holder = *shm->holder;
  WriterGuard guard(holder.as.a_lock);
  holder.as.a_hat = hat_alloc(sys, &holder.as);
  holder.shadow.never_stolen_from();
  for (uint64_t at = 0; at < bytes; at += sys.mmu().pagesize()) {
    load(holder, shm->base + at, {shm->vp, at}, AccessKind::kWrite,
         PROT_READ_ATTR | PROT_WRITE_ATTR, HAT_LOAD_SHARE);
  }
  shared_memory.push_back(std::move(shm));
}

// ---- Being in a process.

bool World::visit(Slot& slot) {
  MutexGuard guard(slot.mutex);
  if (slot.closing.load(std::memory_order_relaxed)) return false;
  slot.residents = slot.residents() + 1;
  return true;
}

void World::end_visit(Slot& slot) {
  MutexGuard guard(slot.mutex);
  slot.residents = slot.residents() - 1;
  if (slot.residents() == 0) slot.cv.broadcast();
}

void World::enter(Worker& w, Slot& slot) {
  if (w.home == &slot) return;
  leave(w);
  {
    MutexGuard guard(slot.mutex);
    while (slot.closing.load(std::memory_order_relaxed)) slot.cv.wait(slot.mutex);
    slot.residents = slot.residents() + 1;
  }
  w.home = &slot;
  hat_setup(sys, slot.process->as.a_hat);
}

void World::leave(Worker& w) {
  if (w.home == nullptr) return;
  hat_thread_exit(sys);
  end_visit(*w.home);
  w.home = nullptr;
}

void World::leave_if_closing(Worker& w) {
  if (w.home != nullptr && w.home->closing.load(std::memory_order_relaxed)) leave(w);
}

bool World::close(Slot& slot) {
  MutexGuard guard(slot.mutex);
  if (slot.closing.load(std::memory_order_relaxed)) return false;
  slot.closing.store(true, std::memory_order_relaxed);
  while (slot.residents() > 0) slot.cv.wait(slot.mutex);
  return true;
}

void World::reopen(Slot& slot) {
  MutexGuard guard(slot.mutex);
  slot.closing.store(false, std::memory_order_relaxed);
  slot.cv.broadcast();
}

// ---- Life of a process.

std::unique_ptr<Process> World::new_process() {
  auto p = std::make_unique<Process>(sys, oracle, next_id_.fetch_add(1, std::memory_order_relaxed));
  p->anon = std::make_shared<AnonVnode>(sys.vm, p->id);
  return p;
}

void World::exec(Slot& slot) {
  slot.process = new_process();
  Process& p = *slot.process;
  WriterGuard guard(p.as.a_lock);
  p.as.a_hat = hat_alloc(sys, &p.as);
  for (const seg_t& seg : slot.program->segments) as_addseg(&p.as, seg);
}

void World::exit(Slot& slot) {
  Process& p = *slot.process;
  {
    WriterGuard guard(p.as.a_lock);
    hat_t* hat = p.as.a_hat;
    hat_free_start(sys, hat);
    for (const auto& [base, seg] : p.as.a_segments) {
      if (shared_memory_of(seg) != nullptr) {
        hat_unshare(sys, hat, base, seg.s_size, 0);
      } else {
        hat_unload(sys, hat, base, seg.s_size, HAT_UNLOAD_UNMAP);
      }
    }
    hat_free_end(sys, hat);
    p.as.a_hat = nullptr;
    p.as.a_segments.clear();
  }
  slot.process.reset();
}

void World::fork(Slot& slot, Process& parent) {
  slot.process = new_process();
  Process& child = *slot.process;
  WriterGuard child_guard(child.as.a_lock);
  child.as.a_hat = hat_alloc(sys, &child.as);
  WriterGuard parent_guard(parent.as.a_lock);
  for (const auto& [base, seg] : parent.as.a_segments) {
    if (shared_memory_of(seg) == nullptr) as_addseg(&child.as, seg);
  }
  inherit(child, parent);
}

// Private pages become common property: both sides lose write permission and copy when they write.
// The child gets translations for what the parent has mapped, up to a bound, as a fork that expects
// to run would load them.
void World::inherit(Process& child, Process& parent) {
  constexpr size_t kMostCopied = 64;
  parent.layout_version.fetch_add(1, std::memory_order_acq_rel);
  for (size_t i = 0; i < Process::kStripes; ++i) {
    Process::AnonStripe& from = parent.anon_stripes[i];
    MutexGuard guard(from.mutex);
    for (auto& [va, ref] : from.refs) ref.shared = true;
    child.anon_stripes[i].refs = from.refs;
  }
  std::vector<uintptr_t> mapped;
  parent.shadow.for_each([&](uintptr_t va, const Expectation&) { mapped.push_back(va); });
  size_t copied = 0;
  for (const uintptr_t va : mapped) {
    const seg_t* seg = as_segat(&parent.as, va);
    if (seg == nullptr || shared_memory_of(*seg) != nullptr) continue;
    if (seg->s_type == SegType::kPrivate) {
      parent.shadow.begin(va);
      hat_clrattr(sys, parent.as.a_hat, va, sys.mmu().pagesize(), PROT_WRITE_ATTR);
      parent.shadow.end_protected(va, false);
    }
    if (copied == kMostCopied || seg->s_szc > 0) continue;
    const View shown = view(parent, va);
    const uint32_t prot =
        seg->s_type == SegType::kPrivate ? seg->s_prot & ~PROT_WRITE_ATTR : seg->s_prot;
    if (shown.id.vp != nullptr &&
        load(child, va, shown.id, AccessKind::kRead, prot, HAT_LOAD) == FaultResult::kMapped) {
      ++copied;
    }
  }
}

// ---- Memory of a process.

SharedMemory* World::shared_memory_of(const seg_t& seg) {
  for (auto& shm : shared_memory) {
    if (shm->vp == seg.s_vp) return shm.get();
  }
  return nullptr;
}

const seg_t* World::pick_segment(Process& p, uint64_t random) {
  if (p.as.a_segments.empty()) return nullptr;
  uint64_t segments = p.as.a_segments.size();
  const bool near = random % 8 != 0;
  if (near && segments > focus_) segments = focus_;
  auto it = p.as.a_segments.begin();
  std::advance(it, (random >> 8) % segments);
  return &it->second;
}

uintptr_t World::pick_page(const seg_t& seg, uint64_t random) const {
  const uint64_t pagesize = sys.mmu().pagesize();
  uint64_t pages = seg.s_size / pagesize;
  const bool near = random % 8 != 0;
  if (near && pages > focus_) pages = focus_;
  return seg.s_base + (random >> 8) % pages * pagesize;
}

World::View World::view(Process& p, uintptr_t va) {
  const seg_t* seg = as_segat(&p.as, va);
  if (seg == nullptr) return {{}, &p.shadow};
  if (SharedMemory* shm = shared_memory_of(*seg)) {
    return {{shm->vp, va - shm->base}, &shm->holder->shadow};
  }
  if (seg->s_type == SegType::kPrivate) {
    Process::AnonStripe& stripe = p.anon_stripe(va);
    MutexGuard guard(stripe.mutex);
    const auto it = stripe.refs.find(va);
    if (it != stripe.refs.end()) {
      return {{&it->second.owner->vnode, it->second.offset}, &p.shadow};
    }
  }
  return {{seg->s_vp, seg->s_vp == nullptr ? 0 : seg->offset_of(va)}, &p.shadow};
}

FaultResult World::load(Process& p, uintptr_t va, PageId id, AccessKind kind, uint32_t prot,
                        uint32_t flags) {
  const bool write = kind == AccessKind::kWrite;
  page_t* pp = nullptr;
  if (vop_getpage(sys.vm, id.vp, id.off, write ? S_WRITE : S_READ, &pp) != 0) {
    return FaultResult::kError;
  }
  // A page of a VMODSORT vnode is written only after it has been marked modified, so a read maps it
  // read-only. The I/O lock keeps a write-back from clearing the mark before the page is mapped.
  const bool marks = write && IS_VMODSORT(id.vp);
  if (marks) {
    page_io_lock(sys.vm, pp);
    hat_page_setattr(sys, pp, P_MOD | P_REF);
  } else if (IS_VMODSORT(id.vp)) {
    prot &= ~PROT_WRITE_ATTR;
  }
  const uint64_t epoch = oracle.unload_epoch(pp->p_pagenum);
  p.shadow.begin(va);
  hat_memload(sys, p.as.a_hat, va, pp, prot | PROT_USER_ATTR, flags);
  if (marks) page_io_unlock(sys.vm, pp);
  p.shadow.end_mapped(va, pp->p_pagenum, (prot & PROT_WRITE_ATTR) != 0, epoch);
  page_unlock(sys.vm, pp);
  return FaultResult::kMapped;
}

PageId World::private_page(Process& p, const seg_t& seg, uintptr_t va, AccessKind kind,
                           bool* may_write, AnonRef* dropped) {
  Process::AnonStripe& stripe = p.anon_stripe(va);
  const bool write = kind == AccessKind::kWrite;
  const auto it = stripe.refs.find(va);
  const bool found = it != stripe.refs.end();
  if (found && !(write && it->second.shared)) {
    *may_write = !it->second.shared;
    return {&it->second.owner->vnode, it->second.offset};
  }
  if (!found && !write && seg.s_vp != nullptr) {
    *may_write = false;
    return {seg.s_vp, seg.offset_of(va)};
  }
  // First touch of anonymous memory, or a copy. The version changes before the address does.
  p.layout_version.fetch_add(1, std::memory_order_acq_rel);
  unload(p, va, 1);
  AnonRef fresh{p.anon,
                p.next_anon_offset.fetch_add(sys.mmu().pagesize(), std::memory_order_relaxed)};
  const PageId id{&fresh.owner->vnode, fresh.offset};
  if (found) *dropped = std::move(it->second);
  stripe.refs[va] = std::move(fresh);
  *may_write = true;
  return id;
}

FaultResult World::fault(Process& p, uintptr_t va, AccessKind kind) {
  AnonRef dropped;  // let go last, when no lock is held
  ReaderGuard guard(p.as.a_lock);
  const seg_t* seg = as_segat(&p.as, va);
  if (seg == nullptr) return FaultResult::kNoSegment;
  const uint32_t needed = kind == AccessKind::kWrite  ? PROT_WRITE_ATTR
                          : kind == AccessKind::kExec ? PROT_EXEC_ATTR
                                                      : PROT_READ_ATTR;
  if ((seg->s_prot & needed) == 0) return FaultResult::kProtection;
  if (SharedMemory* shm = shared_memory_of(*seg)) {
    // Loaded where the tables are; every process that shares them sees it.
    ReaderGuard holder(shm->holder->as.a_lock);
    return load(*shm->holder, va, {shm->vp, va - shm->base}, kind, seg->s_prot, HAT_LOAD_SHARE);
  }
  if (seg->s_szc > 0) return load_large(p, *seg, va);
  if (seg->s_type == SegType::kShared) {
    return load(p, va, {seg->s_vp, seg->offset_of(va)}, kind, seg->s_prot, HAT_LOAD);
  }
  Process::AnonStripe& stripe = p.anon_stripe(va);
  MutexGuard anon(stripe.mutex);
  bool may_write = false;
  const PageId id = private_page(p, *seg, va, kind, &may_write, &dropped);
  const uint32_t prot = may_write ? seg->s_prot : seg->s_prot & ~PROT_WRITE_ATTR;
  return load(p, va, id, kind, prot, HAT_LOAD);
}

void World::unload(Process& p, uintptr_t va, uint64_t pages) {
  const uint64_t pagesize = sys.mmu().pagesize();
  for (uint64_t i = 0; i < pages; ++i) p.shadow.begin(va + i * pagesize);
  hat_unload(sys, p.as.a_hat, va, pages * pagesize, HAT_UNLOAD_UNMAP);
  for (uint64_t i = 0; i < pages; ++i) p.shadow.end_unmapped(va + i * pagesize);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
