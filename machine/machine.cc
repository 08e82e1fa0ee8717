#include "machine/machine.h"

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

const MachineConfig& checked(const MachineConfig& config) {
  HAT_ASSERT(config.mmu.valid(), "no such page-table geometry");
  HAT_ASSERT(config.ncpus >= 1 && config.ncpus <= kMaxCpus,
             absl::StrFormat("a machine has 1 to %d CPUs", kMaxCpus));
  HAT_ASSERT(config.psc_entries >= 0);
  return config;
}

}  // namespace

Machine::Machine(const MachineConfig& config)
    : config_(checked(config)),
      mem_(config_.nframes, static_cast<int>(config_.mmu.ptes_per_table())),
      walker_(config_.mmu, config_.mod_variant, mem_),
      xc_mbox_(kXcMboxLock) {
  for (uint32_t cpu = 0; cpu < config_.ncpus; ++cpu) {
    cores_.push_back(std::make_unique<Core>(static_cast<CpuId>(cpu), config_.mmu,
                                            config_.tlb_entries, config_.psc_entries));
    name_objects(cores_.back().get(), 1, "core", cpu);
  }
}

Machine::~Machine() = default;

Core& Machine::core(CpuId cpu) const {
  if (cpu >= config_.ncpus) [[unlikely]] {
    panic(absl::StrFormat("no such CPU: %u of %u", cpu, config_.ncpus));
  }
  return *cores_[cpu];
}

AccessResult Machine::access(CpuId cpu, uintptr_t va, AccessKind kind, Privilege priv,
                             uint64_t new_value) {
  Core& self = core(cpu);
  MutexGuard gate(self.gate_);
  while (self.captured_()) {
    self.released_.wait(self.gate_);
  }
  return walker_.access(self, va, kind, priv, new_value);
}

bool Machine::read_string(CpuId cpu, uintptr_t va, absl::Span<uint8_t> to) {
  Core& self = core(cpu);
  MutexGuard gate(self.gate_);
  while (self.captured_()) {
    self.released_.wait(self.gate_);
  }
  return walker_.read_string(self, va, to);
}

bool Machine::write_string(CpuId cpu, uintptr_t va, absl::Span<const uint8_t> from) {
  Core& self = core(cpu);
  MutexGuard gate(self.gate_);
  while (self.captured_()) {
    self.released_.wait(self.gate_);
  }
  return walker_.write_string(self, va, from);
}

void Machine::with_core(CpuId self, absl::FunctionRef<void(Core&)> func) {
  Core& me = core(self);
  MutexGuard gate(me.gate_);
  while (me.captured_()) {
    me.released_.wait(me.gate_);
  }
  func(me);
}

void Machine::interrupt(CpuId cpu, absl::FunctionRef<void(Core&)> func) {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  Core::count(target.counters_.interrupts);
  func(target);
}

void Machine::xc_call(const CpuSet& set, absl::FunctionRef<void(Core&)> func) {
  MutexGuard mbox(xc_mbox_);
  xc_calls_ = xc_calls_() + 1;
  for (const CpuId cpu : set) {
    interrupt(cpu, func);
  }
}

void Machine::xc_wait_sync(const CpuSet& set, absl::FunctionRef<void(Core&)> func) {
  const CpuId self = this_cpu();
  CpuSet all = set;
  all.add(self);

  // The mailbox is held to the end: were two initiators to capture at a time, one could let go a
  // core that the other still relies on.
  MutexGuard mbox(xc_mbox_);
  xc_calls_ = xc_calls_() + 1;
  xc_captures_ = xc_captures_() + 1;
  // The calling CPU is captured too: another thread that runs on it is no more allowed an
  // instruction there than if this thread really occupied the CPU.
  for (const CpuId cpu : all) {
    Core& target = core(cpu);
    MutexGuard gate(target.gate_);
    target.captured_ = true;
  }
  interrupt(self, func);
  all.del(self);
  for (const CpuId cpu : all) {
    interrupt(cpu, func);
    release(cpu);
  }
  release(self);
}

void Machine::release(CpuId cpu) {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  target.captured_ = false;
  target.released_.broadcast();
}

std::vector<TlbEntry> Machine::tlb_snapshot(CpuId cpu) const {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  return target.tlb_.snapshot();
}

std::vector<PscEntry> Machine::psc_snapshot(CpuId cpu) const {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  return target.tlb_.psc_snapshot();
}

pfn_t Machine::cr3(CpuId cpu) const {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  return target.cr3();
}

CoreStats Machine::core_stats(CpuId cpu) const {
  Core& target = core(cpu);
  MutexGuard gate(target.gate_);
  return target.stats();
}

MachineStats Machine::stats() const {
  MachineStats stats;
  for (uint32_t cpu = 0; cpu < config_.ncpus; ++cpu) {
    stats.cores += core_stats(static_cast<CpuId>(cpu));
  }
  MutexGuard mbox(xc_mbox_);
  stats.xc_calls = xc_calls_();
  stats.xc_captures = xc_captures_();
  return stats;
}

uint64_t Machine::xc_count() const {
  MutexGuard mbox(xc_mbox_);
  return xc_calls_();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
