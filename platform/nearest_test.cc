#include "platform/nearest.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hatcheck {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsAndReplacements) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", "abc"), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("abc", "abxc"), 1);
  EXPECT_EQ(edit_distance("abc", "ac"), 1);
  EXPECT_EQ(edit_distance("abc", "axc"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(EditDistance, IsTheSameBothWays) {
  for (const char* a : {"", "seed", "threads", "hats"}) {
    for (const char* b : {"sede", "thread", "has", "pages"}) {
      EXPECT_EQ(edit_distance(a, b), edit_distance(b, a)) << a << " " << b;
    }
  }
}

TEST(Nearest, IsTheChoiceWithTheSmallestDistance) {
  EXPECT_EQ(nearest("presure", {"maps", "mix", "pressure"}), "pressure");
}

TEST(Nearest, OfSeveralTheFirst) { EXPECT_EQ(nearest("x", {"a", "b"}), "a"); }

TEST(Nearest, OfNoneIsEmpty) { EXPECT_EQ(nearest("x", {}), ""); }

TEST(UnknownChoice, NamesTheWordTheChoicesAndTheNearest) {
  EXPECT_EQ(unknown_choice("workload", "mx", {"maps", "mix"}),
            "unknown workload 'mx'; expected one of maps, mix; nearest: mix");
}

}  // namespace
}  // namespace hatcheck
