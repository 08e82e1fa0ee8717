// The checks H1 to H4 of walker.h: software that forgets a flush, or exposes a frame, is stopped
// at the first access that shows it, and the message says how the frame was reached.
#include <string>

#include "gtest/gtest.h"
#include "machine/machine.h"
#include "machine/toy_space.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kUserRw = PT_USER | PT_WRITABLE;
constexpr uintptr_t kVa = 0x12345000;

class WalkerCheckDeathTest : public testing::Test {
 protected:
  explicit WalkerCheckDeathTest(ModVariant variant = ModVariant::kRecheck)
      : machine_({.ncpus = 4, .nframes = 4096, .mod_variant = variant}), space_(machine_) {
    space_.load(3);
    page_ = space_.map(kVa, space_.new_page(), kUserRw);
    table_ = space_.table(kVa, 0);
  }

  AccessResult access(AccessKind kind = AccessKind::kRead, Privilege priv = Privilege::kUser,
                      uintptr_t va = kVa) {
    return machine_.access(3, va, kind, priv, 1);
  }
  void expect_stopped(const std::string& message, AccessKind kind = AccessKind::kRead,
                      Privilege priv = Privilege::kUser, uintptr_t va = kVa) {
    EXPECT_EXIT(access(kind, priv, va), testing::ExitedWithCode(1), message);
  }
  // "cpu 3 va 0x12345000 reached frame 5"
  static std::string path(const char* verb, pfn_t pfn) {
    return "cpu 3 va 0x12345.* " + std::string(verb) + " frame " + std::to_string(pfn);
  }

  Machine machine_;
  ToySpace space_;
  pfn_t page_;
  pfn_t table_;
};

class BlindWalkerCheckDeathTest : public WalkerCheckDeathTest {
 protected:
  BlindWalkerCheckDeathTest() : WalkerCheckDeathTest(ModVariant::kBlindDirty) {}
};

TEST_F(WalkerCheckDeathTest, a_freed_page_is_not_reached_through_the_tlb) {
  access();
  space_.set(kVa, 0);
  machine_.mem().set_kind(page_, FrameKind::kFree);
  expect_stopped("stale translation .invariant 29.: " + path("reached", page_) +
                 ", which is free, through its TLB");
  expect_stopped("which is free, through its TLB", AccessKind::kRead, Privilege::kKernel);
}

TEST_F(WalkerCheckDeathTest, a_page_given_out_again_is_not_reached_through_the_tlb) {
  access();
  space_.set(kVa, 0);
  machine_.mem().set_kind(page_, FrameKind::kFree);
  machine_.mem().set_kind(page_, FrameKind::kData);
  expect_stopped("invariant 29.*" + path("reached", page_) +
                 ", which is somebody else's by now, through its TLB");
}

TEST_F(WalkerCheckDeathTest, a_frame_that_became_a_table_is_not_reached_through_the_tlb) {
  access();
  machine_.mem().set_kind(page_, FrameKind::kTable);
  expect_stopped("invariant 29.*" + path("reached", page_) + ", which is somebody else's by now",
                 AccessKind::kRead, Privilege::kKernel);
}

TEST_F(WalkerCheckDeathTest, a_flushed_page_may_be_freed_and_given_out_again) {
  access();
  space_.set(kVa, 0);
  space_.invlpg(3, kVa);
  machine_.mem().set_kind(page_, FrameKind::kFree);
  machine_.mem().set_kind(page_, FrameKind::kData);
  space_.map(kVa, page_, kUserRw);
  EXPECT_TRUE(access().ok);
}

TEST_F(WalkerCheckDeathTest, tables_do_not_map_a_free_frame) {
  machine_.mem().set_kind(page_, FrameKind::kFree);
  expect_stopped("invariant 29.*" + path("reached", page_) +
                 ", which is free, through the page tables");
}

TEST_F(WalkerCheckDeathTest, a_free_frame_inside_a_large_page_is_noticed) {
  const uintptr_t va = kVa & machine_.mmu().level_mask(1);
  const pfn_t first = space_.map(va + 0x200000, space_.new_page(1), kUserRw, 1);
  access(AccessKind::kRead, Privilege::kUser, va + 0x200000);
  machine_.mem().set_kind(first + 5, FrameKind::kFree);
  EXPECT_TRUE(access(AccessKind::kRead, Privilege::kUser, va + 0x200000 + 4 * 4096).ok);
  expect_stopped("reached frame " + std::to_string(first + 5) + ", which is free, through its TLB",
                 AccessKind::kRead, Privilege::kUser, va + 0x200000 + 5 * 4096);
  machine_.mem().set_kind(first + 5, FrameKind::kData);
  machine_.mem().set_kind(first, FrameKind::kData);
  expect_stopped("reached frame " + std::to_string(first + 5) + ", which is somebody else's",
                 AccessKind::kRead, Privilege::kUser, va + 0x200000 + 5 * 4096);
}

TEST_F(WalkerCheckDeathTest, user_privilege_does_not_reach_a_page_table_and_kernel_does) {
  space_.map(kVa, table_, kUserRw);
  EXPECT_TRUE(access(AccessKind::kRead, Privilege::kKernel).ok);
  expect_stopped("page table exposed: user access of " + path("reached", table_) +
                 ", which is a page table, through its TLB");
  space_.invlpg(3, kVa);
  expect_stopped(
      "page table exposed.*through its paging-structure cache|"
      "page table exposed.*through the page tables");
}

TEST_F(WalkerCheckDeathTest, a_freed_table_is_not_walked_through_the_paging_structure_cache) {
  access();
  space_.set(kVa, 0);
  space_.invlpg(3, kVa);
  EXPECT_FALSE(access().ok) << "caches the pointer entry again";
  space_.set(kVa, 0, 1);
  machine_.mem().set_kind(table_, FrameKind::kFree);
  expect_stopped("invariant 29.*" + path("walked", table_) +
                 ", which is free, through its paging-structure cache");
  machine_.mem().set_kind(table_, FrameKind::kData);
  expect_stopped(path("walked", table_) + ", which is data, through its paging-structure cache");
  machine_.mem().set_kind(table_, FrameKind::kTable);
  expect_stopped(path("walked", table_) +
                 ", which is another page table by now, through its paging-structure cache");
}

TEST_F(WalkerCheckDeathTest, a_freed_table_is_not_walked_through_the_tables) {
  machine_.mem().set_kind(table_, FrameKind::kFree);
  expect_stopped(path("walked", table_) + ", which is free, through the page tables");
}

TEST_F(WalkerCheckDeathTest, cr3_names_a_page_table) {
  machine_.mem().set_kind(space_.root(), FrameKind::kFree);
  expect_stopped(path("walked", space_.root()) + ", which is free, through the page tables");
  EXPECT_EXIT(machine_.access(0, kVa, AccessKind::kRead, Privilege::kUser),
              testing::ExitedWithCode(1), "cpu 0 va 0x12345000: access before a top table");
}

TEST_F(BlindWalkerCheckDeathTest, mod_is_not_written_into_a_frame_that_is_no_table_any_more) {
  access();
  machine_.mem().set_kind(table_, FrameKind::kData);
  expect_stopped(path("walked", table_) + ", which is data, through its TLB", AccessKind::kWrite);
  machine_.mem().set_kind(table_, FrameKind::kTable);
  expect_stopped(path("walked", table_) + ", which is another page table by now, through its TLB",
                 AccessKind::kWrite);
}

TEST_F(WalkerCheckDeathTest, frames_that_do_not_exist_are_noticed_in_leaves_and_pointers) {
  space_.set(kVa, MAKEPTE(4096, 0) | kUserRw);
  expect_stopped("malformed PTE: cpu 3 va 0x12345000");
  space_.set(kVa, MAKEPTP(1 << 20), 1);
  space_.invlpg(3, kVa);
  expect_stopped("malformed pointer entry.*cpu 3 va 0x12345000 leads to frame 1048576");
}

TEST_F(WalkerCheckDeathTest, large_pages_are_aligned_and_of_a_size_the_machine_has) {
  space_.set(kVa, MAKEPTE(3, 1) | kUserRw, 1);
  expect_stopped("malformed PTE.* at level 1");

  Machine tiny({.mmu = {.num_level = 3, .bits_per_level = 1, .max_page_level = 1},
                .ncpus = 1,
                .nframes = 16});
  ToySpace space(tiny, 4);
  space.load(0);
  space.set(0, MAKEPTE(0, 2) | kUserRw, 2);
  EXPECT_EXIT(tiny.access(0, 0, AccessKind::kRead, Privilege::kUser), testing::ExitedWithCode(1),
              "malformed PTE.* at level 2");
}

TEST(MachineDeathTest, nonsense_is_refused) {
  EXPECT_EXIT(Machine({.ncpus = 0}), testing::ExitedWithCode(1), "a machine has 1 to 256 CPUs");
  EXPECT_EXIT(Machine({.mmu = {.num_level = 9}}), testing::ExitedWithCode(1), "geometry");
  Machine machine({.ncpus = 2, .nframes = 16});
  EXPECT_EXIT(machine.access(2, 0, AccessKind::kRead, Privilege::kUser), testing::ExitedWithCode(1),
              "no such CPU: 2 of 2");
}

TEST(MachineDeathTest, a_core_is_not_usable_outside_of_its_gate) {
  Machine machine({.ncpus = 2, .nframes = 16});
  Core* leaked = nullptr;
  machine.with_core(0, [&leaked](Core& core) { leaked = &core; });
  EXPECT_EXIT(leaked->invlpg(0), testing::ExitedWithCode(1), "machine.core");
  EXPECT_EXIT(leaked->load_cr3(1), testing::ExitedWithCode(1), "machine.core");
  EXPECT_EXIT(leaked->flush_all(), testing::ExitedWithCode(1), "machine.core");
  EXPECT_EXIT(leaked->cr3(), testing::ExitedWithCode(1), "machine.core");
  EXPECT_EXIT(leaked->captured(), testing::ExitedWithCode(1), "machine.core");
  EXPECT_EXIT(leaked->tlb(), testing::ExitedWithCode(1), "machine.core");
}

TEST(MachineDeathTest, an_access_from_inside_a_section_is_refused) {
  Machine machine({.ncpus = 2, .nframes = 16});
  EXPECT_EXIT(
      machine.with_core(
          0, [&machine](Core&) { machine.access(0, 0, AccessKind::kRead, Privilege::kUser); }),
      testing::ExitedWithCode(1), "recursion on a mutex.*machine.core");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
