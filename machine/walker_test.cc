// The rules W1 to W7 of walker.h, on one thread: what an instruction sees, caches and writes back.
#include "machine/walker.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "machine/machine.h"
#include "machine/toy_space.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kUserRw = PT_USER | PT_WRITABLE;
constexpr uintptr_t kVa = 0x7654321000;
constexpr uintptr_t kLargeVa = 0x40000000;

MachineConfig config(ModVariant variant) {
  return {.ncpus = 2, .nframes = 4096, .mod_variant = variant};
}

class WalkerTest : public testing::TestWithParam<ModVariant> {
 protected:
  WalkerTest() : machine_(config(GetParam())), space_(machine_) {
    space_.load(0);
    space_.load(1);
  }

  AccessResult user(AccessKind kind, uintptr_t va, uint64_t value = 0, CpuId cpu = 0) {
    return machine_.access(cpu, va, kind, Privilege::kUser, value);
  }
  AccessResult kernel(AccessKind kind, uintptr_t va, uint64_t value = 0, CpuId cpu = 0) {
    return machine_.access(cpu, va, kind, Privilege::kKernel, value);
  }
  bool cached(uintptr_t va, CpuId cpu = 0) {
    for (const TlbEntry& entry : machine_.tlb_snapshot(cpu)) {
      if (entry.va == (va & machine_.mmu().level_mask(entry.level))) {
        return true;
      }
    }
    return false;
  }

  Machine machine_;
  ToySpace space_;
};

INSTANTIATE_TEST_SUITE_P(BothVariants, WalkerTest,
                         testing::Values(ModVariant::kRecheck, ModVariant::kBlindDirty),
                         [](const testing::TestParamInfo<ModVariant>& variant) {
                           return variant.param == ModVariant::kRecheck ? "recheck" : "blind_dirty";
                         });

TEST_P(WalkerTest, a_string_moves_bytes_within_a_page_and_sets_ref_and_mod) {
  const pfn_t pfn = space_.map(kVa, space_.new_page(), PT_WRITABLE);
  space_.map(kVa + 4096, pfn, 0);
  const std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  ASSERT_TRUE(machine_.write_string(0, kVa + 5, bytes));
  EXPECT_EQ(space_.pte(kVa) & (PT_REF | PT_MOD), PT_REF | PT_MOD);
  std::vector<uint8_t> seen(bytes.size() + 1, 0xff);
  ASSERT_TRUE(machine_.read_string(1, kVa + 4096 + 4, absl::MakeSpan(seen)));
  EXPECT_EQ(seen[0], 0);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), seen.begin() + 1));
  EXPECT_EQ(space_.pte(kVa + 4096) & (PT_REF | PT_MOD), PT_REF);
}

TEST_P(WalkerTest, a_string_that_is_not_permitted_moves_nothing) {
  const pfn_t pfn = space_.map(kVa, space_.new_page(), 0);
  const std::vector<uint8_t> bytes(16, 7);
  EXPECT_FALSE(machine_.write_string(0, kVa, bytes));
  EXPECT_EQ(machine_.mem().word(pfn, 0).load(std::memory_order_relaxed), 0u);
  EXPECT_EQ(space_.pte(kVa) & (PT_REF | PT_MOD), 0u);
  std::vector<uint8_t> seen(8, 3);
  EXPECT_FALSE(machine_.read_string(0, kVa + 4096, absl::MakeSpan(seen)));
  EXPECT_EQ(seen, std::vector<uint8_t>(8, 3));
  EXPECT_DEATH(machine_.read_string(0, kVa + 4090, absl::MakeSpan(seen)), "pagesize");
}

TEST_P(WalkerTest, a_write_is_read_back_through_another_mapping_of_the_frame) {
  const pfn_t pfn = space_.map(kVa, space_.new_page(), kUserRw);
  space_.map(kVa + 4096, pfn, PT_USER);
  const AccessResult write = user(AccessKind::kWrite, kVa + 0x123, 77);
  EXPECT_TRUE(write.ok);
  EXPECT_EQ(write.pfn, pfn);
  EXPECT_EQ(write.value, 0u) << "the old value of the word";
  const AccessResult read = user(AccessKind::kRead, kVa + 4096 + 0x120, 0, 1);
  EXPECT_TRUE(read.ok);
  EXPECT_EQ(read.value, 77u);
  EXPECT_EQ(machine_.mem().word(pfn, 0x120 / 8).load(std::memory_order_relaxed), 77u);
}

TEST_P(WalkerTest, an_absent_entry_at_any_level_faults_as_not_present_and_is_not_cached) {
  const AccessResult no_table = user(AccessKind::kRead, kVa);
  EXPECT_FALSE(no_table.ok);
  EXPECT_FALSE(no_table.present);
  EXPECT_EQ(no_table.pfn, PFN_INVALID);
  space_.table(kVa, 0);
  EXPECT_FALSE(user(AccessKind::kRead, kVa).present);
  // Leftover bits without PT_VALID are an absent entry and stay as they are.
  space_.set(kVa, PT_REF | PT_MOD);
  EXPECT_FALSE(user(AccessKind::kRead, kVa).present);
  EXPECT_EQ(space_.pte(kVa), PT_REF | PT_MOD);
  // No negative caching: no flush is needed for a new mapping.
  space_.map(kVa, space_.new_page(), PT_USER);
  EXPECT_TRUE(user(AccessKind::kRead, kVa).ok);
}

TEST_P(WalkerTest, the_hole_faults_as_not_present) {
  // Nothing but the unused high bits tells this address from the first one of the upper half.
  space_.map(machine_.mmu().hole_end(), space_.new_page(), PT_USER);
  EXPECT_TRUE(user(AccessKind::kRead, machine_.mmu().hole_end()).ok);
  EXPECT_FALSE(user(AccessKind::kRead, machine_.mmu().hole_start()).ok);
  EXPECT_FALSE(kernel(AccessKind::kRead, machine_.mmu().hole_end() - 8).present);
}

TEST_P(WalkerTest, a_read_sets_ref_and_not_mod) {
  space_.map(kVa, space_.new_page(), kUserRw);
  user(AccessKind::kRead, kVa);
  EXPECT_EQ(space_.pte(kVa) & (PT_REF | PT_MOD), PT_REF);
  ASSERT_EQ(machine_.tlb_snapshot(0).size(), 1u);
  EXPECT_EQ(machine_.tlb_snapshot(0)[0].pte, space_.pte(kVa));
  EXPECT_FALSE(machine_.tlb_snapshot(0)[0].dirty);
}

TEST_P(WalkerTest, a_first_access_that_writes_sets_both_bits) {
  space_.map(kVa, space_.new_page(), kUserRw);
  user(AccessKind::kWrite, kVa);
  EXPECT_EQ(space_.pte(kVa) & (PT_REF | PT_MOD), PT_REF | PT_MOD);
  EXPECT_TRUE(machine_.tlb_snapshot(0)[0].dirty);
  EXPECT_EQ(machine_.core_stats(0).walks, 1u);
}

TEST_P(WalkerTest, ref_is_set_in_pointer_entries_on_the_way) {
  space_.map(kVa, space_.new_page(), PT_USER);
  for (int level = 1; level <= 3; ++level) {
    space_.set(kVa, space_.pte(kVa, level) & ~PT_REF, level);
  }
  user(AccessKind::kRead, kVa);
  for (int level = 1; level <= 3; ++level) {
    EXPECT_NE(space_.pte(kVa, level) & PT_REF, 0u) << level;
  }
}

TEST_P(WalkerTest, the_first_write_through_a_clean_entry_sets_mod_and_later_writes_do_not) {
  space_.map(kVa, space_.new_page(), kUserRw);
  user(AccessKind::kRead, kVa);
  user(AccessKind::kWrite, kVa, 1);
  EXPECT_NE(space_.pte(kVa) & PT_MOD, 0u);
  // Software takes MOD away without a flush: the entry is marked dirty, so nothing sets it again.
  space_.set(kVa, space_.pte(kVa) & ~PT_MOD);
  EXPECT_TRUE(user(AccessKind::kWrite, kVa, 2).ok);
  EXPECT_EQ(space_.pte(kVa) & PT_MOD, 0u);
  space_.invlpg(0, kVa);
  EXPECT_TRUE(user(AccessKind::kWrite, kVa, 3).ok);
  EXPECT_NE(space_.pte(kVa) & PT_MOD, 0u);
}

TEST_P(WalkerTest, an_entry_filled_from_a_modified_pte_is_dirty_from_the_start) {
  space_.map(kVa, space_.new_page(), kUserRw | PT_MOD);
  user(AccessKind::kRead, kVa);
  EXPECT_TRUE(machine_.tlb_snapshot(0)[0].dirty);
  space_.set(kVa, space_.pte(kVa) & ~PT_MOD);
  user(AccessKind::kWrite, kVa, 1);
  EXPECT_EQ(space_.pte(kVa) & PT_MOD, 0u);
}

TEST_P(WalkerTest, a_cached_translation_outlives_its_pte_until_it_is_flushed) {
  const pfn_t pfn = space_.map(kVa, space_.new_page(), PT_USER);
  EXPECT_TRUE(user(AccessKind::kRead, kVa).ok);
  space_.set(kVa, 0);
  EXPECT_EQ(user(AccessKind::kRead, kVa).pfn, pfn);
  EXPECT_EQ(machine_.core_stats(0).tlb_hits, 1u);
  space_.invlpg(1, kVa);
  EXPECT_TRUE(user(AccessKind::kRead, kVa).ok) << "another CPU's flush is no help";
  space_.invlpg(0, kVa);
  EXPECT_FALSE(user(AccessKind::kRead, kVa).ok);
}

TEST_P(WalkerTest, privilege_and_permissions_are_those_of_the_leaf) {
  struct Row {
    x86pte_t bits;
    Privilege priv;
    AccessKind kind;
    bool ok;
  };
  const Row rows[] = {
      {0, Privilege::kUser, AccessKind::kRead, false},
      {PT_USER, Privilege::kUser, AccessKind::kRead, true},
      {PT_USER, Privilege::kUser, AccessKind::kWrite, false},
      {kUserRw, Privilege::kUser, AccessKind::kWrite, true},
      {PT_WRITABLE, Privilege::kUser, AccessKind::kWrite, false},
      {PT_USER, Privilege::kUser, AccessKind::kExec, true},
      {PT_USER | PT_NX, Privilege::kUser, AccessKind::kExec, false},
      {PT_USER | PT_NX, Privilege::kUser, AccessKind::kRead, true},
      {0, Privilege::kKernel, AccessKind::kRead, true},
      {PT_USER, Privilege::kKernel, AccessKind::kWrite, false},
      {PT_WRITABLE, Privilege::kKernel, AccessKind::kWrite, true},
      {PT_NX, Privilege::kKernel, AccessKind::kExec, false},
      {0, Privilege::kKernel, AccessKind::kExec, true},
  };
  for (const Row& row : rows) {
    // Once by a walk, and once through an entry that an access always permitted has cached.
    for (const bool warm : {false, true}) {
      space_.map(kVa, space_.new_page(), row.bits);
      space_.invlpg(0, kVa);
      if (warm) {
        ASSERT_TRUE(kernel(AccessKind::kRead, kVa).ok);
      }
      const AccessResult result = machine_.access(0, kVa, row.kind, row.priv, 1);
      EXPECT_EQ(result.ok, row.ok) << std::hex << row.bits << (warm ? " warm" : " cold");
      EXPECT_TRUE(result.present);
      EXPECT_EQ(cached(kVa), row.ok) << "after a protection fault nothing is cached";
    }
  }
}

TEST_P(WalkerTest, a_protection_fault_leaves_ref_and_mod_alone) {
  space_.map(kVa, space_.new_page(), PT_USER);
  user(AccessKind::kWrite, kVa, 1);
  EXPECT_EQ(space_.pte(kVa) & (PT_REF | PT_MOD), 0u);
}

TEST_P(WalkerTest, an_entry_stricter_than_memory_costs_a_walk_and_no_fault) {
  const pfn_t pfn = space_.map(kVa, space_.new_page(), PT_USER);
  user(AccessKind::kRead, kVa);
  space_.set(kVa, space_.pte(kVa) | PT_WRITABLE);
  const AccessResult result = user(AccessKind::kWrite, kVa, 5);
  EXPECT_TRUE(result.ok);
  EXPECT_EQ(machine_.mem().word(pfn, 0).load(std::memory_order_relaxed), 5u);
  EXPECT_EQ(machine_.core_stats(0).walks, 2u);
}

TEST_P(WalkerTest, a_large_page_reaches_all_its_frames_and_is_one_entry) {
  const pfn_t first = space_.map(kLargeVa, space_.new_page(1), kUserRw, 1);
  EXPECT_EQ(user(AccessKind::kRead, kLargeVa).pfn, first);
  EXPECT_EQ(user(AccessKind::kWrite, kLargeVa + 511 * 4096 + 8, 9).pfn, first + 511);
  EXPECT_EQ(machine_.mem().word(first + 511, 1).load(std::memory_order_relaxed), 9u);
  EXPECT_EQ(machine_.tlb_snapshot(0).size(), 1u);
  EXPECT_NE(space_.pte(kLargeVa, 1) & PT_MOD, 0u);
}

TEST_P(WalkerTest, global_entries_survive_a_load_of_cr3) {
  const uintptr_t kernel_va = machine_.mmu().kernelbase();
  space_.map(kernel_va, space_.new_page(), PT_WRITABLE | PT_GLOBAL);
  space_.map(kVa, space_.new_page(), PT_USER);
  kernel(AccessKind::kRead, kernel_va);
  user(AccessKind::kRead, kVa);
  space_.load(0);
  EXPECT_TRUE(cached(kernel_va));
  EXPECT_FALSE(cached(kVa));
  EXPECT_EQ(machine_.cr3(0), space_.root());
}

TEST_P(WalkerTest, the_paging_structure_cache_shortens_walks) {
  space_.map(kVa, space_.new_page(), PT_USER);
  space_.map(kVa + 4096, space_.new_page(), PT_USER);
  user(AccessKind::kRead, kVa);
  EXPECT_EQ(machine_.psc_snapshot(0).size(), 3u);
  user(AccessKind::kRead, kVa + 4096);
  EXPECT_EQ(machine_.core_stats(0).psc_hits, 1u);
}

// The window of defect S1: the last leaf is flushed, a walk for a neighbour caches the pointer
// entry again, the pointer entry is removed and nobody flushes.
TEST_P(WalkerTest, an_unlinked_table_is_still_walked_until_invlpg_drops_the_pointer_entry) {
  space_.map(kVa, space_.new_page(), PT_USER);
  user(AccessKind::kRead, kVa);
  Atomic<uint64_t>& leaf = space_.word(kVa);
  const uintptr_t neighbour = kVa + 4096;
  Atomic<uint64_t>& neighbour_leaf = space_.word(neighbour);
  leaf.store(0, std::memory_order_seq_cst);
  space_.invlpg(0, kVa);
  EXPECT_FALSE(user(AccessKind::kRead, neighbour).ok) << "but this walk went through the table";
  space_.set(kVa, 0, 1);
  const pfn_t page = space_.new_page();
  neighbour_leaf.store(MAKEPTE(page, 0) | PT_USER, std::memory_order_seq_cst);

  EXPECT_EQ(user(AccessKind::kRead, neighbour).pfn, page) << "through the unlinked table";
  space_.invlpg(0, neighbour);
  EXPECT_FALSE(user(AccessKind::kRead, neighbour).ok);
}

TEST_P(WalkerTest, a_machine_without_caches_follows_every_change_at_once) {
  MachineConfig bare = config(GetParam());
  bare.tlb_entries = 0;
  bare.psc_entries = 0;
  Machine machine(bare);
  ToySpace space(machine);
  space.load(0);
  space.map(kVa, space.new_page(), kUserRw);
  EXPECT_TRUE(machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1).ok);
  space.set(kVa, space.pte(kVa) & ~PT_MOD);
  EXPECT_TRUE(machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 2).ok);
  EXPECT_NE(space.pte(kVa) & PT_MOD, 0u);
  space.set(kVa, 0, 3);
  EXPECT_FALSE(machine.access(0, kVa, AccessKind::kRead, Privilege::kUser).ok);
}

TEST_P(WalkerTest, every_address_of_tiny_machines_translates) {
  for (int levels = 1; levels <= 3; ++levels) {
    for (int bits = 1; bits <= 3; ++bits) {
      MachineConfig tiny = config(GetParam());
      tiny.mmu = {.num_level = levels, .bits_per_level = bits, .max_page_level = 0};
      tiny.tlb_entries = 4;
      tiny.psc_entries = 2;
      Machine machine(tiny);
      ToySpace space(machine);
      space.load(1);
      const MmuGeometry& mmu = machine.mmu();
      for (uintptr_t low = 0; low < mmu.level_size(levels); low += mmu.pagesize()) {
        const uintptr_t va = low < mmu.hole_start() ? low : low | mmu.hole_end();
        const pfn_t pfn = space.map(va, space.new_page(), kUserRw);
        const uintptr_t last = va + mmu.pagesize() - 1;
        EXPECT_EQ(machine.access(1, last, AccessKind::kWrite, Privilege::kUser, low + 1).pfn, pfn);
        EXPECT_EQ(machine.mem().word(pfn, mmu.ptes_per_table() - 1).load(std::memory_order_relaxed),
                  low + 1);
      }
    }
  }
}

TEST_P(WalkerTest, tiny_machines_have_large_pages_too) {
  MachineConfig tiny = config(GetParam());
  tiny.mmu = {.num_level = 2, .bits_per_level = 1, .max_page_level = 1};
  Machine machine(tiny);
  ToySpace space(machine);
  space.load(0);
  const pfn_t first = space.map(0, space.new_page(1), kUserRw, 1);
  EXPECT_EQ(machine.access(0, 16, AccessKind::kRead, Privilege::kUser).pfn, first + 1);
}

// The two variants differ here and only here.

TEST(ModVariantTest, with_recheck_a_write_through_a_clean_entry_faults_if_the_pte_is_gone) {
  Machine machine(config(ModVariant::kRecheck));
  ToySpace space(machine);
  space.load(0);
  const pfn_t pfn = space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  space.set(kVa, 0);
  const AccessResult result = machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1);
  EXPECT_FALSE(result.ok);
  EXPECT_FALSE(result.present);
  EXPECT_EQ(space.pte(kVa), 0u);
  EXPECT_EQ(machine.mem().word(pfn, 0).load(std::memory_order_relaxed), 0u);
}

TEST(ModVariantTest, with_recheck_a_write_through_a_clean_entry_faults_if_writable_was_taken_away) {
  Machine machine(config(ModVariant::kRecheck));
  ToySpace space(machine);
  space.load(0);
  space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  space.set(kVa, space.pte(kVa) & ~PT_WRITABLE);
  const AccessResult result = machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1);
  EXPECT_FALSE(result.ok);
  EXPECT_TRUE(result.present);
  EXPECT_EQ(space.pte(kVa) & PT_MOD, 0u);
}

TEST(ModVariantTest, with_recheck_a_write_follows_a_pte_that_names_another_frame_by_then) {
  Machine machine(config(ModVariant::kRecheck));
  ToySpace space(machine);
  space.load(0);
  space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  const pfn_t other = space.map(kVa, space.new_page(), kUserRw);
  EXPECT_EQ(machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1).pfn, other);
}

TEST(ModVariantTest, blind_hardware_writes_mod_into_a_cleared_pte_and_the_data_into_the_frame) {
  Machine machine(config(ModVariant::kBlindDirty));
  ToySpace space(machine);
  space.load(0);
  const pfn_t pfn = space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  space.set(kVa, 0);
  const AccessResult result = machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1);
  EXPECT_TRUE(result.ok);
  EXPECT_EQ(result.pfn, pfn);
  EXPECT_EQ(space.pte(kVa), PT_MOD) << "nonzero, but not valid";
  EXPECT_EQ(machine.mem().word(pfn, 0).load(std::memory_order_relaxed), 1u);
}

TEST(ModVariantTest, blind_hardware_writes_mod_into_a_pte_that_is_no_longer_writable) {
  Machine machine(config(ModVariant::kBlindDirty));
  ToySpace space(machine);
  space.load(0);
  space.map(kVa, space.new_page(), kUserRw);
  machine.access(0, kVa, AccessKind::kRead, Privilege::kUser);
  space.set(kVa, space.pte(kVa) & ~PT_WRITABLE);
  EXPECT_TRUE(machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 1).ok);
  EXPECT_EQ(space.pte(kVa) & (PT_MOD | PT_WRITABLE), PT_MOD);
  // Once marked dirty the entry writes no more MOD bits.
  space.set(kVa, 0);
  EXPECT_TRUE(machine.access(0, kVa, AccessKind::kWrite, Privilege::kUser, 2).ok);
  EXPECT_EQ(space.pte(kVa), 0u);
}

TEST(ModVariantTest, blind_hardware_marks_a_large_page_where_its_pte_lives) {
  Machine machine(config(ModVariant::kBlindDirty));
  ToySpace space(machine);
  space.load(0);
  space.map(kLargeVa, space.new_page(1), kUserRw, 1);
  machine.access(0, kLargeVa, AccessKind::kRead, Privilege::kUser);
  machine.access(0, kLargeVa + 7 * 4096, AccessKind::kWrite, Privilege::kUser, 1);
  EXPECT_NE(space.pte(kLargeVa, 1) & PT_MOD, 0u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
