#include "hat/reserve_ownership.h"

#include "gtest/gtest.h"
#include "hat/hment_reserve.h"
#include "hat/htable_for_test.h"
#include "hat/kmem.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

SystemConfig config_with(ReserveDesign design) {
  SystemConfig config = toy_config();
  config.reserves = design;
  return config;
}

class ReserveOwners : public ::testing::TestWithParam<ReserveDesign> {
 protected:
  ReserveOwners() : world_(config_with(GetParam())), owners_(*world_.sys.reserve_ownership) {}
  System& sys() { return world_.sys; }

  TestWorld world_;
  ReserveOwnership& owners_;
};

INSTANTIATE_TEST_SUITE_P(Designs, ReserveOwners,
                         ::testing::Values(ReserveDesign::kThread, ReserveDesign::kDepth),
                         [](const ::testing::TestParamInfo<ReserveDesign>& info) {
                           return info.param == ReserveDesign::kThread ? "thread" : "depth";
                         });

TEST_P(ReserveOwners, OnlyANestedLoadMayUseTheReserves) {
  EXPECT_FALSE(USE_HAT_RESERVES(sys()));
  owners_.enter(sys(), HAT_LOAD);
  EXPECT_FALSE(USE_HAT_RESERVES(sys()));
  owners_.enter(sys(), HAT_LOAD);
  EXPECT_TRUE(USE_HAT_RESERVES(sys()));
  owners_.exit(sys(), HAT_LOAD);
  owners_.exit(sys(), HAT_LOAD);
  EXPECT_FALSE(USE_HAT_RESERVES(sys()));
}

TEST_P(ReserveOwners, DepthReturnsToWhatItWas) {
  owners_.enter(sys(), HAT_NO_KALLOC);
  owners_.enter(sys(), HAT_LOAD);
  owners_.exit(sys(), HAT_LOAD);
  owners_.exit(sys(), HAT_NO_KALLOC);
  EXPECT_EQ(sys().me().t_hatdepth(), 0);
}

TEST_P(ReserveOwners, AnOwnerOfAVmemLockMayUseTheReserves) {
  sys().me().t_vmem_populating = true;
  EXPECT_TRUE(USE_HAT_RESERVES(sys()));
  sys().me().t_vmem_populating = false;
}

TEST_P(ReserveOwners, EverybodyUsesTheReservesDuringBoot) {
  sys().use_boot_reserve.store(1, std::memory_order_relaxed);
  EXPECT_TRUE(USE_HAT_RESERVES(sys()));
  sys().use_boot_reserve.store(0, std::memory_order_relaxed);
}

TEST_P(ReserveOwners, UnboundedRecursionIsCaught) {
  auto recurse = [this] {
    for (int i = 0; i < 16; ++i) owners_.enter(sys(), HAT_LOAD);
  };
  EXPECT_DEATH(recurse(), "invariant 58");
}

// S9.
TEST_P(ReserveOwners, ExitWithoutEnterIsCaught) {
  EXPECT_DEATH(owners_.exit(sys(), HAT_LOAD), "invariant 58");
}

TEST(ReserveOwnersByThread, ALoadThatMustNotAllocateOwnsTheReservesAtOnce) {
  System sys(config_with(ReserveDesign::kThread));
  sys.reserve_ownership->enter(sys, HAT_NO_KALLOC);
  EXPECT_TRUE(USE_HAT_RESERVES(sys));
  sys.reserve_ownership->exit(sys, HAT_NO_KALLOC);
  EXPECT_FALSE(USE_HAT_RESERVES(sys));
}

TEST(ReserveOwnersByThread, NestedLoadsAreOffList) {
  System sys(config_with(ReserveDesign::kThread));
  ReserveOwnership& owners = *sys.reserve_ownership;
  owners.enter(sys, HAT_LOAD);
  EXPECT_FALSE(owners.nested_load_is_noconsist(sys));
  owners.enter(sys, HAT_LOAD);
  EXPECT_TRUE(owners.nested_load_is_noconsist(sys));
  owners.exit(sys, HAT_LOAD);
  owners.exit(sys, HAT_LOAD);
}

TEST(ReserveOwnersByThread, TheOwnerTrimsTheReservesWhenItLeaves) {
  System sys(config_with(ReserveDesign::kThread));
  ReserveOwnership& owners = *sys.reserve_ownership;
  owners.enter(sys, HAT_LOAD);
  owners.enter(sys, HAT_LOAD);
  for (int i = 0; i < 3; ++i) hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
  EXPECT_EQ(sys.hment_reserve.count.load(std::memory_order_relaxed), 7u);
  owners.exit(sys, HAT_LOAD);
  EXPECT_EQ(sys.hment_reserve.count.load(std::memory_order_relaxed), 7u);
  owners.exit(sys, HAT_LOAD);
  EXPECT_EQ(sys.hment_reserve.count.load(std::memory_order_relaxed), 4u);
}

TEST(ReserveOwnersByThread, ALoadThatMustNotAllocateDoesNotTrim) {
  System sys(config_with(ReserveDesign::kThread));
  ReserveOwnership& owners = *sys.reserve_ownership;
  owners.enter(sys, HAT_NO_KALLOC);
  hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
  owners.exit(sys, HAT_NO_KALLOC);
  EXPECT_EQ(sys.hment_reserve.count.load(std::memory_order_relaxed), 5u);
}

// Invariant 59, and nobody is left waiting.
class OneOwner : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "reserve_ownership/one_owner";
  static constexpr const char* kClaim =
      "at most one thread owns the reserves, and it gives them up";
  static constexpr Bounds kBounds{.iterations = 30};

  OneOwner() : world_(config_with(ReserveDesign::kThread)) {}

  void thread(int /*index*/) {
    System& sys = world_.sys;
    ReserveOwnership& owners = *sys.reserve_ownership;
    for (int round = 0; round < 50; ++round) {
      owners.enter(sys, HAT_LOAD);
      if (choose(2) == 0) {
        owners.enter(sys, HAT_LOAD);
        HAT_ASSERT(owners.may_use(sys));
        HAT_ASSERT(owners_.fetch_add(1, std::memory_order_relaxed) == 0, "two owners");
        yield();
        owners_.fetch_sub(1, std::memory_order_relaxed);
        owners.exit(sys, HAT_LOAD);
      } else {
        HAT_ASSERT(!owners.may_use(sys));
      }
      owners.exit(sys, HAT_LOAD);
    }
  }

 private:
  TestWorld world_;
  Atomic<int> owners_{0};
};

TEST(ReserveOwnersByThread, AtMostOneThreadOwnsTheReserves) {
  EXPECT_NE(run_scenario<OneOwner>().verdict, Verdict::kViolated);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
