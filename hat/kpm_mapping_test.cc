// On-demand kpm: users, their list on the page, and the translation that lasts as long as they do.
#include "hat/kpm_mapping.h"

#include <string>

#include "gtest/gtest.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::Test;

SystemConfig on_demand_config() {
  SystemConfig config = toy_config();
  config.machine.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 3, .max_page_level = 1};
  config.machine.nframes = 128;
  config.kmap_bytes = config.machine.mmu.level_size(1);
  config.kernelheap_bytes = 2 * config.machine.mmu.level_size(1);
  config.map_kpm = true;
  config.kpm = KpmDesign::kOnDemand;
  return config;
}

class OnDemandKpmTest : public HatTest {
 protected:
  OnDemandKpmTest() : HatTest(on_demand_config()), page_(page_with(7)) {}

  void TearDown() override {
    hat_pageunload(sys(), page_);
    HatTest::TearDown();
  }

  uintptr_t mapin(kpme* k) { return hat_kpm_mapin(sys(), page_, k); }
  void mapout(kpme* k) { hat_kpm_mapout(sys(), page_, k, hat_kpm_page2va(sys(), page_)); }
  bool mapped() { return hat_probe(sys(), sys().kas_hat(), hat_kpm_page2va(sys(), page_)); }
  page_t* page_of(const kpme& k) { return k.kpe_page.load(std::memory_order_relaxed); }
  void expect_broken(const std::string& message) {
    const absl::Status status = hat_audit(sys());
    EXPECT_NE(status.message().find(message), absl::string_view::npos) << status.message();
  }

  page_t* const page_;
  kpme one_, two_;
};

TEST_F(OnDemandKpmTest, nothing_is_mapped_before_the_first_user_comes) {
  EXPECT_FALSE(mapped());
  expect_sound();
}

TEST_F(OnDemandKpmTest, a_page_is_mapped_from_the_first_mapin_to_the_last_mapout) {
  const uintptr_t va = mapin(&one_);
  EXPECT_EQ(va, hat_kpm_page2va(sys(), page_));
  EXPECT_EQ(sys().machine.access(1, va, AccessKind::kRead, Privilege::kKernel).value, 7u);
  EXPECT_EQ(mapin(&two_), va);
  EXPECT_EQ(page_->p_kpmref(), 2u);
  expect_sound();
  mapout(&one_);
  EXPECT_TRUE(mapped());
  mapout(&two_);
  EXPECT_FALSE(mapped());
  // Also for the CPU that had it cached.
  EXPECT_FALSE(sys().machine.access(1, va, AccessKind::kRead, Privilege::kKernel).ok);
}

TEST_F(OnDemandKpmTest, a_kpme_names_its_page_while_it_is_mapped_in) {
  mapin(&one_);
  EXPECT_EQ(page_of(one_), page_);
  mapout(&one_);
  EXPECT_EQ(page_of(one_), nullptr);
}

TEST_F(OnDemandKpmTest, a_second_mapin_of_the_same_kpme_changes_nothing) {
  mapin(&one_);
  mapin(&one_);
  EXPECT_EQ(page_->p_kpmref(), 1u);
  mapout(&one_);
  EXPECT_FALSE(mapped());
}

TEST_F(OnDemandKpmTest, users_leave_in_any_order) {
  kpme three;
  for (kpme* k : {&one_, &two_, &three}) mapin(k);
  mapout(&two_);
  expect_sound();
  mapout(&three);
  expect_sound();
  mapout(&one_);
  EXPECT_EQ(page_->p_kpmelist(), nullptr);
}

TEST_F(OnDemandKpmTest, a_kpm_user_is_no_mapping) {
  mapin(&one_);
  EXPECT_FALSE(hat_page_is_mapped(sys(), page_));
  EXPECT_EQ(hat_page_getshare(sys(), page_), 0u);
}

TEST_F(OnDemandKpmTest, pageunload_takes_every_kpme_and_the_translation) {
  mapin(&one_);
  mapin(&two_);
  hat_pageunload(sys(), page_);
  EXPECT_EQ(page_of(one_), nullptr);
  EXPECT_EQ(page_of(two_), nullptr);
  EXPECT_EQ(page_->p_kpmref(), 0u);
  EXPECT_FALSE(mapped());
}

TEST_F(OnDemandKpmTest, misuse_is_reported) {
  page_t* const other = page_with(1);
  EXPECT_DEATH(mapout(&one_), "invariant 55: hat_kpm_mapout .* not on its list");
  mapin(&one_);
  EXPECT_DEATH(hat_kpm_mapin(sys(), other, &one_), "invariant 55: .* is on the list of page");
  EXPECT_DEATH(hat_kpm_mapout(sys(), other, nullptr, hat_kpm_page2va(sys(), other)),
               "which has no kpm users");
  mapin(nullptr);
  EXPECT_DEATH(hat_pageunload(sys(), page_), "1 anonymous kpm users");
  mapout(nullptr);
}

TEST_F(OnDemandKpmTest, the_audit_names_what_is_wrong_with_a_list) {
  mapin(&one_);
  mapin(&two_);
  page_->p_kpmref = 1;
  expect_broken("invariant 55: page " + std::to_string(page_->p_pagenum) +
                ": p_kpmref 1, p_kpmelist is longer");
  page_->p_kpmref = 2;
  one_.kpe_page.store(nullptr, std::memory_order_relaxed);
  expect_broken("invariant 55: page " + std::to_string(page_->p_pagenum) + ": kpme 2");
  one_.kpe_page.store(page_, std::memory_order_relaxed);
  mapout(&one_);
  mapout(&two_);
  page_->p_kpmref = 1;
  expect_broken("p_kpmref 1, no translation in the kpm window");
  page_->p_kpmref = 0;
}

TEST(LinearKpm, records_nobody) {
  TestWorld world(amd64_config());
  page_t* const page = world.new_page();
  kpme user;
  hat_kpm_mapin(world.sys, page, &user);
  EXPECT_EQ(user.kpe_page.load(std::memory_order_relaxed), nullptr);
  EXPECT_EQ(page->p_kpmref(), 0u);
  page->p_kpmref = 1;
  EXPECT_NE(hat_audit(world.sys).message().find("users are not recorded"), absl::string_view::npos);
  page->p_kpmref = 0;
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
