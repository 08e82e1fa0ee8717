// Every scenario in a loop on real threads.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "models/registry.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class OnThreads : public ::testing::TestWithParam<AnyScenario> {};

std::string test_name(const ::testing::TestParamInfo<AnyScenario>& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '/'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, OnThreads, ::testing::ValuesIn(all_scenarios()), test_name);

TEST_P(OnThreads, EndsAsItMust) {
  const AnyScenario& scenario = GetParam();
  if (scenario.expected.kind != Kind::kNone) GTEST_SKIP() << "a violation is a matter of luck here";
  const Report report = run_isolated(scenario);
  EXPECT_TRUE(meets(scenario.expected, report)) << verdict_line(report) << "\n" << report.message;
}

TEST(Registry, NamesAreUniqueAndHaveASubject) {
  std::vector<std::string> names;
  for (const AnyScenario& scenario : all_scenarios()) names.push_back(scenario.name);
  for (const std::string& name : names) EXPECT_NE(name.find('/'), std::string::npos) << name;
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
