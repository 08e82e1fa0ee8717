// The scenarios of scenarios.h on real threads. A violation ends the process.
#include "machine/scenarios.h"

#include "gtest/gtest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kMany = 1001;

template <class S>
class MachineScenarios : public testing::Test {};

using All =
    testing::Types<BlockedTargetIsServiced, CapturedCpusStandStill<kMany>,
                   InitiatorsTakeTurns<kMany>, UnmapAgainstAccess<kMany, ModVariant::kRecheck>,
                   UnmapAgainstAccess<kMany, ModVariant::kBlindDirty>,
                   CapturedUnmapLosesNoMod<kMany>,
                   SoftwareBitsSurviveWalks<kMany, ModVariant::kRecheck>,
                   SoftwareBitsSurviveWalks<kMany, ModVariant::kBlindDirty>>;
TYPED_TEST_SUITE(MachineScenarios, All);

TYPED_TEST(MachineScenarios, hold_on_real_threads) {
  EXPECT_TRUE(meets(Expectation::clean(), run_scenario<TypeParam>())) << TypeParam::kName;
}

// The other way round: without the flush the machine itself must notice.
TEST(MachineScenariosNoticed, an_unmap_that_flushes_nobody) {
  using Forgetful = UnmapAgainstAccess<kMany, ModVariant::kRecheck, false>;
  const Report report = run_isolated<Forgetful>();
  EXPECT_TRUE(meets(Expectation::violated(Kind::kPanic), report)) << report.message;
  EXPECT_NE(report.message.find("stale translation (invariant 29)"), std::string::npos)
      << report.message;
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
