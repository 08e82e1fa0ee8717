#include <gtest/gtest.h>

#include "build/selftest/user.h"

namespace selftest {
namespace {

TEST(Counter, CountsUp) { EXPECT_EQ(count_up(5).total(), 5); }

TEST(Counter, IsOnTheBackendOfThisTest) {
  EXPECT_EQ(Counter().name(), "counter on " HATCHECK_SELFTEST_BACKEND);
}

}  // namespace
}  // namespace selftest
