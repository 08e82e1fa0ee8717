// The parts of a search: together the whole, no two with a trace in common, whoever runs them.
//
// PROGRAMS random programs from SEED on; both can be set in the environment.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "explorer/random_search.h"
#include "explorer/sync.h"
#include "explorer/trace.h"

namespace explorer {
namespace {

struct Found {
  std::map<TraceDigest, int> traces;
  bool ends_early = false;  // some execution ended before its threads did
  uint64_t executions = 0;
  uint64_t cut_short = 0;
  uint64_t too_long = 0;
  uint64_t parts = 0;  // with executions
  Verdict verdict = Verdict::kExhausted;
  std::string violation;
};

void explore(Program& program, const Options& asked, Found& found) {
  Options options = asked;
  Found part;
  // A program that polls for what never comes has no end.
  bool polls = false;
  options.progress = [&polls](const Progress&) { return !polls; };
  options.observer = [&](const Engine& engine, End end) {
    polls = polls || end == End::kTooLong;
    if (end != End::kComplete) return;
    if (ends_early(engine)) {
      part.ends_early = true;
    } else {
      ++part.traces[trace_of(engine)];
    }
  };
  options.restarted = [&] { part = Found{}; };
  const Result result = search(program, options);
  for (const auto& [trace, times] : part.traces) found.traces[trace] += times;
  found.ends_early = found.ends_early || part.ends_early;
  found.executions += result.executions;
  found.cut_short += result.cut_short;
  found.too_long += result.too_long;
  if (result.executions > 0) ++found.parts;
  if (result.verdict == Verdict::kViolated) {
    found.verdict = Verdict::kViolated;
    found.violation = result.schedule + ": " + result.finding.message;
  }
}

struct Sums {
  uint64_t traces = 0;
  uint64_t cut_short = 0;
  uint64_t divided = 0;
};

// True if shards find what the whole search finds, and each trace once.
bool compare(uint64_t seed, Method method, int shards, Sums& sums) {
  RandomProgram program(random_mix(seed, 3'000));
  Options options = search_options(program, method);
  options.keep_going = true;
  Found whole;
  explore(program, options, whole);
  if (whole.too_long > 0) return true;
  Found parts;
  options.shards = shards;
  for (options.shard = 0; options.shard < shards; ++options.shard) {
    explore(program, options, parts);
  }
  EXPECT_EQ(whole.verdict, parts.verdict);
  if (!whole.ends_early) {
    if (method == Method::kBound) {
      // Lower bounds are searched first, in a part only as far as it meets them: how often an
      // execution comes differs.
      for (auto* traces : {&whole.traces, &parts.traces}) {
        for (auto& [trace, times] : *traces) times = 1;
      }
    } else {
      EXPECT_EQ(whole.executions, parts.executions);
    }
    EXPECT_EQ(whole.traces, parts.traces);
    if (whole.cut_short == 0 && method == Method::kDpor) {
      for (const auto& [trace, times] : parts.traces) {
        EXPECT_EQ(times, 1) << "a trace is in two parts";
      }
    }
  }
  sums.traces += whole.traces.size();
  sums.cut_short += parts.cut_short;
  if (parts.parts > 1) ++sums.divided;
  if (!testing::Test::HasFailure()) return true;
  ADD_FAILURE() << "seed " << seed << ": whole " << whole.traces.size() << " traces, "
                << whole.executions << " executions; parts " << parts.traces.size() << " and "
                << parts.executions << "; violations: whole " << whole.violation << "; parts "
                << parts.violation << "\n"
                << program.text();
  return false;
}

void compare_programs(Method method, int shards, int divisor) {
  const int first = number_from_environment("SEED", 1);
  const int programs = number_from_environment("PROGRAMS", HATCHECK_PROGRAMS) / divisor;
  Sums sums;
  for (int i = 0; i < programs; ++i) {
    if (!compare(static_cast<uint64_t>(first + i), method, shards, sums)) break;
  }
  std::printf("%d programs, %llu in several parts, %llu traces, %llu executions cut short\n",
              programs, static_cast<unsigned long long>(sums.divided),
              static_cast<unsigned long long>(sums.traces),
              static_cast<unsigned long long>(sums.cut_short));
  EXPECT_GT(sums.divided, static_cast<uint64_t>(programs) / 4) << "hardly anything was divided";
}

TEST(Division, ShardsOfTheReducedSearchFindEveryTraceOnce) {
  compare_programs(Method::kDpor, 3, 1);
}

TEST(Division, ShardsOfTheFullSearchFindEveryInterleavingOnce) {
  compare_programs(Method::kFull, 2, 10);
}

TEST(Division, ShardsOfABoundedSearchFindTheSameExecutions) {
  compare_programs(Method::kBound, 2, 4);
}

TEST(Division, WhatCannotBeDividedIsOnePart) {
  Sums sums;
  // It has no lock but reader-writer locks, and yields, which make executions that are cut short.
  EXPECT_TRUE(compare(304, Method::kDpor, 3, sums));
  EXPECT_EQ(sums.traces, 151u);
  EXPECT_EQ(sums.divided, 0u);
}

// Takes the lock in each round or not, so that most executions have fewer turns at it than the
// first one, by which the search is divided.
class Rounds : public Program {
 public:
  const char* name() const override { return "rounds"; }
  int threads() const override { return 2; }
  void set_up() override { mutex_ = new Mutex; }
  void thread(int) override {
    for (int i = 0; i < 3; ++i) {
      if (choose(2) == 1) continue;
      mutex_->lock();
      mutex_->unlock();
    }
  }
  void finish() override { delete mutex_; }

 private:
  Mutex* mutex_ = nullptr;
};

TEST(Division, ExecutionsWithFewerTurnsAreInOnePart) {
  Rounds program;
  Options options;
  Found whole;
  explore(program, options, whole);
  Found parts;
  options.shards = 3;
  for (options.shard = 0; options.shard < options.shards; ++options.shard) {
    explore(program, options, parts);
  }
  EXPECT_EQ(parts.traces, whole.traces);
  EXPECT_EQ(parts.executions, whole.executions);
  EXPECT_EQ(parts.parts, 3u);
}

}  // namespace
}  // namespace explorer
