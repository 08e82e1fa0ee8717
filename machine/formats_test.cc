// PTE format, geometry, CPU sets and frames: everything that needs no CPU.
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "machine/cpuset.h"
#include "machine/frames.h"
#include "machine/geometry.h"
#include "machine/pte.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

TEST(Pte, a_leaf_and_a_pointer_are_told_apart_by_pagesize_above_level_0_only) {
  EXPECT_TRUE(PTE_ISPAGE(MAKEPTE(7, 0), 0));
  EXPECT_TRUE(PTE_ISPAGE(MAKEPTE(512, 1), 1));
  EXPECT_TRUE(PTE_ISPTP(MAKEPTP(7), 1));
  EXPECT_FALSE(PTE_ISPAGE(MAKEPTP(7), 1));
  EXPECT_FALSE(PTE_ISPTP(MAKEPTE(512, 1), 1));
  // At level 0 the same bit belongs to the memory type.
  EXPECT_TRUE(PTE_ISPAGE(MAKEPTE(7, 0) | PT_PAT_4K, 0));
  EXPECT_FALSE(PTE_ISPTP(MAKEPTE(7, 0), 0));
}

TEST(Pte, nothing_without_valid_is_a_leaf_or_a_pointer) {
  const x86pte_t leftover = PT_MOD | PT_REF | PT_PAGESIZE;
  EXPECT_FALSE(PTE_ISVALID(leftover));
  EXPECT_FALSE(PTE_ISPAGE(leftover, 0));
  EXPECT_FALSE(PTE_ISPAGE(leftover, 1));
  EXPECT_FALSE(PTE_ISPTP(leftover, 1));
}

TEST(Pte, the_frame_number_survives_every_other_bit) {
  const x86pte_t noise =
      PT_NX | PT_SOFTWARE | PT_GLOBAL | PT_MOD | PT_REF | PT_USER | PT_WRITABLE | PT_NOCACHE;
  const pfn_t highest = PT_PADDR >> PT_PADDR_SHIFT;
  EXPECT_EQ(PTE2PFN(MAKEPTE(highest, 0) | noise, 0), highest);
  EXPECT_EQ(PTE2PFN(MAKEPTP(0x12345) | noise, 2), 0x12345u);
  // Bit 12 of a large page is its memory type, of a table or a small page its address.
  EXPECT_EQ(PTE2PFN(MAKEPTE(0x200, 1) | PT_PAT_LARGE, 1), 0x200u);
  EXPECT_EQ(PTE2PFN(MAKEPTE(0x201, 0), 0), 0x201u);
  EXPECT_EQ(PTE2PFN(MAKEPTP(0x201), 1), 0x201u);
}

TEST(Pte, equivalence_ignores_ref_and_mod_only) {
  const x86pte_t pte = MAKEPTE(9, 0) | PT_USER;
  EXPECT_TRUE(PTE_EQUIV(pte, pte | PT_REF | PT_MOD));
  EXPECT_FALSE(PTE_EQUIV(pte, pte | PT_WRITABLE));
  EXPECT_FALSE(PTE_EQUIV(pte, MAKEPTE(10, 0) | PT_USER));
}

TEST(Pte, software_bits_are_ordered) {
  EXPECT_GE(PT_NOCONSIST & PT_SOFTWARE, PT_NOSYNC);
  EXPECT_LT(PT_NOSYNC & PT_SOFTWARE, PT_NOCONSIST);
}

TEST(Geometry, the_default_is_amd64) {
  constexpr MmuGeometry mmu;
  static_assert(mmu.valid());
  EXPECT_EQ(mmu.pagesize(), 4096u);
  EXPECT_EQ(mmu.ptes_per_table(), 512u);
  EXPECT_EQ(mmu.level_size(1), uintptr_t{2} << 20);
  EXPECT_EQ(mmu.level_size(2), uintptr_t{1} << 30);
  EXPECT_EQ(mmu.level_shift(3), 39);
  EXPECT_EQ(mmu.level_frames(1), 512u);
  EXPECT_EQ(mmu.hole_start(), 0x0000800000000000u);
  EXPECT_EQ(mmu.hole_end(), 0xffff800000000000u);
  EXPECT_EQ(mmu.kernelbase(), 0xfffffd8000000000u);
  EXPECT_EQ(mmu.index(0xfffffd8000000000u, 3), 507u);
  EXPECT_EQ(mmu.top_entry_va(507), 0xfffffd8000000000u);
  EXPECT_EQ(mmu.top_entry_va(255), 0x00007f8000000000u);
  EXPECT_EQ(mmu.top_entry_va(256), mmu.hole_end());
}

TEST(Geometry, the_hole_has_an_exclusive_end) {
  for (const MmuGeometry mmu : {MmuGeometry(), MmuGeometry{2, 1, 0}, MmuGeometry{2, 3, 1}}) {
    EXPECT_FALSE(mmu.in_va_hole(0));
    EXPECT_FALSE(mmu.in_va_hole(mmu.hole_start() - 1));
    EXPECT_TRUE(mmu.in_va_hole(mmu.hole_start()));
    EXPECT_TRUE(mmu.in_va_hole(mmu.hole_end() - 1));
    EXPECT_FALSE(mmu.in_va_hole(mmu.hole_end()));
    EXPECT_FALSE(mmu.in_va_hole(~uintptr_t{0}));
  }
}

TEST(Geometry, the_smallest_machine_has_two_entries_per_table_and_64_bytes) {
  constexpr MmuGeometry mmu{.num_level = 2, .bits_per_level = 1, .max_page_level = 0};
  static_assert(mmu.valid());
  EXPECT_EQ(mmu.pagesize(), 16u);
  EXPECT_EQ(mmu.ptes_per_table(), 2u);
  EXPECT_EQ(mmu.level_size(2), 64u);
  EXPECT_EQ(mmu.hole_start(), 32u);
  EXPECT_EQ(mmu.kernelbase(), static_cast<uintptr_t>(-32));
  EXPECT_EQ(mmu.top_entry_va(0), 0u);
  EXPECT_EQ(mmu.top_entry_va(1), mmu.kernelbase());
  EXPECT_EQ(mmu.index(mmu.kernelbase(), 1), 1u);
  EXPECT_EQ(mmu.index(16, 0), 1u);
  EXPECT_EQ(mmu.index(16, 1), 0u);
}

TEST(Geometry, every_canonical_address_is_rebuilt_from_its_indexes) {
  for (int levels = 1; levels <= 4; ++levels) {
    for (int bits = 1; bits <= 3; ++bits) {
      const MmuGeometry mmu{levels, bits, 0};
      ASSERT_TRUE(mmu.valid());
      for (uintptr_t low = 0; low < mmu.level_size(levels); low += mmu.pagesize()) {
        const uintptr_t va = low < mmu.hole_start() ? low : low | mmu.hole_end();
        uintptr_t rebuilt = mmu.top_entry_va(mmu.index(va, mmu.max_level()));
        for (int level = mmu.max_level() - 1; level >= 0; --level) {
          rebuilt |= uintptr_t{mmu.index(va, level)} << mmu.level_shift(level);
        }
        ASSERT_EQ(rebuilt, va) << levels << " levels of " << bits << " bits";
      }
    }
  }
}

TEST(Geometry, shapes_that_cannot_be_represented_are_not_valid) {
  EXPECT_FALSE((MmuGeometry{0, 9, 0}).valid());
  EXPECT_FALSE((MmuGeometry{4, 0, 0}).valid());
  EXPECT_FALSE((MmuGeometry{2, 2, 2}).valid());
  EXPECT_FALSE((MmuGeometry{6, 9, 1}).valid());
}

TEST(CpuSet, members_are_visited_in_order_across_words) {
  CpuSet set{200, 3, 64, 63};
  EXPECT_EQ(std::vector<CpuId>(set.begin(), set.end()), (std::vector<CpuId>{3, 63, 64, 200}));
  EXPECT_EQ(set.count(), 4u);
  set.del(63);
  set.del(5);
  EXPECT_FALSE(set.contains(63));
  EXPECT_TRUE(set.contains(64));
  EXPECT_EQ(set.count(), 3u);
}

TEST(CpuSet, the_last_cpu_and_the_empty_set_end_the_iteration) {
  EXPECT_TRUE(CpuSet().empty());
  EXPECT_EQ(CpuSet().begin(), CpuSet().end());
  const CpuSet last = CpuSet::only(kMaxCpus - 1);
  EXPECT_EQ(std::vector<CpuId>(last.begin(), last.end()), std::vector<CpuId>{kMaxCpus - 1});
  EXPECT_EQ(CpuSet::all(kMaxCpus).count(), kMaxCpus);
}

TEST(CpuSet, union_and_intersection) {
  EXPECT_EQ((CpuSet{1, 70} | CpuSet{2}), (CpuSet{1, 2, 70}));
  EXPECT_EQ((CpuSet{1, 70} & CpuSet{70, 71}), CpuSet::only(70));
}

TEST(CpuSet, an_atomic_set_is_joined_left_and_photographed) {
  AtomicCpuSet set;
  EXPECT_TRUE(set.snapshot().empty());
  set.add(0);
  set.add(255);
  set.add(0);
  const CpuSet before = set.snapshot();
  set.del(0);
  EXPECT_TRUE(set.contains(255));
  EXPECT_FALSE(set.contains(0));
  EXPECT_EQ(before, (CpuSet{0, 255})) << "a snapshot does not follow the set";
  EXPECT_EQ(set.snapshot(), CpuSet::only(255));
}

TEST(CpuSet, a_small_atomic_set_covers_its_cpus) {
  AtomicCpuSet set(2);
  set.add(1);
  EXPECT_EQ(set.snapshot(), CpuSet::only(1));
}

TEST(Frames, new_memory_is_zero_and_free) {
  PhysMem mem(3, 512);
  for (pfn_t pfn = 0; pfn < 3; ++pfn) {
    EXPECT_EQ(mem.kind(pfn), FrameKind::kFree);
    EXPECT_EQ(mem.word(pfn, 511).load(std::memory_order_relaxed), 0u);
  }
  EXPECT_EQ(mem.size(), 3u);
  EXPECT_EQ(mem.frame_bytes(), 4096u);
}

TEST(Frames, a_machine_of_64_gib_costs_what_is_touched) {
  PhysMem mem(pfn_t{16} << 20, 512);
  mem.word((pfn_t{16} << 20) - 1, 511).store(42, std::memory_order_relaxed);
  EXPECT_EQ(mem.word((pfn_t{16} << 20) - 1, 511).load(std::memory_order_relaxed), 42u);
}

TEST(Frames, zero_and_copy_touch_one_frame) {
  PhysMem mem(4, 2);
  for (pfn_t pfn = 0; pfn < 4; ++pfn) {
    mem.word(pfn, 0).store(10 + pfn, std::memory_order_relaxed);
    mem.word(pfn, 1).store(20 + pfn, std::memory_order_relaxed);
  }
  mem.copy(0, 2);
  mem.zero(1);
  std::vector<uint64_t> words;
  for (pfn_t pfn = 0; pfn < 4; ++pfn) {
    words.push_back(mem.word(pfn, 0).load(std::memory_order_relaxed));
    words.push_back(mem.word(pfn, 1).load(std::memory_order_relaxed));
  }
  EXPECT_THAT(words, testing::ElementsAre(10, 20, 0, 0, 10, 20, 13, 23));
}

TEST(Frames, bytes_are_little_endian_at_any_offset_and_leave_their_neighbours) {
  for (uint32_t offset = 0; offset <= 32; ++offset) {
    for (uint32_t size = 0; size <= 32 - offset; ++size) {
      PhysMem mem(2, 4);
      const std::vector<uint8_t> background(32, 0xee);
      mem.write_bytes(1, 0, background);
      std::vector<uint8_t> bytes;
      for (uint32_t i = 0; i < size; ++i) {
        bytes.push_back(static_cast<uint8_t>(i + 1));
      }
      mem.write_bytes(1, offset, bytes);

      std::vector<uint8_t> expected = background;
      std::copy(bytes.begin(), bytes.end(), expected.begin() + offset);
      std::vector<uint8_t> all(32);
      mem.read_bytes(1, 0, absl::MakeSpan(all));
      ASSERT_EQ(all, expected) << offset << " " << size;
      std::vector<uint8_t> part(size);
      mem.read_bytes(1, offset, absl::MakeSpan(part));
      ASSERT_EQ(part, bytes) << offset << " " << size;
      const uint64_t word0 = mem.word(1, 0).load(std::memory_order_relaxed);
      ASSERT_EQ(word0 & 0xff, expected[0]);
      ASSERT_EQ(word0 >> 56, expected[7]);
    }
  }
}

TEST(Frames, every_set_kind_begins_a_new_life) {
  PhysMem mem(2, 2);
  const FrameLife first = mem.life(1);
  mem.set_kind(1, FrameKind::kData);
  const FrameLife second = mem.life(1);
  mem.set_kind(1, FrameKind::kData);
  const FrameLife third = mem.life(1);
  EXPECT_NE(first, second);
  EXPECT_NE(second, third);
  EXPECT_EQ(third.kind(), FrameKind::kData);
  mem.set_kind(1, FrameKind::kTable);
  EXPECT_EQ(mem.kind(1), FrameKind::kTable);
  EXPECT_EQ(mem.kind(0), FrameKind::kFree) << "a neighbour is not affected";
}

TEST(Frames, a_life_number_wraps_without_touching_the_kind) {
  FrameLife life(~uint32_t{0} - 3 + static_cast<uint32_t>(FrameKind::kTable));
  EXPECT_EQ(life.kind(), FrameKind::kTable);
  EXPECT_EQ(life.next(FrameKind::kData).kind(), FrameKind::kData);
}

TEST(FramesDeathTest, words_and_bytes_outside_of_memory_are_refused) {
  PhysMem mem(2, 2);
  EXPECT_EXIT(mem.word(2, 0), testing::ExitedWithCode(1), "no such word.*frame 0x2 of 0x2");
  EXPECT_EXIT(mem.word(1, 2), testing::ExitedWithCode(1), "no such word.*word 2 of 2");
  std::vector<uint8_t> bytes(9);
  EXPECT_EXIT(mem.read_bytes(1, 8, absl::MakeSpan(bytes)), testing::ExitedWithCode(1), "is false");
  EXPECT_EXIT(mem.write_bytes(1, 8, bytes), testing::ExitedWithCode(1), "is false");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
