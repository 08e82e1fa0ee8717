// Machine: simulated CPUs with TLBs over simulated physical memory, and cross calls between them.
//
// Software keeps page tables in frames (PhysMem), in the x86-64 format, and changes them with
// atomic operations. access() is what a load, store or fetch instruction does. Nothing tells the
// CPUs that a PTE has changed: software has to clear it, find out which CPUs may have cached it
// (AtomicCpuSet) and flush them through a cross call. An access through a translation that should
// be gone is noticed and ends the run (walker.h); that is what this machine is for.
//
// Locks, both inner to every lock of the software that runs on the machine:
//   machine.xc_mbox (45)  serialises cross calls
//   machine.core    (46)  one per core, its gate: held for one instruction (core.h)
// A thread holds at most the mailbox and one gate. Nothing is locked under a gate: functions handed
// to with_core and to cross calls take no locks, make no cross calls and do not call access(). What
// they may use: the Core they are given, Atomic words, PhysMem.
//
// Cross calls. A real thread cannot be interrupted at will, so the *initiator* does the work on
// behalf of the target: it enters the target's gate and runs the function there. Seen from the
// target that is an interrupt between two instructions. A target that is blocked on a lock of the
// software, whichever, is serviced all the same, as in the kernel, where a CPU that spins on a lock
// keeps its interrupts open; so cross calls may be made under any lock of the software.
//
// What is modelled: every interleaving of instructions with interrupts, with changes of the tables
// by software and with walkers of other CPUs, at the granularity of one atomic operation on one
// word; walkers that race with software for a PTE; caches that keep what nobody flushed.
// What is not: interrupts inside an instruction; reordering and speculation inside a pipeline (a
// CPU never walks for an address that the program does not use); interrupt latency and priorities
// (an idle CPU is reached like any other); caches of data; permissions in pointer entries.
#ifndef HATCHECK_MACHINE_MACHINE_H_
#define HATCHECK_MACHINE_MACHINE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "machine/core.h"
#include "machine/cpuset.h"
#include "machine/frames.h"
#include "machine/geometry.h"
#include "machine/pte.h"
#include "machine/tlb.h"
#include "machine/walker.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One cross call at a time.
inline constexpr LockClass kXcMboxLock{"machine.xc_mbox", 45};

struct MachineConfig {
  MmuGeometry mmu = {};
  uint32_t ncpus = 4;
  pfn_t nframes = 65536;
  int tlb_entries = 64;  // see Tlb for the values allowed
  int psc_entries = 16;
  ModVariant mod_variant = ModVariant::kRecheck;
};

struct MachineStats {
  CoreStats cores;           // summed over all CPUs
  uint64_t xc_calls = 0;     // xc_call and xc_wait_sync
  uint64_t xc_captures = 0;  // xc_wait_sync alone
};

class Machine {
 public:
  explicit Machine(const MachineConfig& config);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  const MachineConfig& config() const { return config_; }
  const MmuGeometry& mmu() const { return config_.mmu; }
  uint32_t ncpus() const { return config_.ncpus; }
  PhysMem& mem() { return mem_; }

  // One instruction of `cpu` that touches the 8-byte word containing va; kWrite stores new_value
  // there. A fault changes nothing but REF bits of pointer entries; it is the caller's to repair
  // the cause and to try again.
  // REQUIRES: no gate held. Waits while cpu is captured.
  AccessResult access(CpuId cpu, uintptr_t va, AccessKind kind, Privilege priv,
                      uint64_t new_value = 0);

  // One string instruction of `cpu` with kernel rights: reads or writes bytes that lie within one
  // base page, with one translation and no interrupt in between. Faults like access(), before any
  // byte is moved.
  // REQUIRES: as of access(); [va, va + size) crosses no page boundary.
  bool read_string(CpuId cpu, uintptr_t va, absl::Span<uint8_t> to);
  bool write_string(CpuId cpu, uintptr_t va, absl::Span<const uint8_t> from);

  // Runs func on core `self` with interrupts off. Waits while the core is captured.
  void with_core(CpuId self, absl::FunctionRef<void(Core&)> func);

  // Runs func on every CPU of the set, one after another, between two of their instructions, and
  // returns when all have. A CPU that has been serviced goes on at once.
  void xc_call(const CpuSet& set, absl::FunctionRef<void(Core&)> func);

  // The same with capture: func runs first on the calling CPU, while all others of the set execute
  // nothing, then on each of them; each is let go when it has run func. The calling CPU takes part
  // whether it is in the set or not, and is let go last.
  void xc_wait_sync(const CpuSet& set, absl::FunctionRef<void(Core&)> func);

  // For audits. Each takes the gate of the CPU.
  std::vector<TlbEntry> tlb_snapshot(CpuId cpu) const;
  std::vector<PscEntry> psc_snapshot(CpuId cpu) const;
  pfn_t cr3(CpuId cpu) const;

  // Counters are plain fields under the locks that their writers hold anyway, so they cost a model
  // engine nothing. Reading them takes those locks: not for use in a failure handler.
  CoreStats core_stats(CpuId cpu) const;
  MachineStats stats() const;
  uint64_t xc_count() const;

 private:
  Core& core(CpuId cpu) const;
  // Runs func under the gate of a core, captured or not: the interrupt itself.
  void interrupt(CpuId cpu, absl::FunctionRef<void(Core&)> func);
  void release(CpuId cpu);

  const MachineConfig config_;
  PhysMem mem_;
  const Walker walker_;
  std::vector<std::unique_ptr<Core>> cores_;
  mutable Mutex xc_mbox_;
  Guarded<uint64_t> xc_calls_{0};     // xc_mbox_
  Guarded<uint64_t> xc_captures_{0};  // xc_mbox_
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_MACHINE_H_
