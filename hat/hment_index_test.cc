// Both designs of the hment index against a naive map.
#include "hat/hment_index.h"

#include <algorithm>
#include <deque>
#include <map>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Design {
  const char* name;
  std::unique_ptr<HmentIndex> (*make)(uint32_t, uint32_t);

  friend void PrintTo(const Design& design, std::ostream* out) { *out << design.name; }
};

class HmentIndexTest : public ::testing::TestWithParam<Design> {
 protected:
  std::unique_ptr<HmentIndex> make(uint32_t buckets, uint32_t locks) const {
    return GetParam().make(buckets, locks);
  }

  // Tables and hments stay where they are until the test ends.
  htable_t* table(pfn_t pfn) {
    tables_.emplace_back().ht_pfn = pfn;
    return &tables_.back();
  }
  hment_t* hment(const HmentKey& key) {
    hment_t& hm = hments_.emplace_back();
    hm.hm_htable = key.ht;
    hm.hm_entry = key.entry;
    hm.hm_pfn = key.pfn;
    return &hm;
  }

 private:
  std::deque<htable_t> tables_;
  std::deque<hment_t> hments_;
};

TEST_P(HmentIndexTest, AnEmptyIndexHasNothing) {
  const auto index = make(16, 4);
  EXPECT_EQ(index->remove(HmentKey{table(3), 0, 7}), nullptr);
  EXPECT_THAT(index->check_shape(), IsEmpty());
}

TEST_P(HmentIndexTest, WhatWasInsertedIsRemovedOnce) {
  const auto index = make(16, 4);
  const HmentKey key{table(3), 5, 7};
  hment_t* hm = hment(key);
  index->insert(hm);
  EXPECT_EQ(index->remove(key), hm);
  EXPECT_EQ(index->remove(key), nullptr);
}

TEST_P(HmentIndexTest, TheFrameTellsTwoMappingsOfOneEntryApart) {
  const auto index = make(16, 4);
  htable_t* ht = table(3);
  hment_t* old_page = hment({ht, 5, 7});
  hment_t* new_page = hment({ht, 5, 8});
  index->insert(old_page);
  index->insert(new_page);
  EXPECT_EQ(index->remove({ht, 5, 7}), old_page);
  EXPECT_EQ(index->remove({ht, 5, 8}), new_page);
}

TEST_P(HmentIndexTest, TheBucketIsMadeFromTheTablesFrameAndTheEntry) {
  const auto index = make(65536, 16);
  EXPECT_EQ(index->bucket_of(table(0), 9), 9u);
  EXPECT_EQ(index->bucket_of(table(2), 9), 2u * 512 + 2 + 9);
  EXPECT_EQ(index->bucket_of(table(200), 9), (200u * 513 + 9) & 65535);
}

TEST_P(HmentIndexTest, ForEachNamesEveryHmentAndItsBucketOnce) {
  const auto index = make(8, 2);
  htable_t* ht = table(1);
  std::set<hment_t*> expected;
  for (uint32_t entry = 0; entry < 40; ++entry) {
    hment_t* hm = hment({ht, entry, 100});
    index->insert(hm);
    expected.insert(hm);
  }
  std::set<hment_t*> seen;
  index->for_each([&](uint32_t bucket, hment_t* hm) {
    EXPECT_EQ(bucket, index->bucket_of(hm->hm_htable(), hm->hm_entry()));
    EXPECT_TRUE(seen.insert(hm).second);
  });
  EXPECT_EQ(seen, expected);
}

TEST_P(HmentIndexTest, ShapeCheckNoticesAnHmentInTheWrongBucket) {
  const auto index = make(16, 4);
  hment_t* hm = hment({table(3), 5, 7});
  index->insert(hm);
  hm->hm_entry = 6;
  EXPECT_THAT(index->check_shape(), HasSubstr("invariant 5"));
}

TEST_P(HmentIndexTest, ShapeCheckNoticesAKeyThatIsThereTwice) {
  const auto index = make(1, 1);
  htable_t* ht = table(3);
  index->insert(hment({ht, 5, 7}));
  hment_t* second = hment({ht, 6, 7});
  index->insert(second);
  second->hm_entry = 5;
  EXPECT_THAT(index->check_shape(), HasSubstr("invariant 6"));
}

TEST_P(HmentIndexTest, ShapeCheckNoticesACycle) {
  const auto index = make(1, 1);
  htable_t* ht = table(3);
  std::vector<hment_t*> hms;
  for (uint32_t entry = 0; entry < 3; ++entry) {
    hms.push_back(hment({ht, entry, 7}));
    index->insert(hms.back());
  }
  for (hment_t* hm : hms) {
    if (hm->hm_hash_left() == nullptr && hm->hm_hash_right() == nullptr) hm->hm_hash_left = hm;
  }
  EXPECT_THAT(index->check_shape(), Not(IsEmpty()));
}

// The oracle: a std::map from (table, entry, frame) to the hment inserted under that key. Few keys,
// so that most operations meet an occupied bucket, and so that removals of absent keys are common.
TEST_P(HmentIndexTest, RandomOperationsAgreeWithAMap) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const uint32_t buckets = 1u << (seed - 1);
    const auto index = make(buckets, 2);
    std::vector<htable_t*> tables;
    for (pfn_t pfn = 1; pfn <= 6; ++pfn) tables.push_back(table(pfn));

    std::map<std::tuple<htable_t*, uint32_t, pfn_t>, hment_t*> model;
    for (int step = 0; step < 4000; ++step) {
      const HmentKey key{tables[random() % tables.size()], static_cast<uint32_t>(random() % 12),
                         50 + random() % 4};
      const auto at = model.find({key.ht, key.entry, key.pfn});
      if (random() % 5 < 3 && at == model.end()) {
        hment_t* hm = hment(key);
        index->insert(hm);
        model[{key.ht, key.entry, key.pfn}] = hm;
      } else {
        hment_t* expected = at == model.end() ? nullptr : at->second;
        ASSERT_EQ(index->remove(key), expected) << "step " << step;
        if (expected != nullptr) model.erase(at);
      }
      if (step % 50 == 0) {
        ASSERT_THAT(index->check_shape(), IsEmpty()) << "step " << step;
      }
    }
    size_t count = 0;
    index->for_each([&](uint32_t, hment_t* hm) {
      ++count;
      const auto at = model.find({hm->hm_htable(), hm->hm_entry(), hm->hm_pfn()});
      ASSERT_NE(at, model.end());
      EXPECT_EQ(at->second, hm);
    });
    EXPECT_EQ(count, model.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Designs, HmentIndexTest,
                         ::testing::Values(Design{"chain", make_chain_index},
                                           Design{"avl", make_avl_index}),
                         [](const auto& param) { return param.param.name; });

TEST(AvlIndexDeathTest, InsertingAKeyTwiceViolatesInvariant6) {
  htable_t ht;
  ht.ht_pfn = 3;
  hment_t first;
  hment_t second;
  for (hment_t* hm : {&first, &second}) {
    hm->hm_htable = &ht;
    hm->hm_entry = 5;
    hm->hm_pfn = 7;
  }
  const auto index = make_avl_index(16, 4);
  index->insert(&first);
  EXPECT_DEATH(index->insert(&second), "invariant 6");
}

TEST(AvlIndexTest, ShapeCheckNoticesAWrongParentLinkAndAWrongBalance) {
  htable_t ht;
  ht.ht_pfn = 3;
  std::deque<hment_t> hms(7);
  const auto index = make_avl_index(1, 1);
  uint32_t entry = 0;
  for (hment_t& hm : hms) {
    hm.hm_htable = &ht;
    hm.hm_entry = entry++;
    index->insert(&hm);
  }
  ASSERT_THAT(index->check_shape(), IsEmpty());
  hment_t* parent = hms[0].hm_hash_parent();
  hms[0].hm_hash_parent = &hms[6];
  EXPECT_THAT(index->check_shape(), HasSubstr("wrong parent link"));
  hms[0].hm_hash_parent = parent;
  hms[0].hm_hash_balance = 1;
  EXPECT_THAT(index->check_shape(), HasSubstr("balance"));
}

// Threads insert and remove at the same time, each the mappings of a page of its own, in the same
// few buckets.
template <std::unique_ptr<HmentIndex> (*kMake)(uint32_t, uint32_t)>
class PagesOfTheirOwn : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "hat/hment_index_pages_of_their_own";
  static constexpr const char* kClaim = "a key that its thread inserted is found by it, once";
  static constexpr Bounds kBounds{.iterations = 20};
  static constexpr uint32_t kEntries = 64;

  PagesOfTheirOwn() : index_(kMake(8, 2)) {
    table_.ht_pfn = 1;
    for (uint32_t i = 0; i < kThreads * kEntries; ++i) {
      hment_t& hm = hments_.emplace_back();
      hm.hm_htable = &table_;
      hm.hm_entry = i % kEntries;
      hm.hm_pfn = 100 + i / kEntries;
    }
  }

  void thread(int t) {
    for (int round = 0; round < 10; ++round) {
      for (uint32_t i = 0; i < kEntries; ++i) index_->insert(&hments_[t * kEntries + i]);
      for (uint32_t i = 0; i < kEntries; ++i) {
        hment_t* hm = &hments_[t * kEntries + i];
        HAT_ASSERT(index_->remove(hment_key(hm)) == hm);
        HAT_ASSERT(index_->remove(hment_key(hm)) == nullptr);
      }
    }
  }

  void after() { HAT_ASSERT(index_->check_shape().empty()); }

 private:
  const std::unique_ptr<HmentIndex> index_;
  htable_t table_;
  std::deque<hment_t> hments_;
};

TEST(HmentIndexThreadsTest, ThreadsOnDifferentPagesDoNotDisturbEachOther) {
  EXPECT_EQ(run_scenario<PagesOfTheirOwn<make_chain_index>>().kind, Kind::kNone);
  EXPECT_EQ(run_scenario<PagesOfTheirOwn<make_avl_index>>().kind, Kind::kNone);
}

TEST(HmentCompareTest, OrdersByTableThenEntryThenFrame) {
  htable_t tables[2];
  const HmentKey least{&tables[0], 9, 9};
  EXPECT_EQ(hment_compare(least, least), 0);
  EXPECT_LT(hment_compare(least, {&tables[1], 0, 0}), 0);
  EXPECT_LT(hment_compare({&tables[0], 8, 10}, least), 0);
  EXPECT_LT(hment_compare({&tables[0], 9, 8}, least), 0);
  EXPECT_GT(hment_compare({&tables[1], 0, 0}, least), 0);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
