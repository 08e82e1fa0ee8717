#include "platform/lock_order.h"

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hatcheck {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr LockClass kOuter{"outer", 1};
constexpr LockClass kMiddle{"middle", 2};
constexpr LockClass kInner{"inner", 3};
constexpr LockClass kSpaces{"space", 4, Nests::kLargerNumberFirst};

Where at(int line) { return Where{"file.cc", "f", line, 1}; }

// Takes locks in turn, all held: {class, number, by tryenter, line}.
struct Take {
  const LockClass* lock_class;
  uint32_t number;
  bool by_try;
  int line;
};

void take(LockOrder& order, const std::vector<Take>& takes, CpuId cpu = 0) {
  std::vector<LockUse> held;
  for (const Take& t : takes) {
    const LockUse use{t.lock_class, t.number, t.by_try, at(t.line)};
    order.taking(
        static_cast<uint32_t>(held.size()), [&](uint32_t i) { return held[i]; }, use, cpu);
    held.push_back(use);
  }
}

TEST(LockOrder, KnowsAnEdgeByItsClassesAndPlaces) {
  LockOrder order;
  take(order, {{&kOuter, 5, false, 10}, {&kInner, 6, false, 11}}, 3);
  take(order, {{&kOuter, 7, false, 10}, {&kInner, 8, false, 11}}, 4);  // the same edge
  take(order, {{&kOuter, 7, false, 10}, {&kInner, 8, false, 12}});     // another place
  take(order, {{&kOuter, 7, false, 10}, {&kInner, 8, true, 11}});      // by tryenter
  const std::vector<LockEdge> edges = order.edges();
  ASSERT_EQ(edges.size(), 3u);
  EXPECT_EQ(to_string(edges[0]),
            "file.cc:11 (f) takes inner[6] with outer[5] held since file.cc:10 (f)");
  EXPECT_EQ(edges[0].cpu, 3u);
  EXPECT_TRUE(edges[2].inner.by_try);
  EXPECT_FALSE(order.inverted());
  EXPECT_FALSE(order.inversion());
}

TEST(LockOrder, DrawsAnEdgeFromTheInnermostLock) {
  LockOrder order;
  take(order, {{&kOuter, 0, false, 1}, {&kMiddle, 0, false, 2}, {&kInner, 0, false, 3}});
  EXPECT_EQ(order.edges().size(), 2u);
}

TEST(LockOrder, DrawsAnotherOneFromOutsideOfATryenter) {
  LockOrder order;
  // Middle was only tried: that inner waits for somebody matters to outer.
  take(order, {{&kOuter, 0, false, 1}, {&kMiddle, 0, true, 2}, {&kInner, 0, false, 3}});
  std::vector<std::string> names;
  for (const LockEdge& e : order.edges()) {
    names.push_back(std::string(e.outer.lock_class->name) + ">" + e.inner.lock_class->name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"outer>middle", "outer>inner", "middle>inner"}));
}

TEST(LockOrder, ReportsTheSecondEdgeOfACycleWithBothChains) {
  LockOrder order;
  take(order, {{&kOuter, 1, false, 1}, {&kInner, 2, false, 2}}, 0);
  EXPECT_FALSE(order.inverted());
  take(order, {{&kMiddle, 4, true, 6}, {&kInner, 2, false, 7}, {&kOuter, 3, false, 8}}, 1);
  EXPECT_TRUE(order.inverted());
  const auto found = order.inversion();
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->both);
  EXPECT_EQ(found->where.line, 8);
  EXPECT_THAT(found->message,
              HasSubstr("outer[3] is entered with inner[2] held, at file.cc:8 (f), held since "
                        "file.cc:7 (f); elsewhere inner[2] is entered with outer[1] held, at "
                        "file.cc:2 (f)"));
  EXPECT_THAT(found->message, HasSubstr("cpu 1 takes outer[3] (place 1)"));
  EXPECT_THAT(found->message, HasSubstr("holds middle[4] (place 2) by tryenter since"));
  EXPECT_THAT(found->message, HasSubstr("cpu 0 takes inner[2] (place 3)"));
}

TEST(LockOrder, ReportsACycleOfThree) {
  constexpr LockClass kFirst{"first", 9}, kSecond{"second", 9}, kThird{"third", 10};
  LockOrder order;
  take(order, {{&kFirst, 0, false, 1}, {&kThird, 0, false, 2}});
  take(order, {{&kThird, 0, true, 3}, {&kSecond, 0, true, 4}});
  EXPECT_FALSE(order.inverted());
  take(order, {{&kThird, 0, false, 5}, {&kSecond, 0, false, 6}});
  take(order, {{&kSecond, 0, false, 7}, {&kFirst, 0, false, 8}});
  const auto found = order.inversion();
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->both);
  for (const char* line : {"file.cc:2 ", "file.cc:6 ", "file.cc:8 "}) {
    EXPECT_THAT(found->message, HasSubstr(line));
  }
}

TEST(LockOrder, ReportsAnEdgeAgainstThePlaces) {
  LockOrder order;
  take(order, {{&kInner, 0, false, 1}, {&kOuter, 0, false, 2}});
  const auto found = order.inversion();
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->both);
  EXPECT_THAT(found->message, HasSubstr("declared by the places"));
  // And with both chains as soon as there are two.
  take(order, {{&kOuter, 0, false, 3}, {&kInner, 0, false, 4}});
  EXPECT_TRUE(order.inversion()->both);
  EXPECT_THAT(order.inversion()->message, HasSubstr("elsewhere inner[0]"));
}

TEST(LockOrder, ATryenterIsNoInversion) {
  LockOrder order;
  take(order, {{&kOuter, 0, false, 1}, {&kInner, 0, false, 2}});
  take(order, {{&kInner, 0, false, 3}, {&kOuter, 0, true, 4}});
  take(order, {{&kInner, 0, false, 3}, {&kInner, 1, true, 5}});
  EXPECT_EQ(order.edges().size(), 3u);
  EXPECT_FALSE(order.inversion());
}

TEST(LockOrder, WhatIsEnteredAfterATryenterIsComparedWithWhatLiesOutside) {
  LockOrder order;
  take(order, {{&kInner, 0, false, 1}, {&kOuter, 0, true, 2}, {&kMiddle, 0, false, 3}});
  const auto found = order.inversion();
  ASSERT_TRUE(found);
  EXPECT_THAT(found->message, HasSubstr("middle[0] is entered with inner[0] held"));
}

TEST(LockOrder, TwoLocksOfAClassNestOnlyIfItSaysSo) {
  LockOrder never;
  take(never, {{&kInner, 1, false, 1}, {&kInner, 2, false, 2}});
  ASSERT_TRUE(never.inversion());
  EXPECT_THAT(never.inversion()->message, HasSubstr("a class that does not nest"));
  LockOrder falling;
  take(falling, {{&kSpaces, 2, false, 1}, {&kSpaces, 1, false, 2}});
  EXPECT_FALSE(falling.inversion());
  // The same places in the source, the other order of numbers.
  take(falling, {{&kSpaces, 1, false, 1}, {&kSpaces, 2, false, 2}});
  ASSERT_TRUE(falling.inversion());
  EXPECT_THAT(falling.inversion()->message, HasSubstr("larger number comes first"));
  EXPECT_THAT(falling.inversion()->message, HasSubstr("elsewhere space[1] is entered"));
}

TEST(LockOrder, AsJson) {
  LockOrder order;
  const Where generated{"bazel-out/k8-fastbuild/bin/a/b/hat/c.cc", "g", 7, 1};
  const LockUse outer{&kOuter, 4, false, generated};
  order.taking(
      1, [&](uint32_t) { return outer; }, LockUse{&kInner, 5, true, Where{"./hat/c.h", "h", 8, 1}},
      0);
  EXPECT_EQ(lock_edges_json(order.edges()),
            R"x([{"outer": {"class": "outer", "place": 1, "number": 4, "by_try": false, )x"
            R"x("at": "a/b/hat/c.cc:7 (g)"}, )x"
            R"x("inner": {"class": "inner", "place": 3, "number": 5, "by_try": true, )x"
            R"x("at": "hat/c.h:8 (h)"}}])x");
}

TEST(LockOrder, ForgetsAll) {
  LockOrder order;
  take(order, {{&kInner, 0, false, 1}, {&kOuter, 0, false, 2}});
  order.clear();
  EXPECT_FALSE(order.inverted());
  EXPECT_TRUE(order.edges().empty());
  take(order, {{&kInner, 0, false, 1}, {&kOuter, 0, false, 2}});
  EXPECT_TRUE(order.inverted());
}

TEST(LockOrder, MoreEdgesThanTheTableHolds) {
  LockOrder order;
  constexpr int kLines = 10'000;
  for (int pass = 0; pass < 2; ++pass) {
    for (int line = 0; line < kLines; line += pass == 0 ? 1 : 500) {
      take(order, {{&kOuter, 0, false, 1}, {&kInner, 0, false, 2 + line}});
    }
  }
  EXPECT_EQ(order.edges().size(), static_cast<size_t>(kLines));
}

TEST(LockOrder, ThreadsAddTheSameEdgesOnce) {
  LockOrder order;
  std::vector<std::thread> threads;
  for (CpuId cpu = 0; cpu < 4; ++cpu) {
    threads.emplace_back([&order, cpu] {
      for (int line = 0; line < 200; ++line) {
        take(order, {{&kOuter, 0, false, 1}, {&kInner, 0, false, 2 + line}}, cpu);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order.edges().size(), 200u);
}

}  // namespace
}  // namespace hatcheck
