// TLB shootdown, and which hat a CPU runs.
//
// A hat's hat_cpus says whose TLB may hold its entries (invariant 27). A CPU joins before it loads
// the root, so every shootdown that reads the set after the join reaches it; a shootdown that read
// it before the join had already changed the PTE, and the CPU's TLB is empty of this hat (28). That
// needs the join and the PTE change to be sequentially consistent with the reads that follow them.
//
// After hat_tlb_inval returns, no CPU in the set holds the translation (29), except CPUs inside
// hat_switch, which execute kernel addresses only.
#ifndef HATCHECK_HAT_SHOOTDOWN_H_
#define HATCHECK_HAT_SHOOTDOWN_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// mcpu_tlb_info bits.
inline constexpr uint32_t TLB_CPU_HALTED = 0x1;
inline constexpr uint32_t TLB_INVAL_ALL = 0x2;

// Removes va (or DEMAP_ALL_ADDR) of hat from every TLB that may hold it. Any lock up to hat_switch
// may be held. Nothing to do for an exiting hat; for a shared hat the addresses in the sharers are
// unknown, so everything goes on all CPUs. Idle CPUs are only marked; they flush when they wake.
void hat_tlb_inval(System& sys, hat_t* hat, uintptr_t va);

// What a target does: ignores hats it does not run.
void hati_demap_func(System& sys, Core& core, hat_t* hat, uintptr_t va);

// Makes hat the current one of the calling CPU. Kernel or user hat; no HAT mutex held.
void hat_switch(System& sys, hat_t* hat);

// hat_switch with preemption off around it: the first run of a new thread in a hat.
void hat_setup(System& sys, hat_t* hat);

// The thread leaves its address space: switch to the kernel's hat.
void hat_thread_exit(System& sys);

// The calling CPU, on the kernel's hat, stops servicing shootdowns of kernel addresses one by one.
void tlb_going_idle(System& sys);
// It is back. Before this returns nothing but the fixed kernel text may be touched: pending flushes
// have not been done yet.
void tlb_service(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_SHOOTDOWN_H_
