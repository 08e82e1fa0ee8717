// What the oracle believes of the constituents of a large page.
#include "stress/oracle.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "stress/workload.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

Options Shootdown() {
  Options o;
  o.workload = "shootdown";
  return o;
}

class ConstituentsTest : public testing::Test {
 protected:
  // Maps the first two constituents, by small translations as long as the page is large.
  void LoadSmall() {
    ReaderGuard guard(process_.as.a_lock);
    for (uint64_t i = 0; i < 2; ++i) {
      const PageId id{group_.vp, group_.off + i * pagesize_};
      ASSERT_EQ(world_->load(process_, At(i), id, AccessKind::kRead, kProt, HAT_LOAD),
                FaultResult::kMapped);
    }
  }
  void LoadLarge() {
    ReaderGuard guard(process_.as.a_lock);
    ASSERT_EQ(world_->load_large(process_, *world_->large_segment(process_), At(0)),
              FaultResult::kMapped);
    ASSERT_GT(hat_getpagesize(sys_, process_.as.a_hat, At(0)), static_cast<int64_t>(pagesize_));
  }
  // As the page layer does before it breaks the page up.
  void Unload(size_t constituent) {
    const std::vector<page_t*> pages = world_->lock_group(group_, SE_EXCL);
    ASSERT_FALSE(pages.empty());
    sys_.vm.mapping_ops().hat_pageunload(pages[constituent]);
    world_->unlock_pages(pages);
  }

  uintptr_t At(uint64_t i) { return world_->large_segment(process_)->s_base + i * pagesize_; }
  Belief Believed(uint64_t i) { return process_.shadow.look(At(i)).belief; }
  bool Mapped(uint64_t i) { return hat_getpfnum(sys_, process_.as.a_hat, At(i)) != PFN_INVALID; }

  static constexpr uint32_t kProt = PROT_READ_ATTR;

  const CpuBinding binding_{0, 1};
  const Options options_ = Shootdown();
  const Workload& workload_ = *find_workload(options_.workload);
  System sys_{system_config(options_, workload_)};
  const std::unique_ptr<World> world_ = *build_world(options_, workload_, sys_);
  const LargeGroup& group_ = world_->large_groups.front();
  Process& process_ = *world_->slots.front()->process;
  const uint64_t pagesize_ = sys_.mmu().pagesize();
};

TEST_F(ConstituentsTest, ASmallTranslationOfAnotherConstituentMayStay) {
  LoadSmall();
  Unload(0);
  EXPECT_EQ(Believed(0), Belief::kUnmapped);
  EXPECT_TRUE(Mapped(1));
  EXPECT_EQ(Believed(1), Belief::kMaybe);
}

TEST_F(ConstituentsTest, ALargeTranslationMayBeGoneForAll) {
  LoadLarge();
  Unload(0);
  EXPECT_EQ(Believed(0), Belief::kUnmapped);
  EXPECT_FALSE(Mapped(1));
  EXPECT_EQ(Believed(1), Belief::kMaybe);
}

TEST_F(ConstituentsTest, ItsOwnUnloadTakesAConstituentForSure) {
  LoadSmall();
  Unload(0);
  Unload(1);
  EXPECT_FALSE(Mapped(1));
  EXPECT_EQ(Believed(1), Belief::kUnmapped);
}

TEST_F(ConstituentsTest, WhatIsLoadedAfterwardsIsMappedForSure) {
  LoadSmall();
  Unload(0);
  LoadSmall();
  EXPECT_EQ(Believed(0), Belief::kMapped);
  EXPECT_EQ(Believed(1), Belief::kMapped);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
