// The scenarios of scenarios.h on real threads. A violation ends the process.
#include "machine/scenarios.h"

#include <string>

#include "gtest/gtest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr ModVariant kRecheck = ModVariant::kRecheck;
constexpr ModVariant kBlindDirty = ModVariant::kBlindDirty;

template <class S>
class MachineScenarios : public testing::Test {};

using All = testing::Types<
    BlockedTargetIsServiced, CapturedCpusStandStill<100>, InitiatorsTakeTurns<20>,
    UnmapAgainstAccess<2000, 500, 2, kRecheck>, UnmapAgainstAccess<2000, 500, 2, kBlindDirty>,
    CapturedUnmapLosesNoMod<60>, SoftwareBitsSurviveWalks<20000, 2000, kRecheck>,
    SoftwareBitsSurviveWalks<20000, 2000, kBlindDirty>, NeighbouringBytesSurvive<20000>>;
TYPED_TEST_SUITE(MachineScenarios, All);

TYPED_TEST(MachineScenarios, hold_on_real_threads) {
  EXPECT_TRUE(meets(Expectation::clean(), run_scenario<TypeParam>())) << TypeParam::kName;
}

// The other way round: without the flush the machine itself must notice. How many iterations that
// takes depends on how the host schedules; the number is for one on which threads hardly overlap.
TEST(MachineScenariosNoticed, an_unmap_that_flushes_nobody) {
  using Forgetful = UnmapAgainstAccess<3000, 500, 20, kRecheck, false>;
  const Report report = run_isolated<Forgetful>({.iterations = 10000});
  EXPECT_TRUE(meets(Expectation::violated(Kind::kPanic), report)) << report.message;
  EXPECT_NE(report.message.find("stale translation (invariant 29)"), std::string::npos)
      << report.message;
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
