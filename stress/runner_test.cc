// The runner with calm operations (planted_workloads.cc): what it performs, counts, audits and
// stops.
#include "stress/runner.h"

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "stress/op_stream.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

struct Stage {
  explicit Stage(const Options& o)
      : options(o),
        workload(*find_workload(o.workload)),
        sys(system_config(o, workload)),
        world(*build_world(o, workload, sys)) {}

  Options options;
  const Workload& workload;
  System sys;
  std::unique_ptr<World> world;
};

Options Small() {
  Options o;
  o.workload = "calm";
  o.threads = 3;
  o.seed = 11;
  o.ops = 500;
  o.duration = absl::Minutes(10);
  o.audit_interval = absl::Minutes(10);
  return o;
}

TEST(Runner, EachThreadPerformsItsShareAndAllIsCounted) {
  Stage stage(Small());
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  const RunResult result = runner.run();
  EXPECT_EQ(result.operations, 1500u);
  uint64_t total = 0;
  for (const OpTotals& op : result.ops) total += op.total();
  EXPECT_EQ(total, 1500u);
  EXPECT_TRUE(result.complete);
  EXPECT_FALSE(result.interrupted);
  EXPECT_GT(result.machine.cores.accesses, 0u);
  EXPECT_GT(result.memory.freemem, 0);
}

TEST(Runner, TheRunEndsWithAnAudit) {
  Stage stage(Small());
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  const RunResult result = runner.run();
  EXPECT_EQ(result.audits.count, 1u);
  EXPECT_EQ(result.audits.last.hats, 5u);  // and the kernel's
  EXPECT_GE(result.audits.most.mappings, result.audits.last.mappings);
}

// Processes close all the time and threads are halted all the time.
TEST(Runner, AuditsHaltARunInWhichProcessesComeAndGo) {
  Options o = Small();
  o.workload = "busy";
  o.threads = 6;
  o.ops = 0;
  o.audit_interval = absl::Milliseconds(1);
  Stage stage(o);
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  std::atomic<uint64_t> audits{0};
  runner.on_progress([&](const Progress& progress) { audits = progress.audits; });
  runner.stop_when([&] { return audits >= 10; });
  const RunResult result = runner.run();
  EXPECT_GE(result.audits.count, 11u);
  EXPECT_TRUE(result.interrupted);
}

TEST(Runner, TheTimeEndsARun) {
  Options o = Small();
  o.ops = 0;
  o.duration = absl::Milliseconds(200);
  Stage stage(o);
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  const RunResult result = runner.run();
  EXPECT_FALSE(result.interrupted);
  EXPECT_GE(result.elapsed, absl::Milliseconds(200));
  // One in the middle of things, with TLBs in use, and one after the end.
  EXPECT_EQ(result.audits.count, 2u);
  EXPECT_EQ(result.audits.last.tlb_entries, 0u);
}

TEST(Runner, AStopIsHeardWhileItRuns) {
  Options o = Small();
  o.ops = 0;
  Stage stage(o);
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  std::atomic<bool> shown{false};
  runner.on_progress([&](const Progress& progress) {
    EXPECT_LE(progress.share_done, 1.0);
    shown = true;
  });
  runner.stop_when([&] { return shown.load(); });
  EXPECT_TRUE(runner.run().interrupted);
}

// What the seed promises: the operations performed are those that the stream alone draws.
TEST(Runner, TheLastOperationsAreThoseOfTheStream) {
  Stage stage(Small());
  Runner runner(stage.options, stage.workload, stage.sys, *stage.world);
  EXPECT_EQ(runner.current_operation(0), "no operation yet");
  runner.run();
  std::istringstream lines(runner.recent_operations());
  for (CpuId cpu = 0; cpu < 3; ++cpu) {
    OpStream stream(stage.workload, stage.options.seed, cpu);
    for (uint64_t n = 1; n <= stage.options.ops; ++n) {
      const Draw draw = stream.next();
      if (n + OpLog::kKept <= stage.options.ops) continue;
      const std::string wanted =
          "cpu " + std::to_string(cpu) + " #" + std::to_string(n) + " " + to_string(draw) + "  ";
      std::string line;
      ASSERT_TRUE(std::getline(lines, line));
      EXPECT_EQ(line.substr(0, wanted.size()), wanted);
    }
  }
  std::string rest;
  EXPECT_FALSE(std::getline(lines, rest)) << rest;
}

TEST(OpStream, DependsOnSeedAndCpuAndNothingElse) {
  const Workload& calm = *find_workload("calm");
  const auto words = [&](uint64_t seed, CpuId cpu) {
    OpStream stream(calm, seed, cpu);
    std::string text;
    for (int i = 0; i < 20; ++i) text += to_string(stream.next());
    return text;
  };
  EXPECT_EQ(words(1, 0), words(1, 0));
  EXPECT_NE(words(1, 0), words(1, 1));
  EXPECT_NE(words(1, 0), words(2, 0));
  EXPECT_NE(words(1, 0), words(uint64_t{1} << 32 | 1, 0));
}

TEST(OpStream, OperationsAreDrawnByWeight) {
  const Workload workload{"w", "", {{"fault", 1}, {"touch", 0}, {"unload", 3}}, 1, 4096};
  OpStream stream(workload, 1, 0);
  std::map<uint32_t, int> drawn;
  for (int i = 0; i < 4000; ++i) ++drawn[stream.next().op];
  EXPECT_EQ(drawn.count(op_index("touch")), 0u);
  EXPECT_NEAR(drawn[op_index("unload")], 3000, 150);
  EXPECT_NEAR(drawn[op_index("fault")], 1000, 150);
}

TEST(OpLog, KeepsTheLastOperationsInOrder) {
  OpLog log;
  EXPECT_TRUE(log.entries().empty());
  for (uint64_t i = 1; i <= 100; ++i) {
    log.begin(Draw{.op = 0, .r = {i, 2, 3, 4}});
    if (i < 100) log.end(OpResult::kRetry);
  }
  const auto entries = log.entries();
  ASSERT_EQ(entries.size(), OpLog::kKept);
  EXPECT_EQ(entries.front().number, 100 - OpLog::kKept + 1);
  EXPECT_EQ(entries.back().number, 100u);
  EXPECT_EQ(entries.back().draw.r[0], 100u);
  EXPECT_FALSE(entries.back().ended);
  EXPECT_TRUE(entries.front().ended);
  EXPECT_EQ(entries.front().result, OpResult::kRetry);
}

// Entries that a reader gets are whole, whatever the owner does meanwhile.
TEST(OpLog, AReaderSeesWholeEntriesOnly) {
  OpLog log;
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    for (uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
      log.begin(Draw{.op = static_cast<uint32_t>(i), .r = {i, i, i, i}});
      log.end(OpResult::kDone);
    }
  });
  for (int round = 0; round < 2000; ++round) {
    for (const OpLog::Entry& entry : log.entries()) {
      EXPECT_EQ(entry.draw.op, static_cast<uint32_t>(entry.number));
      for (const uint64_t word : entry.draw.r) EXPECT_EQ(word, entry.number);
    }
  }
  stop = true;
  owner.join();
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
