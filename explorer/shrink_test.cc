// shrink() against brute force, on random programs: the fewest preemptions, and the critical step,
// which is as far as the schedule agrees with some execution that succeeds.
#include "explorer/shrink.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "explorer/random_search.h"
#include "explorer/schedule.h"

namespace explorer {
namespace {

struct Everything {
  std::vector<std::vector<Decision>> successes;
  bool too_long = false;
};

Everything all_executions(RandomProgram& program) {
  Everything all;
  Options options = search_options(program, Method::kFull);
  options.keep_going = true;
  options.observer = [&](const Engine& engine, End end) {
    if (end == End::kComplete && !engine.found()) all.successes.push_back(schedule_of(engine));
  };
  options.restarted = [&] { all = Everything{}; };
  all.too_long = search(program, options).too_long > 0;
  return all;
}

std::set<Kind> kinds_with(RandomProgram& program, int preemptions) {
  std::set<Kind> kinds;
  Options options = search_options(program, Method::kBound);
  options.preemptions = preemptions;
  options.keep_going = true;
  options.observer = [&](const Engine& engine, End) { kinds.insert(engine.finding().kind); };
  options.restarted = [&] { kinds.clear(); };
  search(program, options);
  return kinds;
}

size_t in_common(const std::vector<Decision>& a, const std::vector<Decision>& b) {
  size_t length = 0;
  while (length < std::min(a.size(), b.size()) && a[length].thread == b[length].thread &&
         a[length].choice == b[length].choice) {
    ++length;
  }
  return length;
}

struct Tally {
  int violated = 0;
  int with_critical_step = 0;
  int preempted = 0;
};

void compare(uint64_t seed, Tally& tally) {
  RandomProgram program(random_mix(seed, 3'000));
  const Options options = search_options(program, Method::kDpor);
  const Result result = search(program, options);
  if (result.verdict != Verdict::kViolated) return;
  const Everything all = all_executions(program);
  if (all.too_long) return;  // it polls for what never comes
  ++tally.violated;
  const Shrunk shrunk = shrink(program, options.engine, result, {});

  ASSERT_GE(shrunk.preemptions, 0) << "the finding did not come again";
  EXPECT_TRUE(shrunk.fewest);
  if (shrunk.preemptions > 0) {
    ++tally.preempted;
    EXPECT_EQ(kinds_with(program, shrunk.preemptions - 1).count(result.finding.kind), 0u);
  }
  EXPECT_EQ(kinds_with(program, shrunk.preemptions).count(result.finding.kind), 1u);

  std::string error;
  const auto schedule = decode(shrunk.schedule, program.threads(), &error);
  ASSERT_TRUE(schedule.has_value()) << error;
  if (all.successes.empty()) {
    EXPECT_EQ(shrunk.critical_is, Shrunk::Critical::kNone);
    return;
  }
  ++tally.with_critical_step;
  size_t longest = 0;
  for (const std::vector<Decision>& success : all.successes) {
    longest = std::max(longest, in_common(success, *schedule));
  }
  EXPECT_EQ(shrunk.critical_is, Shrunk::Critical::kStep);
  EXPECT_EQ(static_cast<size_t>(shrunk.critical), longest);
}

TEST(Shrink, AgreesWithBruteForceOnRandomPrograms) {
  Tally tally;
  for (uint64_t seed = 1; seed <= 2'000 && !HasFailure(); ++seed) {
    compare(seed, tally);
    if (HasFailure()) ADD_FAILURE() << "seed " << seed;
  }
  // The programs are such that this test means something.
  EXPECT_GT(tally.violated, 60);
  EXPECT_GT(tally.with_critical_step, 25);
  EXPECT_GT(tally.preempted, 5);
}

}  // namespace
}  // namespace explorer
