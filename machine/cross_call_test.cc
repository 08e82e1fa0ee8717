// Cross calls by one caller: who runs the function and in which order; the counters.
#include <vector>

#include "gtest/gtest.h"
#include "machine/machine.h"
#include "machine/toy_space.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kUserRw = PT_USER | PT_WRITABLE;
constexpr uintptr_t kVa = 0x400000;

std::vector<CpuId> order_of_xc_call(Machine& machine, const CpuSet& set) {
  std::vector<CpuId> order;
  machine.xc_call(set, [&order](Core& core) { order.push_back(core.id()); });
  return order;
}

std::vector<CpuId> order_of_xc_wait_sync(Machine& machine, const CpuSet& set) {
  std::vector<CpuId> order;
  machine.xc_wait_sync(set, [&order](Core& core) { order.push_back(core.id()); });
  return order;
}

TEST(CrossCall, xc_call_runs_once_on_each_cpu_of_the_set_and_nowhere_else) {
  Machine machine({.ncpus = 128, .nframes = 16});
  CpuBinding binding(1);
  EXPECT_EQ(order_of_xc_call(machine, {0, 1, 70, 127}), (std::vector<CpuId>{0, 1, 70, 127}));
  EXPECT_EQ(order_of_xc_call(machine, {2}), std::vector<CpuId>{2}) << "without the caller";
  EXPECT_TRUE(order_of_xc_call(machine, {}).empty());
}

TEST(CrossCall, xc_wait_sync_runs_on_the_caller_first_whether_it_is_in_the_set_or_not) {
  Machine machine({.ncpus = 4, .nframes = 16});
  CpuBinding binding(2);
  EXPECT_EQ(order_of_xc_wait_sync(machine, {0, 2, 3}), (std::vector<CpuId>{2, 0, 3}));
  EXPECT_EQ(order_of_xc_wait_sync(machine, {0}), (std::vector<CpuId>{2, 0}));
  EXPECT_EQ(order_of_xc_wait_sync(machine, {}), std::vector<CpuId>{2});
}

TEST(CrossCall, a_cpu_is_captured_until_it_has_run_the_function) {
  Machine machine({.ncpus = 4, .nframes = 16});
  const auto captured = [](Core& core) { EXPECT_TRUE(core.captured()) << core.id(); };
  const auto free = [](Core& core) { EXPECT_FALSE(core.captured()) << core.id(); };
  machine.xc_wait_sync({0, 1, 3}, captured);
  machine.xc_call(CpuSet::all(4), free);
}

TEST(CrossCall, everybody_is_let_go_after_a_capture) {
  Machine machine({.ncpus = 4, .nframes = 64});
  ToySpace space(machine);
  space.map(kVa, space.new_page(), kUserRw);
  machine.xc_wait_sync(CpuSet::all(4), [](Core&) {});
  for (CpuId cpu = 0; cpu < 4; ++cpu) {
    space.load(cpu);
    EXPECT_TRUE(machine.access(cpu, kVa, AccessKind::kRead, Privilege::kUser).ok);
  }
}

TEST(CrossCall, calls_captures_and_services_are_counted) {
  Machine machine({.ncpus = 4, .nframes = 16});
  order_of_xc_call(machine, {1, 2});
  order_of_xc_wait_sync(machine, {3});
  EXPECT_EQ(machine.xc_count(), 2u);
  const MachineStats stats = machine.stats();
  EXPECT_EQ(stats.xc_calls, 2u);
  EXPECT_EQ(stats.xc_captures, 1u);
  EXPECT_EQ(stats.cores.interrupts, 4u);
  EXPECT_EQ(machine.core_stats(1).interrupts, 1u);
  EXPECT_EQ(machine.core_stats(0).interrupts, 1u) << "the caller of the capture";
}

TEST(CrossCall, statistics_count_what_the_walker_did) {
  Machine machine({.ncpus = 1, .nframes = 64});
  ToySpace space(machine);
  space.load(0);
  space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser);
  machine.access(0, kVa + 4096, AccessKind::kWrite, Privilege::kUser);
  const CoreStats stats = machine.core_stats(0);
  EXPECT_EQ(stats.accesses, 4u);
  EXPECT_EQ(stats.tlb_hits, 1u);
  EXPECT_EQ(stats.walks, 3u);
  EXPECT_EQ(stats.psc_hits, 2u);
  EXPECT_EQ(stats.tlb_fills, 2u);
  EXPECT_EQ(stats.ref_sets, 1u);
  EXPECT_EQ(stats.mod_sets, 1u);
  EXPECT_EQ(stats.faults, 1u);
  EXPECT_EQ(stats.interrupts, 0u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
