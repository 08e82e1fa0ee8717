// Flushing TLBs, and switching between hats.
//
// The two sides of invariant 29 meet in hat_cpus, without a lock:
//
//   hat_switch          add self to hat_cpus;   load cr3, then walk and cache PTEs
//   hat_tlb_inval       (PTE changed before)    read hat_cpus, then interrupt the members
//
// and a CPU that idles meets it in mcpu_tlb_info in the same way:
//
//   tlb_service         take mcpu_tlb_info;     flush if told so, then walk
//   hat_tlb_inval       (PTE changed before)    mark mcpu_tlb_info if halted, else interrupt
//
// In each pair one must see the other, hence seq_cst on all of them (machine/cpuset.h).
#include "hat/shootdown.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Tells the CPU to flush everything when it wakes. False if it is not halted (any more).
bool delay_until_wakeup(System& sys, CpuId cpu) {
  Atomic<uint32_t>& info = sys.cpus[cpu].mcpu_tlb_info;
  uint32_t found = info.load(std::memory_order_seq_cst);
  while ((found & TLB_CPU_HALTED) != 0) {
    if (info.compare_exchange_strong(found, found | TLB_INVAL_ALL, std::memory_order_seq_cst,
                                     std::memory_order_seq_cst)) {
      HATSTAT_INC(sys, hs_tlb_inval_delayed);
      return true;
    }
  }
  return false;
}

}  // namespace

void hati_demap_func(System& sys, Core& core, hat_t* hat, uintptr_t va) {
  // Relaxed: a CPU that switches to the hat stores this before it loads cr3 under the gate we are
  // in. If we are first, its TLB has nothing of the hat yet; if it was first, we see the store.
  if (hat != sys.kas_hat() &&
      sys.cpus[core.id()].cpu_current_hat.load(std::memory_order_relaxed) != hat) {
    return;
  }
  if (va == DEMAP_ALL_ADDR) {
    // Keeps global entries, which are the kernel's: it is user tables that are flushed as a whole.
    // The root is the core's own and not the hat's, which may be gone if the CPU is switching.
    core.load_cr3(core.cr3());
  } else {
    core.invlpg(va);
  }
}

void hat_tlb_inval(System& sys, hat_t* hat, uintptr_t va) {
  // Relaxed: FREEING is set when no CPU runs the hat any more and none will; missing it costs a
  // useless flush. SHARED is set before the first mapping that a sharer can see, and whoever
  // removes that mapping is ordered after its load by the mlist or by the PTE itself.
  const uint32_t flags = hat->hat_flags.load(std::memory_order_relaxed);
  if ((flags & HAT_FREEING) != 0) return;
  if ((flags & HAT_SHARED) != 0) {
    hat = sys.kas_hat();
    va = DEMAP_ALL_ADDR;
  }
  CpuSet cpus = hat == sys.kas_hat() ? sys.khat_cpuset.snapshot() : hat->hat_cpus.snapshot();
  const CpuId self = this_cpu();
  cpus.del(self);
  for (const CpuId cpu : CpuSet(cpus)) {
    if (delay_until_wakeup(sys, cpu)) cpus.del(cpu);
  }
  const auto demap = [&sys, hat, va](Core& core) { hati_demap_func(sys, core, hat, va); };
  if (cpus.empty()) {
    sys.machine.with_core(self, demap);
    return;
  }
  HATSTAT_INC(sys, hs_shootdowns);
  cpus.add(self);
  sys.machine.xc_call(cpus, demap);
}

void hat_switch(System& sys, hat_t* hat) {
  const CpuId self = this_cpu();
  Atomic<hat_t*>& current = sys.cpus[self].cpu_current_hat;
  // Relaxed: only this CPU's thread writes it.
  hat_t* const old = current.load(std::memory_order_relaxed);
  if (old == hat) return;
  HAT_ASSERT((hat->hat_flags.load(std::memory_order_relaxed) & HAT_FREEING) == 0,
             "invariant 25: cpu " + std::to_string(self) + " switches to an exiting hat");

  // From here to the load of cr3 the TLB may hold entries of the old hat that nobody flushes; this
  // CPU touches kernel addresses only.
  if (old != nullptr && old != sys.kas_hat()) old->hat_cpus.del(self);
  if (hat != sys.kas_hat()) {
    if (sys.invalidation->joins_under_switch_mutex()) {
      MutexGuard guard(hat->hat_switch_mutex);
      hat->hat_cpus.add(self);
    } else {
      hat->hat_cpus.add(self);
    }
  }
  // Joined before loading: every shootdown that looks at the set from now on reaches us. Relaxed:
  // the core's gate orders it for hati_demap_func.
  current.store(hat, std::memory_order_relaxed);
  const pfn_t root = hat->hat_htable()->ht_pfn();
  sys.machine.with_core(self, [root](Core& core) { core.load_cr3(root); });
}

void hat_setup(System& sys, hat_t* hat) {
  // A thread never leaves its CPU here, so there is no preemption to turn off.
  hat_switch(sys, hat);
}

void hat_thread_exit(System& sys) { hat_switch(sys, sys.kas_hat()); }

void tlb_going_idle(System& sys) {
  System::PerCpu& me = sys.me();
  // A halted CPU is dropped from shootdowns of user hats too, but what it owes is only paid when
  // it wakes: it must not be running one.
  HAT_ASSERT(me.cpu_current_hat.load(std::memory_order_relaxed) == sys.kas_hat(),
             "S25: cpu " + std::to_string(this_cpu()) + " goes idle on a user hat");
  const uint32_t before = me.mcpu_tlb_info.fetch_or(TLB_CPU_HALTED, std::memory_order_seq_cst);
  HAT_ASSERT(before == 0, "cpu " + std::to_string(this_cpu()) + " goes idle twice: mcpu_tlb_info " +
                              std::to_string(before));
}

void tlb_service(System& sys) {
  System::PerCpu& me = sys.me();
  HAT_ASSERT(me.cpu_current_hat.load(std::memory_order_relaxed) == sys.kas_hat(),
             "S25: cpu " + std::to_string(this_cpu()) + " wakes on a user hat");
  // Taking the word and flushing are one step for the rest of the world: interrupts are off.
  sys.machine.with_core(this_cpu(), [&me](Core& core) {
    const uint32_t info = me.mcpu_tlb_info.exchange(0, std::memory_order_seq_cst);
    if ((info & TLB_INVAL_ALL) != 0) core.flush_all();
  });
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
