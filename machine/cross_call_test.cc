// Cross calls: who runs the function, when, and what captured CPUs do meanwhile. The tests with
// real threads assert what must hold in every interleaving; a run that happens to be sequential
// passes.
#include <array>
#include <atomic>
#include <thread>
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

// Runs body(cpu) on `ncpus` threads bound to CPUs 0, 1, ... while `flag` in front of it is down.
template <class Body>
void on_cpus(uint32_t ncpus, Body body) {
  std::vector<std::thread> threads;
  for (CpuId cpu = 0; cpu < ncpus; ++cpu) {
    threads.emplace_back([cpu, &body] {
      CpuBinding binding(cpu);
      body(cpu);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(CrossCallThreads, a_cpu_blocked_on_a_lock_of_the_caller_is_serviced) {
  Machine machine({.ncpus = 2, .nframes = 16});
  constexpr LockClass kOuter{"test.outer", 10};
  Mutex outer(kOuter);
  Atomic<bool> locked{false};
  on_cpus(2, [&](CpuId cpu) {
    if (cpu == 0) {
      MutexGuard guard(outer);
      locked.store(true, std::memory_order_release);
      delay(20);  // lets CPU 1 block
      EXPECT_EQ(order_of_xc_call(machine, {0, 1}), (std::vector<CpuId>{0, 1}));
      EXPECT_EQ(order_of_xc_wait_sync(machine, {1}), (std::vector<CpuId>{0, 1}));
    } else {
      while (!locked.load(std::memory_order_acquire)) {
        yield();
      }
      MutexGuard guard(outer);
    }
  });
}

// The two ends of a word are written one after the other while everybody is captured: no captured
// CPU may see them differ, neither by an access nor in a section.
TEST(CrossCallThreads, captured_cpus_execute_nothing_until_they_are_let_go) {
  constexpr uint32_t kCpus = 4;
  constexpr int kRounds = 300;
  Machine machine({.ncpus = kCpus, .nframes = 64});
  ToySpace space(machine);
  const pfn_t page = space.map(kVa, space.new_page(), kUserRw);
  Atomic<uint64_t>& first = machine.mem().word(page, 0);
  Atomic<uint64_t>& second = machine.mem().word(page, 1);
  Guarded<int> inside{0};  // the function of the capture; ordered by being captured, or a race
  on_cpus(kCpus, [&](CpuId cpu) {
    space.load(cpu);
    for (int round = 0; round < kRounds; ++round) {
      if (cpu == 0) {
        machine.xc_wait_sync(CpuSet::all(kCpus), [&](Core& core) {
          if (core.id() != 0) {
            return;
          }
          inside = inside() + 1;
          first.fetch_add(1, std::memory_order_relaxed);
          yield();
          second.fetch_add(1, std::memory_order_relaxed);
        });
      } else {
        machine.with_core(cpu, [&](Core&) {
          EXPECT_EQ(first.load(std::memory_order_relaxed), second.load(std::memory_order_relaxed));
          EXPECT_GE(inside(), 0);
        });
        const uint64_t a = machine.access(cpu, kVa, AccessKind::kRead, Privilege::kUser).value;
        const uint64_t b = machine.access(cpu, kVa + 8, AccessKind::kRead, Privilege::kUser).value;
        EXPECT_GE(b, a) << "the second word is never behind a first word read earlier";
      }
    }
  });
  EXPECT_EQ(first.load(std::memory_order_relaxed), static_cast<uint64_t>(kRounds));
}

TEST(CrossCallThreads, initiators_of_captures_do_not_deadlock_or_free_each_others_captives) {
  constexpr uint32_t kCpus = 4;
  constexpr int kRounds = 200;
  Machine machine({.ncpus = kCpus, .nframes = 64});
  Guarded<int> running{0};  // by the mailbox: no two functions at a time
  on_cpus(kCpus, [&](CpuId cpu) {
    for (int round = 0; round < kRounds; ++round) {
      const auto func = [&](Core&) { running = running() + 1; };
      if (round % 2 == 0) {
        machine.xc_wait_sync(CpuSet::all(kCpus), func);
      } else {
        machine.xc_call(CpuSet::all(kCpus), func);
      }
      machine.with_core(cpu, [](Core& core) { core.invlpg(kVa); });
    }
  });
  EXPECT_EQ(machine.stats().cores.interrupts, uint64_t{kCpus} * kRounds * kCpus);
  EXPECT_EQ(running(), static_cast<int>(kCpus * kRounds * kCpus));
}

// The protocol the HAT is built on, against walkers on three CPUs: clear the PTE, flush whoever is in
// the set, free the frame; map another. The checks of the machine say whether it was sound.
void unmap_against_accesses(ModVariant variant, bool captured) {
  constexpr uint32_t kCpus = 4;
  constexpr int kRounds = 2000;
  Machine machine({.ncpus = kCpus, .nframes = 64, .mod_variant = variant});
  ToySpace space(machine);
  AtomicCpuSet running;
  const pfn_t pages[2] = {space.new_page(), space.new_page()};
  Atomic<uint64_t>& pte = space.word(kVa);
  Atomic<bool> stop{false};
  std::array<uint64_t, kCpus> writes{};
  on_cpus(kCpus, [&](CpuId cpu) {
    if (cpu != 0) {
      while (!stop.load(std::memory_order_acquire)) {
        running.add(cpu);
        space.load(cpu);
        for (int i = 0; i < 20; ++i) {
          machine.access(cpu, kVa, AccessKind::kRead, Privilege::kUser);
          writes[cpu] += machine.access(cpu, kVa, AccessKind::kWrite, Privilege::kUser, i).ok;
        }
        running.del(cpu);
        machine.with_core(cpu, [](Core& core) { core.flush_all(); });
      }
      return;
    }
    for (int round = 0; round < kRounds; ++round) {
      const pfn_t page = pages[round % 2];
      machine.mem().set_kind(page, FrameKind::kData);
      pte.store(MAKEPTE(page, 0) | kUserRw, std::memory_order_seq_cst);
      yield();
      x86pte_t old = 0;
      if (captured) {
        machine.xc_wait_sync(running.snapshot(), [&](Core& core) {
          if (core.id() == 0) {
            old = pte.exchange(0, std::memory_order_seq_cst);
          }
          core.invlpg(kVa);
        });
        // Whoever joined after the snapshot may have cached the entry before the exchange; here
        // that is covered by flushing again, in the HAT by hat_switch_mutex.
        machine.xc_call(running.snapshot(), [](Core& core) { core.invlpg(kVa); });
      } else {
        old = pte.exchange(0, std::memory_order_seq_cst);
        if ((old & (PT_REF | PT_MOD)) != 0) {
          machine.xc_call(running.snapshot(), [](Core& core) { core.invlpg(kVa); });
        }
      }
      EXPECT_EQ(PTE2PFN(old, 0), page);
      machine.mem().set_kind(page, FrameKind::kFree);
    }
    stop.store(true, std::memory_order_release);
  });
  EXPECT_EQ(machine.mem().kind(pages[0]), FrameKind::kFree);
}

TEST(CrossCallThreads, clear_then_flush_is_sound_with_recheck) {
  unmap_against_accesses(ModVariant::kRecheck, false);
}
TEST(CrossCallThreads, clear_then_flush_is_sound_with_blind_mod) {
  unmap_against_accesses(ModVariant::kBlindDirty, false);
}
TEST(CrossCallThreads, clear_under_capture_is_sound_with_recheck) {
  unmap_against_accesses(ModVariant::kRecheck, true);
}
TEST(CrossCallThreads, clear_under_capture_is_sound_with_blind_mod) {
  unmap_against_accesses(ModVariant::kBlindDirty, true);
}

// A walker that wrote REF or MOD with a plain store would overwrite what software changed between
// its load and its store: here a bit that software turns over a known number of times.
void software_bit_survives(ModVariant variant) {
  constexpr uint32_t kCpus = 3;
  constexpr uint64_t kFlips = 20001;
  Machine machine({.ncpus = kCpus, .nframes = 64, .mod_variant = variant});
  ToySpace space(machine);
  const pfn_t page = space.map(kVa, space.new_page(), kUserRw);
  Atomic<uint64_t>& pte = space.word(kVa);
  Atomic<uint64_t>& pointer = space.word(kVa, 1);
  Atomic<bool> stop{false};
  on_cpus(kCpus, [&](CpuId cpu) {
    if (cpu == 0) {
      for (uint64_t i = 0; i < kFlips; ++i) {
        pte.fetch_xor(PT_NOSYNC, std::memory_order_seq_cst);
        pte.fetch_and(~(PT_REF | PT_MOD), std::memory_order_seq_cst);
        pointer.fetch_xor(PT_NOSYNC, std::memory_order_seq_cst);
        pointer.fetch_and(~PT_REF, std::memory_order_seq_cst);
      }
      stop.store(true, std::memory_order_release);
      return;
    }
    space.load(cpu);
    while (!stop.load(std::memory_order_acquire)) {
      const AccessKind kind = cpu == 1 ? AccessKind::kRead : AccessKind::kWrite;
      EXPECT_EQ(machine.access(cpu, kVa, AccessKind::kRead, Privilege::kUser).pfn, page);
      EXPECT_EQ(machine.access(cpu, kVa, kind, Privilege::kUser).pfn, page);
      space.invlpg(cpu, kVa);
    }
  });
  const x86pte_t settled = pte.load(std::memory_order_seq_cst) & ~(PT_REF | PT_MOD);
  EXPECT_EQ(settled, MAKEPTE(page, 0) | kUserRw | PT_NOSYNC);
  EXPECT_NE(pointer.load(std::memory_order_seq_cst) & PT_NOSYNC, 0u);
}

TEST(CrossCallThreads, concurrent_changes_of_a_pte_survive_the_walker_with_recheck) {
  software_bit_survives(ModVariant::kRecheck);
}
TEST(CrossCallThreads, concurrent_changes_of_a_pte_survive_the_walker_with_blind_mod) {
  software_bit_survives(ModVariant::kBlindDirty);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
