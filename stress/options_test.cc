#include "stress/options.h"

#include <stdlib.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "stress/workload.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

absl::StatusOr<Options> Parse(std::vector<std::string> args) {
  args.insert(args.begin(), "hatstress");
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  bool exit_now = false;
  return parse_options(static_cast<int>(argv.size()), argv.data(), &exit_now);
}

std::string Error(std::vector<std::string> args) {
  const auto options = Parse(std::move(args));
  return options.ok() ? "(no error)" : std::string(options.status().message());
}

// An environment variable for a scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Options, WithoutFlagsTheDefaultsHoldAndTheOpenOnesAreChosen) {
  const auto options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->workload, "maps");
  EXPECT_EQ(options->duration, absl::Seconds(60));
  EXPECT_GE(options->threads, 1u);
  EXPECT_NE(options->seed, 0u);
}

TEST(Options, EveryFlagReachesItsField) {
  const auto o = Parse({"--workload=mix",
                        "--threads=3",
                        "--duration=5s",
                        "--ops=7",
                        "--seed=42",
                        "--hats=9",
                        "--focus=5",
                        "--pages=8192",
                        "--index=chain",
                        "--invalidation=captured",
                        "--reserve_owner=thread",
                        "--mod=blind",
                        "--mlist_locks=4",
                        "--buckets=64",
                        "--hash_locks=8",
                        "--htable_reserve=1",
                        "--hment_reserve=2",
                        "--fail_rate=0.25",
                        "--steal_rate=0.5",
                        "--pause_rate=77",
                        "--audit_interval=1s",
                        "--stuck_after=2s",
                        "--json=-",
                        "--evidence=e",
                        "--dump_ops",
                        "--list"});
  ASSERT_TRUE(o.ok()) << o.status();
  EXPECT_EQ(o->workload, "mix");
  EXPECT_EQ(o->threads, 3u);
  EXPECT_EQ(o->duration, absl::Seconds(5));
  EXPECT_EQ(o->ops, 7u);
  EXPECT_EQ(o->seed, 42u);
  EXPECT_EQ(o->hats, 9u);
  EXPECT_EQ(o->focus, 5u);
  EXPECT_EQ(o->pages, 8192u);
  EXPECT_EQ(o->index, IndexDesign::kChain);
  EXPECT_EQ(o->invalidation, InvalidationDesign::kCaptured);
  EXPECT_EQ(o->reserve_owner, ReserveDesign::kThread);
  EXPECT_EQ(o->mod_variant, ModVariant::kBlindDirty);
  EXPECT_EQ(o->mlist_locks, 4u);
  EXPECT_EQ(o->buckets, 64u);
  EXPECT_EQ(o->hash_locks, 8u);
  EXPECT_EQ(o->htable_reserve, 1);
  EXPECT_EQ(o->hment_reserve, 2);
  EXPECT_EQ(o->fail_rate, 0.25);
  EXPECT_EQ(o->steal_rate, 0.5);
  EXPECT_EQ(o->pause_rate, 77u);
  EXPECT_EQ(o->audit_interval, absl::Seconds(1));
  EXPECT_EQ(o->stuck_after, absl::Seconds(2));
  EXPECT_EQ(o->json, "-");
  EXPECT_EQ(o->evidence, "e");
  EXPECT_TRUE(o->dump_ops);
  EXPECT_TRUE(o->list);
  EXPECT_EQ(Parse({"--maps=folder"})->maps_dir, "folder");
}

TEST(Options, ParsingTwiceStartsFromTheDefaultsAgain) {
  ASSERT_EQ(Parse({"--threads=3", "--list"})->threads, 3u);
  const auto second = Parse({"--threads=2"});
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->list);
}

TEST(Options, ValuesMayFollowAsAWordAndSwitchesMayBeNegated) {
  const auto o = Parse({"--threads", "2", "--seed", "5", "--nolist", "--audit-interval", "3s"});
  ASSERT_TRUE(o.ok()) << o.status();
  EXPECT_EQ(o->threads, 2u);
  EXPECT_EQ(o->seed, 5u);
  EXPECT_FALSE(o->list);
  EXPECT_EQ(o->audit_interval, absl::Seconds(3));
}

TEST(Options, TheEnvironmentIsReadAndTheCommandLineWins) {
  const Environment threads("HATCHECK_THREADS", "5");
  const Environment seed("HATCHECK_SEED", "6");
  const auto o = Parse({"--seed=7"});
  ASSERT_TRUE(o.ok()) << o.status();
  EXPECT_EQ(o->threads, 5u);
  EXPECT_EQ(o->seed, 7u);
}

TEST(Options, ABadValueInTheEnvironmentNamesTheVariable) {
  const Environment duration("HATCHECK_DURATION", "soon");
  EXPECT_EQ(Error({}),
            "HATCHECK_DURATION: 'soon' is not a valid value; expected a duration like 60s or 5m");
}

TEST(Options, EachErrorSaysWhatWasExpected) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--sede=1"}, "unknown flag '--sede=1'; nearest: --seed (--help lists all)"},
      {{"mix"}, "unexpected argument 'mix'; expected flags like --workload=mix"},
      {{"--threads"}, "--threads needs a value; expected a number, 0 or more"},
      {{"--threads=-1"}, "--threads: '-1' is not a valid value; expected a number, 0 or more"},
      {{"--threads=256"}, "--threads=256 is out of range; expected 0 to 255"},
      {{"--duration=5"}, "--duration: '5' is not a valid value; expected a duration like 60s"},
      {{"--duration=0s"}, "--duration=0 is out of range; expected more than 0s"},
      {{"--workload=mixx"}, "nearest: mix"},
      {{"--index=alv"}, "unknown value of --index 'alv'; expected one of avl, chain; nearest: avl"},
      {{"--mlist_locks=3"}, "a power of two up to 65536; nearest: 4"},
      {{"--fail_rate=2"}, "--fail_rate=2 is out of range; expected 0 to 1 (0.3 is 30%)"},
      {{"--fail_rate=nan"}, "out of range"},
      {{"--hment_reserve=-2"}, "out of range"},
      {{"--hment_reserve=0", "--reserve_owner=thread"}, "expected 1 or more"},
      {{"--pages=12"}, "expected 4096 to 4194304"},
      {{"--maps=x", "--workload=mix"}, "--maps goes with --workload=maps only"},
      {{"--dump_ops"}, "--dump_ops needs --ops=N"},
      {{"--list=maybe"}, "expected true or false"},
      {{"--audit_interval=-1s"}, "out of range"},
      {{"--stuck_after=0s"}, "out of range"},
  };
  for (const auto& [args, wanted] : cases) {
    EXPECT_NE(Error(args).find(wanted), std::string::npos) << args[0] << ": " << Error(args);
  }
}

TEST(CommandLine, ParsingItGivesTheSameOptions) {
  const auto first = Parse({"--workload=pressure", "--threads=2", "--seed=9", "--fail_rate=0.1",
                            "--index=chain", "--duration=90s", "--evidence=a b", "--json=x"});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(command_line(*first),
            "--workload=pressure --threads=2 --duration=1m30s --seed=9 --index=chain "
            "--fail_rate=0.1 '--evidence=a b'");
  const auto second = Parse({"--workload=pressure", "--threads=2", "--duration=1m30s", "--seed=9",
                             "--index=chain", "--fail_rate=0.1", "--evidence=a b", "--json=x"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(option_values(*first), option_values(*second));
}

TEST(CommandLine, ThreadsAndSeedAreAlwaysGiven) {
  const auto o = Parse({});
  ASSERT_TRUE(o.ok());
  EXPECT_NE(command_line(*o).find("--threads="), std::string::npos);
  EXPECT_NE(command_line(*o).find("--seed="), std::string::npos);
}

TEST(CommandLine, WordsAreQuotedForTheShellWhereNeeded) {
  EXPECT_EQ(shell_quoted("--maps=/tmp/x_1.d"), "--maps=/tmp/x_1.d");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(Workloads, EveryWeightNamesAnOperation) {
  for (const Workload& workload : workloads()) {
    for (const WeightedOp& weighted : workload.weights) {
      EXPECT_STREQ(op_table()[op_index(weighted.name)].name, weighted.name) << workload.name;
    }
  }
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
