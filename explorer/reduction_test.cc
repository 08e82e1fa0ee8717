// The reduction against brute force, on random programs: the same final states, the same traces,
// each trace once, and the same verdict.
//
// PROGRAMS random programs from SEED on; both can be set in the environment. Programs that have no
// end, or more interleavings than brute force can go through, are set aside and counted.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "explorer/random_search.h"
#include "explorer/trace.h"

namespace explorer {
namespace {

// Programs are made to have some 20,000 interleavings; how often a loop polls is not known before.
constexpr uint64_t kMostInterleavings = 1'000'000;
constexpr int kBetweenTellings = 500;

struct Found {
  std::map<TraceDigest, int> traces;  // of executions that ended by themselves, how often
  std::set<uint64_t> states;
  std::set<Kind> kinds;
  bool early = false;  // some execution ended before its threads did
  Result result;
};

Found explore(RandomProgram& program, Method method) {
  Found found;
  Options options = search_options(program, method);
  options.keep_going = true;
  options.executions = kMostInterleavings;
  // A program that polls for what never comes has no end.
  bool polls = false;
  options.progress = [&polls](const Progress&) { return !polls; };
  options.observer = [&](const Engine& engine, End end) {
    polls = polls || end == End::kTooLong;
    if (end != End::kComplete) return;
    if (engine.found()) {
      found.kinds.insert(engine.finding().kind);
      if (ends_early(engine)) {
        found.early = true;
        return;
      }
    } else {
      found.states.insert(program.final_state());
    }
    ++found.traces[trace_of(engine)];
  };
  options.restarted = [&] { found = Found{}; };
  found.result = search(program, options);
  return found;
}

struct Tally {
  int programs = 0;
  int exact = 0;              // of which all states and traces were compared
  int endless = 0;            // set aside
  int too_large = 0;          // set aside
  std::map<Kind, int> kinds;  // programs in which brute force found it
  uint64_t interleavings = 0;
  uint64_t traces = 0;
  uint64_t cut_short = 0;
};

// True if they agree.
bool compare(const RandomProgramOptions& options, Tally& tally) {
  RandomProgram program(options);
  const Found all = explore(program, Method::kFull);
  ++tally.programs;
  if (all.result.too_long > 0) {
    ++tally.endless;
    return true;
  }
  if (all.result.executions >= kMostInterleavings) {
    ++tally.too_large;
    return true;
  }
  const Found reduced = explore(program, Method::kDpor);
  EXPECT_EQ(all.result.verdict, reduced.result.verdict);
  EXPECT_EQ(all.kinds.empty(), reduced.kinds.empty());
  if (!all.early) {
    EXPECT_EQ(all.kinds, reduced.kinds);
    EXPECT_EQ(all.states, reduced.states);
    EXPECT_EQ(all.traces.size(), reduced.traces.size());
    for (const auto& [trace, times] : reduced.traces) {
      EXPECT_EQ(times, 1) << "a trace explored again";
      EXPECT_EQ(all.traces.count(trace), 1u) << "a trace that brute force does not know";
    }
    ++tally.exact;
  }
  for (const Kind kind : all.kinds) ++tally.kinds[kind];
  tally.interleavings += all.result.executions;
  tally.traces += reduced.traces.size();
  tally.cut_short += reduced.result.cut_short;
  const bool ok = !testing::Test::HasFailure();
  if (!ok) {
    ADD_FAILURE() << "seed " << options.seed << ": " << all.result.executions << " interleavings, "
                  << all.traces.size() << " traces; reduced: " << reduced.result.executions << " ("
                  << reduced.traces.size() << " traces), " << reduced.result.cut_short
                  << " cut short; findings " << all.result.findings << " and "
                  << reduced.result.findings << " " << all.result.finding.message << "\n"
                  << program.text();
  }
  return ok;
}

void print(const Tally& tally) {
  std::printf(
      "%d programs, %d set aside (%d without end, %d too large), %d compared in all states and "
      "traces: %llu interleavings, %llu traces, %llu executions cut short\n",
      tally.programs, tally.endless + tally.too_large, tally.endless, tally.too_large, tally.exact,
      static_cast<unsigned long long>(tally.interleavings),
      static_cast<unsigned long long>(tally.traces),
      static_cast<unsigned long long>(tally.cut_short));
  for (const auto& [kind, programs] : tally.kinds) {
    std::printf("  %d with: %s\n", programs, std::string(phrase(kind)).c_str());
  }
}

TEST(Reduction, ReachesEveryTraceOfRandomProgramsOnce) {
  const int first = number_from_environment("SEED", 1);
  const int programs = number_from_environment("PROGRAMS", HATCHECK_PROGRAMS);
  Tally tally;
  while (tally.exact < programs && tally.programs < 3 * programs) {
    if (!compare(random_mix(static_cast<uint64_t>(first + tally.programs)), tally)) break;
    if (tally.programs % kBetweenTellings == 0) {
      std::printf("after %d programs: %d compared\n", tally.programs, tally.exact);
      std::fflush(stdout);
    }
  }
  print(tally);
  EXPECT_EQ(tally.exact, programs) << "most programs end early or have no end";
  EXPECT_LE(tally.endless + tally.too_large, tally.programs / 20) << "many were set aside";
}

struct Plant {
  const char* name;
  Planted planted;
  Kind kind;
};

class PlantedTest : public testing::TestWithParam<Plant> {};

TEST_P(PlantedTest, IsFoundWhereBruteForceFindsIt) {
  const Plant& plant = GetParam();
  const int first = number_from_environment("SEED", 1);
  const int programs = number_from_environment("PROGRAMS", HATCHECK_PROGRAMS) / 5;
  Tally tally;
  while (tally.programs < programs) {
    RandomProgramOptions options = random_mix(static_cast<uint64_t>(first + tally.programs));
    options.planted = plant.planted;
    if (!compare(options, tally)) break;
  }
  print(tally);
  EXPECT_GT(tally.kinds[plant.kind], programs / 2) << "what is planted is hardly ever there";
}

INSTANTIATE_TEST_SUITE_P(Plants, PlantedTest,
                         testing::Values(Plant{"deadlock", Planted::kDeadlock, Kind::kDeadlock},
                                         Plant{"race", Planted::kRace, Kind::kDataRace},
                                         Plant{"lost_wakeup", Planted::kLostWakeup,
                                               Kind::kLostWakeup}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace explorer
