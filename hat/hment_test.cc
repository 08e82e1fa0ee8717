// Mapping lists: embedding, promotion, lists, and every way through hment_prepare.
//
// What happens while hment_prepare has dropped the mlist is brought about in two ways. With one
// thread: kmem fails and the reserve is empty, so the hment is stolen, and the only mappings there
// are to steal are those of this very page. With two threads: they race, in a loop.
#include "hat/hment.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hat/hment_reserve.h"
#include "hat/htable_for_test.h"
#include "hat/kmem.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr uint32_t kAlways = 1'000'000;

using Records = std::vector<std::pair<htable_t*, uint32_t>>;

class HmentTest : public ::testing::Test {
 protected:
  HmentTest() : world_(toy_config()), sys_(world_.sys) {}

  void TearDown() override { EXPECT_EQ(hat_audit(sys_), absl::OkStatus()); }

  // Level-0 table 0 of a hat that maps nothing else there, and the address of entry 0.
  htable_t* table_of(hat_t* hat) { return world_.find(hat, 0, 0); }
  uintptr_t va(uint32_t entry) const { return entry * sys_.mmu().pagesize(); }

  Records records(page_t* pp) {
    Records found;
    htable_t* ht = nullptr;
    uint32_t entry = 0;
    hment_t* hm = nullptr;
    x86_hm_enter(sys_, pp);
    while ((hm = hment_walk(sys_, pp, &ht, &entry, hm)) != nullptr) found.emplace_back(ht, entry);
    x86_hm_exit(sys_, pp);
    return found;
  }

  bool embedded(page_t* pp) { return pp->p_embed.load(std::memory_order_relaxed) != 0; }
  uint32_t share(page_t* pp) { return pp->p_share(); }
  uint64_t allocs() { return sys_.hatstat.sum().hs_hm_alloc; }
  uint64_t frees() { return sys_.hatstat.sum().hs_hm_free; }

  // From now on hments can only be had by taking a mapping from a page.
  void leave_only_stealing() {
    sys_.alloc_faults.per_million.store(kAlways, std::memory_order_relaxed);
    sys_.hment_reserve.amount.store(0, std::memory_order_relaxed);
    while (hment_t* hm = hment_get_reserve(sys_)) kmem_free_hment(sys_, hm);
  }
  void end_of_shortage() {
    sys_.alloc_faults.per_million.store(0, std::memory_order_relaxed);
    sys_.hment_reserve.amount.store(4, std::memory_order_relaxed);
  }

  const CpuBinding cpu_{0};
  TestWorld world_;
  System& sys_;
};

TEST_F(HmentTest, APageWithoutMappingsHasNoRecords) {
  page_t* pp = world_.new_page();
  EXPECT_THAT(records(pp), IsEmpty());
  EXPECT_EQ(hment_mapcnt(sys_, pp), 0u);
}

TEST_F(HmentTest, TheFirstMappingIsEmbeddedAndTakesNoHment) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  const uint64_t before = allocs();
  world_.map(hat, va(3), pp);
  EXPECT_TRUE(embedded(pp));
  EXPECT_EQ(share(pp), 0u);
  EXPECT_THAT(records(pp), ElementsAre(Pair(table_of(hat), 3u)));
  EXPECT_EQ(hment_mapcnt(sys_, pp), 1u);
  EXPECT_EQ(allocs(), before);
}

TEST_F(HmentTest, ARefaultOfTheEmbeddedMappingTakesNoHment) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(3), pp);
  const uint64_t before = allocs();
  world_.map(hat, va(3), pp);
  EXPECT_TRUE(embedded(pp));
  EXPECT_EQ(allocs(), before);
}

TEST_F(HmentTest, TheSecondMappingPromotesTheFirst) {
  page_t* pp = world_.new_page();
  hat_t* a = world_.new_hat();
  hat_t* b = world_.new_hat();
  world_.map(a, va(3), pp);
  const uint64_t before = allocs();
  world_.map(b, va(1), pp);
  EXPECT_FALSE(embedded(pp));
  EXPECT_EQ(share(pp), 2u);
  EXPECT_THAT(records(pp), ElementsAre(Pair(table_of(b), 1u), Pair(table_of(a), 3u)));
  EXPECT_EQ(hment_mapcnt(sys_, pp), 2u);
  EXPECT_EQ(allocs(), before + 2);
}

TEST_F(HmentTest, AnotherEntryOfTheSameTableIsAnotherMapping) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(2), pp);
  EXPECT_THAT(records(pp), ElementsAre(Pair(table_of(hat), 2u), Pair(table_of(hat), 0u)));
}

TEST_F(HmentTest, AThirdMappingTakesOneHment) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(1), pp);
  const uint64_t before = allocs();
  world_.map(hat, va(2), pp);
  EXPECT_EQ(share(pp), 3u);
  EXPECT_EQ(allocs(), before + 1);
}

TEST_F(HmentTest, ARefaultOfAListedMappingGivesItsHmentBack) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(1), pp);
  const uint64_t allocs_before = allocs();
  const uint64_t frees_before = frees();
  world_.map(hat, va(0), pp);
  EXPECT_EQ(share(pp), 2u);
  EXPECT_EQ(allocs(), allocs_before + 1);
  EXPECT_EQ(frees(), frees_before + 1);
}

TEST_F(HmentTest, AListOfOneStaysAList) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(1), pp);
  world_.unmap(hat, va(1));
  EXPECT_FALSE(embedded(pp));
  EXPECT_EQ(share(pp), 1u);
  EXPECT_THAT(records(pp), ElementsAre(Pair(table_of(hat), 0u)));
}

TEST_F(HmentTest, AnEmptiedListIsReadyForAnEmbeddedMapping) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(1), pp);
  world_.unmap(hat, va(0));
  world_.unmap(hat, va(1));
  EXPECT_EQ(pp->p_mapping.load(std::memory_order_relaxed), nullptr);
  EXPECT_EQ(share(pp), 0u);
  world_.map(hat, va(2), pp);
  EXPECT_TRUE(embedded(pp));
}

TEST_F(HmentTest, MappingsAreRemovedFromHeadMiddleAndTail) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  for (uint32_t entry = 0; entry < 4; ++entry) world_.map(hat, va(entry), pp);
  htable_t* ht = table_of(hat);
  world_.unmap(hat, va(2));
  EXPECT_THAT(records(pp), ElementsAre(Pair(ht, 3u), Pair(ht, 1u), Pair(ht, 0u)));
  world_.unmap(hat, va(3));
  EXPECT_THAT(records(pp), ElementsAre(Pair(ht, 1u), Pair(ht, 0u)));
  world_.unmap(hat, va(0));
  EXPECT_THAT(records(pp), ElementsAre(Pair(ht, 1u)));
}

TEST_F(HmentTest, MapcntOfAConstituentCountsItsOwnAndTheGroupsMappings) {
  page_t* leader = world_.new_large_page();
  page_t* second = page_numtopp_nolock(sys_.vm, leader->p_pagenum + 1);
  hat_t* hat = world_.new_hat();
  world_.map_large(hat, sys_.mmu().level_size(1), leader);
  world_.map(hat, va(0), leader);
  EXPECT_EQ(hment_mapcnt(sys_, second), 1u);  // the leader's small mapping is not second's
  world_.map(hat, va(1), second);
  EXPECT_EQ(hment_mapcnt(sys_, second), 2u);
  EXPECT_EQ(hment_mapcnt(sys_, leader), 2u);
}

// ---- hment_prepare by itself.

TEST_F(HmentTest, PrepareGivesBackASpareWhenThePageLostItsMappingsMeanwhile) {
  page_t* pp = world_.new_page();
  hat_t* a = world_.new_hat();
  hat_t* b = world_.new_hat();
  world_.map(b, va(1), world_.new_page());
  world_.map(a, va(0), pp);
  world_.map(a, va(1), pp);
  world_.unmap(a, va(1));
  ASSERT_THAT(records(pp), ElementsAre(Pair(table_of(a), 0u)));  // a list of one

  leave_only_stealing();
  const uint64_t frees_before = frees();
  htable_t* ht = htable_lookup(sys_, b, 0, 0);
  x86_hm_enter(sys_, pp);
  hment_t* hm = hment_prepare(sys_, ht, 0, pp);
  x86_hm_exit(sys_, pp);
  htable_release(sys_, ht);
  end_of_shortage();

  // The hment it was given was the one of this page's only mapping.
  EXPECT_EQ(hm, nullptr);
  EXPECT_THAT(records(pp), IsEmpty());
  EXPECT_EQ(frees(), frees_before + 1);
}

TEST_F(HmentTest, PrepareStartsOverWhenThePromotedMappingIsTakenAway) {
  page_t* other = world_.new_page();
  page_t* pp = world_.new_page();
  hat_t* a = world_.new_hat();
  hat_t* b = world_.new_hat();
  hat_t* c = world_.new_hat();
  world_.map(a, va(0), pp);
  world_.map(b, va(0), other);
  world_.map(b, va(1), other);
  world_.unmap(b, va(1));
  world_.map(c, va(3), world_.new_page());

  leave_only_stealing();
  const uint64_t steals_before = sys_.hatstat.sum().hs_hm_steals;
  htable_t* ht = htable_lookup(sys_, c, 0, 0);
  x86_hm_enter(sys_, pp);
  hment_t* hm = hment_prepare(sys_, ht, 0, pp);
  x86_hm_exit(sys_, pp);
  htable_release(sys_, ht);
  end_of_shortage();

  // First steal: from the other page, for the promotion. Second: the mapping just promoted.
  EXPECT_EQ(hm, nullptr);
  EXPECT_EQ(sys_.hatstat.sum().hs_hm_steals, steals_before + 2);
  EXPECT_THAT(records(other), IsEmpty());
  EXPECT_THAT(records(pp), IsEmpty());
}

TEST_F(HmentTest, PrepareKeepsItsHmentWhenTheListOnlyGotShorter) {
  page_t* pp = world_.new_page();
  hat_t* a = world_.new_hat();
  hat_t* b = world_.new_hat();
  world_.map(b, va(1), world_.new_page());
  world_.map(a, va(0), pp);
  world_.map(a, va(1), pp);

  leave_only_stealing();
  htable_t* ht = htable_lookup(sys_, b, 0, 0);
  x86_hm_enter(sys_, pp);
  hment_t* hm = hment_prepare(sys_, ht, 0, pp);
  x86_hm_exit(sys_, pp);
  htable_release(sys_, ht);
  end_of_shortage();

  ASSERT_NE(hm, nullptr);
  EXPECT_EQ(share(pp), 1u);
  hment_free(sys_, hm);
}

TEST_F(HmentTest, ALoadThatStealsFromItsOwnPageEndsWithOneRecord) {
  page_t* pp = world_.new_page();
  hat_t* a = world_.new_hat();
  hat_t* b = world_.new_hat();
  world_.map(b, va(1), world_.new_page());
  world_.map(a, va(0), pp);
  world_.map(a, va(1), pp);
  world_.unmap(a, va(1));
  leave_only_stealing();
  world_.map(b, va(0), pp);
  end_of_shortage();
  EXPECT_TRUE(embedded(pp));
  EXPECT_THAT(records(pp), ElementsAre(Pair(table_of(b), 0u)));
}

// ---- Misuse.

using HmentDeathTest = HmentTest;

TEST_F(HmentDeathTest, RemovingAMappingThatIsNotListedPanics) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  world_.map(hat, va(1), pp);
  x86_hm_enter(sys_, pp);
  EXPECT_DEATH(hment_remove(sys_, pp, table_of(hat), 2), "hment_remove: no hment for htable va=0");
  x86_hm_exit(sys_, pp);
}

TEST_F(HmentDeathTest, RemovingAMappingThatIsNotTheEmbeddedOnePanics) {
  page_t* pp = world_.new_page();
  hat_t* hat = world_.new_hat();
  world_.map(hat, va(0), pp);
  x86_hm_enter(sys_, pp);
  EXPECT_DEATH(hment_remove(sys_, pp, table_of(hat), 2), "is not the embedded mapping");
  x86_hm_exit(sys_, pp);
}

TEST_F(HmentDeathTest, AWalkWithoutTheMlistPanics) {
  page_t* pp = world_.new_page();
  htable_t* ht = nullptr;
  uint32_t entry = 0;
  EXPECT_DEATH(hment_walk(sys_, pp, &ht, &entry, nullptr), "x86_hm_held");
}

// ---- Threads.

// Two address spaces on two CPUs and one page, which is SHARED throughout.
template <uint32_t kLocks, IndexDesign kIndex>
class RacingMappers : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hat/hment_racing_mappers";
  static constexpr const char* kClaim = "each mapping has exactly one record, and no hment leaks";
  static constexpr Bounds kBounds{.iterations = 10};

  RacingMappers() : world_(config()) {
    pp_ = world_.new_page();
    page_downgrade(world_.sys.vm, pp_);
    for (hat_t*& hat : hats_) hat = world_.new_hat();
  }
  ~RacingMappers() { HAT_ASSERT(page_tryupgrade(world_.sys.vm, pp_)); }

  void thread(int t) {
    // Threads 0 and 1 fault and unmap the same address of the same hat; 2 maps elsewhere. So the
    // page goes from none to embedded to a list and back, and mappings appear and vanish while
    // others prepare.
    hat_t* hat = hats_[t / 2];
    for (int round = 0; round < 200; ++round) {
      world_.map(hat, 0, pp_);
      if (choose(3) != 0) world_.unmap(hat, 0);
    }
    world_.map(hat, 0, pp_);
  }

  void after() {
    System& sys = world_.sys;
    HAT_ASSERT(hment_mapcnt(sys, pp_) == 2);
    const absl::Status audit = hat_audit(sys);
    HAT_ASSERT(audit.ok(), audit.ToString());
    // Invariant 39.
    const int64_t listed = pp_->p_share();
    const int64_t reserve = sys.hment_reserve.count.load(std::memory_order_relaxed);
    HAT_ASSERT(sys.hment_cache.outstanding() == listed + reserve);
  }

 private:
  static SystemConfig config() {
    SystemConfig config = toy_config();
    config.mlist_num_lock = kLocks;
    config.hash_num_lock = kLocks;
    config.index = kIndex;
    return config;
  }

  TestWorld world_;
  page_t* pp_;
  hat_t* hats_[2];
};

TEST(HmentThreadsTest, RacingMappersOfOnePageLeaveOneRecordEach) {
  EXPECT_EQ((run_scenario<RacingMappers<2, IndexDesign::kAvl>>().kind), Kind::kNone);
  EXPECT_EQ((run_scenario<RacingMappers<1, IndexDesign::kChain>>().kind), Kind::kNone);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
