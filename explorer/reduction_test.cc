// The reduction against brute force, on random programs: the same final states, the same traces,
// each trace once, and the same verdict.
//
// PROGRAMS random programs from SEED on; both can be set in the environment.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "explorer/random_search.h"
#include "explorer/trace.h"

namespace explorer {
namespace {

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
  options.observer = [&](const Engine& engine, End end) {
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

// True if they agree.
bool compare(uint64_t seed, uint64_t& traces, uint64_t& cut_short) {
  RandomProgram program(random_mix(seed));
  const Found all = explore(program, Method::kFull);
  const Found reduced = explore(program, Method::kDpor);
  if (all.result.too_long > 0) return true;  // it polls for what never comes
  EXPECT_EQ(all.kinds.empty(), reduced.kinds.empty());
  if (!all.early) {
    EXPECT_EQ(all.kinds, reduced.kinds);
    EXPECT_EQ(all.states, reduced.states);
    EXPECT_EQ(all.traces.size(), reduced.traces.size());
    for (const auto& [trace, times] : reduced.traces) {
      EXPECT_EQ(times, 1) << "a trace explored again";
      EXPECT_EQ(all.traces.count(trace), 1u) << "a trace that brute force does not know";
    }
  }
  traces += reduced.traces.size();
  cut_short += reduced.result.cut_short;
  const bool ok = !testing::Test::HasFailure();
  if (!ok) {
    ADD_FAILURE() << "seed " << seed << ": " << all.result.executions << " interleavings, "
                  << all.traces.size() << " traces; reduced: " << reduced.result.executions << " ("
                  << reduced.traces.size() << " traces), " << reduced.result.cut_short
                  << " cut short; findings " << all.result.findings << " and "
                  << reduced.result.findings << " " << all.result.finding.message << "\n"
                  << program.text();
  }
  return ok;
}

TEST(Reduction, ReachesEveryTraceOfRandomProgramsOnce) {
  const int first = number_from_environment("SEED", 1);
  const int programs = number_from_environment("PROGRAMS", HATCHECK_PROGRAMS);
  uint64_t traces = 0;
  uint64_t cut_short = 0;
  for (int i = 0; i < programs; ++i) {
    if (!compare(static_cast<uint64_t>(first + i), traces, cut_short)) break;
  }
  std::printf("%d programs, %llu traces, %llu executions cut short\n", programs,
              static_cast<unsigned long long>(traces), static_cast<unsigned long long>(cut_short));
}

}  // namespace
}  // namespace explorer
