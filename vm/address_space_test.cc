#include "vm/address_space.h"

#include "gtest/gtest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class AddressSpace : public ::testing::Test {
 protected:
  AddressSpace() { as.a_lock.enter(RwMode::kWriter); }
  ~AddressSpace() override { as.a_lock.exit(); }

  bool add(uintptr_t base, uint64_t size, uint64_t offset = 0) {
    return as_addseg(&as, seg_t{.s_base = base, .s_size = size, .s_prot = 7, .s_offset = offset});
  }
  as_t as;
};

TEST_F(AddressSpace, SegmentsDoNotOverlap) {
  EXPECT_TRUE(add(0x2000, 0x2000));
  EXPECT_FALSE(add(0x2000, 0x1000));
  EXPECT_FALSE(add(0x3000, 0x3000));
  EXPECT_FALSE(add(0x1000, 0x1001));
  EXPECT_FALSE(add(0x1000, 0x9000));
  EXPECT_FALSE(add(0x8000, 0)) << "empty";
  EXPECT_FALSE(add(~uintptr_t{0} - 0xfff, 0x2000)) << "wraps round";
  EXPECT_TRUE(add(0x1000, 0x1000));
  EXPECT_TRUE(add(0x4000, 0x1000));
  EXPECT_TRUE(add(~uintptr_t{0} - 0xfff, 0x1000)) << "up to the very top";
  EXPECT_EQ(as.a_segments.size(), 4u);
}

TEST_F(AddressSpace, SegmentsAreFoundByAddress) {
  add(0x2000, 0x2000, 0x10000);
  EXPECT_EQ(as_segat(&as, 0x1fff), nullptr);
  EXPECT_EQ(as_segat(&as, 0x4000), nullptr);
  const seg_t* seg = as_segat(&as, 0x3fff);
  ASSERT_NE(seg, nullptr);
  EXPECT_EQ(seg->offset_of(0x3000), 0x11000u);
  EXPECT_EQ(as_findseg(&as, 0), seg) << "the first that ends later";
  EXPECT_EQ(as_findseg(&as, seg->end()), nullptr);
}

TEST_F(AddressSpace, SplittingKeepsTheMeaningOfEveryAddress) {
  add(0x2000, 0x3000, 0x10000);
  EXPECT_TRUE(as_split(&as, 0x3000));
  EXPECT_TRUE(as_split(&as, 0x3000)) << "a boundary already";
  EXPECT_FALSE(as_split(&as, 0x5000));
  EXPECT_FALSE(as_split(&as, 0x1000));
  EXPECT_EQ(as.a_segments.size(), 2u);
  EXPECT_EQ(as_segat(&as, 0x2000)->s_size, 0x1000u);
  EXPECT_EQ(as_segat(&as, 0x4000)->s_base, 0x3000u);
  EXPECT_EQ(as_segat(&as, 0x4000)->offset_of(0x4000), 0x12000u);
}

TEST_F(AddressSpace, UnmappingCutsSegments) {
  add(0x2000, 0x3000, 0x10000);
  add(0x6000, 0x1000);
  EXPECT_EQ(as_unmap(&as, 0x3000, 0x1000), 0x1000u);
  EXPECT_EQ(as_segat(&as, 0x3000), nullptr);
  EXPECT_EQ(as_segat(&as, 0x4000)->offset_of(0x4000), 0x12000u);
  EXPECT_EQ(as_unmap(&as, 0, 0x6800), 0x2800u);
  EXPECT_EQ(as.a_segments.size(), 1u);
  EXPECT_EQ(as_segat(&as, 0x6800)->s_base, 0x6800u);
}

TEST_F(AddressSpace, ProtectionChangesExactlyTheRange) {
  add(0x2000, 0x3000);
  EXPECT_TRUE(as_setprot(&as, 0x3000, 0x1000, 1));
  EXPECT_EQ(as_segat(&as, 0x2fff)->s_prot, 7u);
  EXPECT_EQ(as_segat(&as, 0x3000)->s_prot, 1u);
  EXPECT_EQ(as_segat(&as, 0x4000)->s_prot, 7u);
  EXPECT_FALSE(as_setprot(&as, 0x4000, 0x2000, 1)) << "half of it is a hole";
}

TEST_F(AddressSpace, GapsAreFoundBetweenSegments) {
  add(0x2000, 0x1000);
  add(0x5000, 0x1000);
  EXPECT_EQ(as_gap(&as, 0x1000, 0x1000, 0x1000, 0x10000), 0x1000u);
  EXPECT_EQ(as_gap(&as, 0x2000, 0x1000, 0x1000, 0x10000), 0x3000u);
  EXPECT_EQ(as_gap(&as, 0x2000, 0x4000, 0x1000, 0x10000), 0x8000u);
  EXPECT_EQ(as_gap(&as, 0x3000, 0x1000, 0x1000, 0x8fff), 0u);
  EXPECT_EQ(as_gap(&as, 0x3000, 0x1000, 0x1000, 0x9000), 0x6000u);
  add(0, 0x1000);
  const uintptr_t top_page = ~uintptr_t{0} - 0xfff;
  add(top_page, 0x1000);
  EXPECT_EQ(as_gap(&as, 0x1000, 0x1000, top_page, ~uintptr_t{0}), 0u) << "does not wrap round";
}

TEST_F(AddressSpace, LookingNeedsTheLockAndChangingNeedsItAsWriter) {
  EXPECT_TRUE(AS_WRITE_HELD(&as));
  EXPECT_TRUE(AS_LOCK_HELD(&as));
  as.a_lock.downgrade();
  EXPECT_TRUE(AS_READ_HELD(&as));
  EXPECT_EQ(as_segat(&as, 0), nullptr);
  EXPECT_DEATH(add(0, 0x1000), "AS_WRITE_HELD");
  as.a_lock.exit();
  EXPECT_DEATH(as_segat(&as, 0), "AS_LOCK_HELD");
  as.a_lock.enter(RwMode::kWriter);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
