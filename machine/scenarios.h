// Concurrent scenarios of the machine: cross calls against instructions, walkers against software.
//
// Each asserts what must hold in every interleaving. The template parameters say how often the
// bodies go round: once or twice is all a model engine needs, real threads want many, and more of
// the short ones than of the long ones, so that they overlap. Lock classes here: test.outer, outer
// to the machine's own.
#ifndef HATCHECK_MACHINE_SCENARIOS_H_
#define HATCHECK_MACHINE_SCENARIOS_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "machine/machine.h"
#include "machine/toy_space.h"
#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr LockClass kScenarioOuterLock{"test.outer", 10};

// What all of them need: a small machine whose CPUs run one address space with one page.
class MachineScenario : public ScenarioDefaults {
 public:
  static constexpr Bounds kBounds{.iterations = 10};

 protected:
  static constexpr uintptr_t kVa = 0;
  static constexpr x86pte_t kUserRw = PT_USER | PT_WRITABLE;

  MachineScenario(uint32_t ncpus, ModVariant variant)
      : machine_({.mmu = {.num_level = 2, .bits_per_level = 1, .max_page_level = 0},
                  .ncpus = ncpus,
                  .nframes = 16,
                  .tlb_entries = 2,
                  .psc_entries = 1,
                  .mod_variant = variant}),
        space_(machine_),
        page_(space_.map(kVa, space_.new_page(), kUserRw)) {
    for (CpuId cpu = 0; cpu < ncpus; ++cpu) {
      space_.load(cpu);
    }
  }

  AccessResult user(AccessKind kind, uintptr_t va, uint64_t value = 0) {
    return machine_.access(this_cpu(), va, kind, Privilege::kUser, value);
  }
  static void flush(Core& core) { core.invlpg(kVa); }

  Machine machine_;
  ToySpace space_;
  const pfn_t page_;
};

class BlockedTargetIsServiced : public MachineScenario {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "machine/blocked_target_is_serviced";
  static constexpr const char* kClaim = "a CPU that waits for the caller's lock takes cross calls";

  BlockedTargetIsServiced() : MachineScenario(kThreads, ModVariant::kRecheck) {}

  void thread(int) {
    MutexGuard guard(outer_);
    uint32_t served = 0;
    machine_.xc_call(CpuSet::all(kThreads), [&served](Core&) { ++served; });
    machine_.xc_wait_sync(CpuSet::all(kThreads), [&served](Core&) { ++served; });
    HAT_ASSERT(served == 2 * kThreads);
  }

 private:
  Mutex outer_{kScenarioOuterLock};
};

// The first CPU changes two words one after the other while all are captured. The second compares
// with interrupts off; the third reads them by two instructions.
template <int kRounds>
class CapturedCpusStandStill : public MachineScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "machine/captured_cpus_stand_still";
  static constexpr const char* kClaim = "a captured CPU executes nothing until it is let go";

  CapturedCpusStandStill() : MachineScenario(kThreads, ModVariant::kRecheck) {}

  void thread(int index) {
    for (int round = 0; round < kRounds; ++round) {
      if (index == 0) {
        machine_.xc_wait_sync(CpuSet::all(kThreads), [this](Core& core) {
          if (core.id() == 0) {
            first_ = first_() + 1;
            machine_.mem().word(page_, 1).fetch_add(1, std::memory_order_relaxed);
            yield();
            machine_.mem().word(page_, 0).fetch_add(1, std::memory_order_relaxed);
          }
        });
      } else if (index == 1) {
        machine_.with_core(this_cpu(), [this](Core&) {
          // Guarded on purpose: reading it here is a race unless capture keeps us out.
          HAT_ASSERT(machine_.mem().word(page_, 0).load(std::memory_order_relaxed) == first_());
        });
      } else {
        const uint64_t one = user(AccessKind::kRead, kVa + 8).value;
        const uint64_t other = user(AccessKind::kRead, kVa).value;
        HAT_ASSERT(other >= one, "an instruction was executed between the two changes");
      }
    }
  }
  void after() { HAT_ASSERT(first_() == kRounds); }

 private:
  Guarded<uint64_t> first_{0};
};

template <int kRounds>
class InitiatorsTakeTurns : public MachineScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "machine/initiators_take_turns";
  static constexpr const char* kClaim = "cross calls exclude each other and none is lost";

  InitiatorsTakeTurns() : MachineScenario(kThreads, ModVariant::kRecheck) {}

  void thread(int index) {
    const auto func = [this](Core& core) {
      const int before = services_();
      if (core.id() == 0) {
        yield();
      }
      services_ = before + 1;
    };
    for (int round = 0; round < kRounds; ++round) {
      if ((round + index) % 2 == 0) {
        machine_.xc_wait_sync(CpuSet::all(kThreads), func);
      } else {
        machine_.xc_call(CpuSet::all(kThreads), func);
      }
      machine_.with_core(this_cpu(), flush);
    }
  }
  void after() { HAT_ASSERT(services_() == kThreads * kThreads * kRounds); }

 private:
  Guarded<int> services_{0};  // protected by the mailbox, if it works
};

// What the HAT is built on: clear the PTE, flush whoever is in the set, free the frame, give it out
// again. CPUs join, use the page and leave meanwhile. The checks of the machine are the judge.
template <int kUnmaps, int kJoins, int kTouches, ModVariant kVariant, bool kFlush = true>
class UnmapAgainstAccess : public MachineScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "machine/unmap_against_access";
  static constexpr const char* kClaim = "after clear and flush nobody reaches the frame";

  UnmapAgainstAccess() : MachineScenario(kThreads, kVariant) {}

  void thread(int index) {
    if (index != 0) {
      use();
      return;
    }
    Atomic<uint64_t>& pte = space_.word(kVa);
    for (int round = 0; round < kUnmaps; ++round) {
      const x86pte_t old = pte.exchange(0, std::memory_order_seq_cst);
      if (kFlush && (old & (PT_REF | PT_MOD)) != 0) {
        machine_.xc_call(running_.snapshot(), flush);
      }
      HAT_ASSERT(PTE2PFN(old, 0) == page_);
      machine_.mem().set_kind(page_, FrameKind::kFree);
      machine_.mem().set_kind(page_, FrameKind::kData);
      pte.store(MAKEPTE(page_, 0) | kUserRw, std::memory_order_seq_cst);
    }
  }

 private:
  void use() {
    for (int round = 0; round < kJoins; ++round) {
      running_.add(this_cpu());
      space_.load(this_cpu());
      for (int touch = 0; touch < kTouches; ++touch) {
        user(AccessKind::kRead, kVa);
        user(AccessKind::kWrite, kVa, 1);
      }
      running_.del(this_cpu());
      machine_.with_core(this_cpu(), [](Core& core) { core.flush_all(); });
    }
  }

  AtomicCpuSet running_{kThreads};
};

// The same with the entry cleared inside a capture. The PTE is gone and flushed on every CPU of the
// set before any of them executes another instruction, so blind hardware never writes PT_MOD into a
// cleared entry.
template <int kRounds>
class CapturedUnmapLosesNoMod : public MachineScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "machine/captured_unmap_loses_no_mod";
  static constexpr const char* kClaim = "no PT_MOD is written after a captured clear";

  CapturedUnmapLosesNoMod() : MachineScenario(kThreads, ModVariant::kBlindDirty) {}

  void thread(int index) {
    if (index != 0) {
      for (int round = 0; round < kRounds; ++round) {
        user(AccessKind::kRead, kVa);
        user(AccessKind::kWrite, kVa, 1);
      }
      return;
    }
    Atomic<uint64_t>& pte = space_.word(kVa);
    for (int round = 0; round < kRounds; ++round) {
      machine_.xc_wait_sync(CpuSet::all(kThreads), [&pte](Core& core) {
        if (core.id() == 0) {
          pte.store(0, std::memory_order_seq_cst);
          yield();
        }
        flush(core);
      });
      yield();
      HAT_ASSERT(pte.load(std::memory_order_seq_cst) == 0);
      machine_.mem().set_kind(page_, FrameKind::kData);
      pte.store(MAKEPTE(page_, 0) | kUserRw, std::memory_order_seq_cst);
      yield();
    }
  }
};

// A walker that wrote REF or MOD with a plain store would undo what software changed between its
// load and its store: here a bit that software turns over and expects to find as it left it.
template <int kFlips, int kWalks, ModVariant kVariant>
class SoftwareBitsSurviveWalks : public MachineScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "machine/software_bits_survive_walks";
  static constexpr const char* kClaim = "REF and MOD are set without touching other bits";

  SoftwareBitsSurviveWalks() : MachineScenario(kThreads, kVariant) {}

  void thread(int index) {
    if (index == 0) {
      flip();
      return;
    }
    const AccessKind kind = index == 1 ? AccessKind::kRead : AccessKind::kWrite;
    for (int round = 0; round < kWalks; ++round) {
      HAT_ASSERT(user(AccessKind::kRead, kVa).pfn == page_);
      HAT_ASSERT(user(kind, kVa).pfn == page_);
      machine_.with_core(this_cpu(), flush);
    }
  }

 private:
  void flip() {
    for (int round = 0; round < kFlips; ++round) {
      for (const int level : {0, 1}) {
        Atomic<uint64_t>& word = space_.word(kVa, level);
        const x86pte_t old = word.fetch_xor(PT_NOSYNC, std::memory_order_seq_cst);
        HAT_ASSERT(((old & PT_NOSYNC) != 0) == (round % 2 == 1),
                   "the walker brought back an old PTE");
        word.fetch_and(~(PT_REF | PT_MOD), std::memory_order_seq_cst);
      }
    }
  }
};

// Each thread writes its own bytes of one word, and must find them as it left them.
template <int kRounds>
class NeighbouringBytesSurvive : public MachineScenario {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "machine/neighbouring_bytes_survive";
  static constexpr const char* kClaim = "a partial write leaves the other bytes of its word alone";

  NeighbouringBytesSurvive() : MachineScenario(kThreads, ModVariant::kRecheck) {}

  void thread(int index) {
    const uint32_t offset = index == 0 ? 1 : 4;
    for (int round = 0; round < kRounds; ++round) {
      const std::array<uint8_t, 3> mine = {static_cast<uint8_t>(round),
                                           static_cast<uint8_t>(round >> 8), 0xee};
      machine_.mem().write_bytes(page_, offset, mine);
      std::array<uint8_t, 3> found;
      machine_.mem().read_bytes(page_, offset, absl::MakeSpan(found));
      HAT_ASSERT(found == mine);
    }
  }
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_SCENARIOS_H_
