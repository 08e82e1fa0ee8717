#include "stress/format.h"

#include "gtest/gtest.h"

namespace hatcheck {
namespace {

TEST(Format, LongNumbersAreGrouped) {
  EXPECT_EQ(grouped(uint64_t{0}), "0");
  EXPECT_EQ(grouped(uint64_t{999}), "999");
  EXPECT_EQ(grouped(uint64_t{1000}), "1,000");
  EXPECT_EQ(grouped(uint64_t{1234567}), "1,234,567");
  EXPECT_EQ(grouped(int64_t{-1234}), "-1,234");
  EXPECT_EQ(grouped(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(Format, RoundedNumbersHaveThreeDigits) {
  EXPECT_EQ(rounded(0), "0");
  EXPECT_EQ(rounded(999), "999");
  EXPECT_EQ(rounded(999.9), "1.00 k");
  EXPECT_EQ(rounded(12345), "12.3 k");
  EXPECT_EQ(rounded(9999), "10.0 k");
  EXPECT_EQ(rounded(99990), "100 k");
  EXPECT_EQ(rounded(12345678), "12.3 M");
  EXPECT_EQ(rounded(2.5), "2.50");
}

TEST(Format, TimesHaveTheUnitThatFits) {
  EXPECT_EQ(nanoseconds(0), "0 ns");
  EXPECT_EQ(nanoseconds(850), "850 ns");
  EXPECT_EQ(nanoseconds(12345), "12.3 us");
  EXPECT_EQ(nanoseconds(1999999999), "2.00 s");
  EXPECT_EQ(seconds(absl::Milliseconds(512)), "0.5 s");
  EXPECT_EQ(seconds(absl::Milliseconds(9960)), "10 s");
  EXPECT_EQ(seconds(absl::Seconds(60)), "60 s");
  EXPECT_EQ(seconds(absl::Seconds(750)), "12 min 30 s");
  EXPECT_EQ(seconds(absl::InfiniteDuration()), "for ever");
}

TEST(Format, AShareOfNothingIsNoNumberAndALittleIsNotZero) {
  EXPECT_EQ(percent(1, 0), "-");
  EXPECT_EQ(percent(3, 8), "37.5%");
  EXPECT_EQ(percent(0, 8), "0.0%");
  EXPECT_EQ(percent(1, 1000000), "<0.1%");
  EXPECT_EQ(percent(1, 2000), "0.1%");
}

TEST(Table, ColumnsAreAlignedAndNoLineEndsInBlanks) {
  Table table({"name", "n"});
  EXPECT_TRUE(table.empty());
  table.row({"a", "1,000"});
  table.row({"longer", ""});
  EXPECT_EQ(table.text(),
            "  name        n\n"
            "  ------  -----\n"
            "  a       1,000\n"
            "  longer\n");
}

}  // namespace
}  // namespace hatcheck
