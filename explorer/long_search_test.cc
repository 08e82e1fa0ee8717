// Searches that are interrupted and resumed, killed, and shared among processes.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "explorer/census.h"
#include "explorer/search.h"
#include "explorer/sync.h"
#include "gtest/gtest.h"

namespace explorer {
namespace {

// One lock taken by every thread so many times: (threads * rounds)! / rounds!^threads executions.
class OneLock : public Program {
 public:
  OneLock(int threads, int rounds, const Census* census = nullptr)
      : threads_(threads), rounds_(rounds), census_(census) {}
  const char* name() const override { return "one lock"; }
  int threads() const override { return threads_; }
  void set_up() override { mutex_ = new Mutex; }
  void thread(int) override {
    for (int i = 0; i < rounds_; ++i) {
      mutex_->lock();
      mutex_->unlock();
    }
  }
  void finish() override {
    delete mutex_;
    if (census_ != nullptr) census_->count();
  }

 private:
  const int threads_;
  const int rounds_;
  const Census* const census_;
  Mutex* mutex_ = nullptr;
};

// Two locks in an order that depends on a choice: the last execution has another than those before.
class Nested : public Program {
 public:
  explicit Nested(uint32_t executions) : executions_(executions) {}
  const char* name() const override { return "nested"; }
  int threads() const override { return 1; }
  void set_up() override {
    a_ = new Mutex(Name{"a"});
    b_ = new Mutex(Name{"b"});
  }
  void thread(int) override {
    const bool swapped = choose(executions_) == executions_ - 1;
    Mutex& outer = swapped ? *b_ : *a_;
    Mutex& inner = swapped ? *a_ : *b_;
    outer.lock();
    inner.lock();
    inner.unlock();
    outer.unlock();
  }
  void finish() override {
    delete a_;
    delete b_;
  }

 private:
  const uint32_t executions_;
  Mutex* a_ = nullptr;
  Mutex* b_ = nullptr;
};

class File {
 public:
  explicit File(const std::string& name) : path_(testing::TempDir() + "/" + name) {
    ::unlink(path_.c_str());
  }
  ~File() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }
  std::string read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& text) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << text;
  }

 private:
  const std::string path_;
};

void expect_same(const Result& a, const Result& b) {
  EXPECT_EQ(verdict_line(a), verdict_line(b));
  EXPECT_EQ(a.executions, b.executions);
  EXPECT_EQ(a.longest, b.longest);
}

class InterruptedTest : public testing::TestWithParam<Method> {};

TEST_P(InterruptedTest, ASearchResumedAgainAndAgainEndsAsAnUninterruptedOne) {
  const File file("again");
  Options options;
  options.method = GetParam();
  OneLock program(3, 3);
  const bool random = options.method == Method::kPct || options.method == Method::kRandom;
  if (random) options.executions = 1000;
  const Result whole = search(program, options);

  options.checkpoint = file.path();
  int parts = 0;
  Result result;
  do {
    options.resume = parts == 0 ? "" : file.path();
    options.progress = [](const Progress&) { return false; };
    if (!random) options.executions = static_cast<uint64_t>(parts + 1) * 97;
    if (random) options.time = std::chrono::milliseconds(1);
    result = search(program, options);
    ASSERT_EQ(result.usage, "");
    ASSERT_LT(++parts, 2'000);
  } while (result.bounded_by != whole.bounded_by);
  EXPECT_GT(parts, random ? 0 : 2);
  EXPECT_EQ(result.events, whole.events);
  EXPECT_EQ(result.cut_short, whole.cut_short);
  expect_same(result, whole);
}

INSTANTIATE_TEST_SUITE_P(Methods, InterruptedTest,
                         testing::Values(Method::kDpor, Method::kFull, Method::kBound, Method::kPct,
                                         Method::kRandom));

TEST(Checkpoint, TheLockOrdersSeenBeforeAnInterruptionCount) {
  const File file("orders");
  Nested program(2);
  Options options;
  options.checkpoint = file.path();
  options.executions = 1;
  EXPECT_EQ(search(program, options).verdict, Verdict::kBounded);
  options.resume = file.path();
  options.executions = 0;
  EXPECT_EQ(search(program, options).finding.kind, Kind::kCircularLocking);
}

// Runs the search in a child process and kills that once it has kept its state twice.
void kill_in_mid_search(OneLock& program, const Options& options, const File& file) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    search(program, options);
    ::_exit(0);
  }
  std::string last;
  for (int changes = 0; changes < 4;) {
    ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it ended before it could be killed";
    const std::string now = file.read();
    if (!now.empty() && now != last) ++changes;
    last = now;
  }
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

class KilledTest : public testing::TestWithParam<int> {};

TEST_P(KilledTest, ASearchThatWasKilledEndsAsAnUninterruptedOne) {
  const File file("killed" + std::to_string(GetParam()));
  OneLock program(4, 3);
  Options options;
  options.jobs = GetParam();
  options.checkpoint = file.path();
  options.checkpoint_every = std::chrono::milliseconds(20);
  kill_in_mid_search(program, options, file);
  const std::string state = file.read();
  options.resume = file.path();
  options.checkpoint_every = Options{}.checkpoint_every;
  const Census census;
  OneLock same(4, 3, &census);
  const Result result = search(same, options);
  // What was done before is not done again.
  EXPECT_GT(census.executions(), 0u);
  EXPECT_LT(census.executions(), 369'600u);
  EXPECT_EQ(result.usage, "");
  EXPECT_EQ(result.verdict, Verdict::kExhausted);
  EXPECT_EQ(result.executions, 369'600u);
  EXPECT_EQ(result.cut_short, 0u);
  EXPECT_NE(file.read(), state);
}

INSTANTIATE_TEST_SUITE_P(Jobs, KilledTest, testing::Values(1, 2));

TEST(Share, IsAboutWhatIsDone) {
  OneLock program(4, 2);  // 2,520 executions
  Options options;
  double before = 0;
  for (options.executions = 100; options.executions < 2500; options.executions += 400) {
    const Result result = search(program, options);
    EXPECT_GT(result.share, before);
    EXPECT_GT(result.share * 2520, static_cast<double>(options.executions) / 4);
    EXPECT_LT(result.share * 2520, static_cast<double>(options.executions) * 4);
    before = result.share;
  }
  options.executions = 0;
  EXPECT_EQ(search(program, options).share, 1);
}

// ---- files that do not fit

class BadFileTest : public testing::Test {
 protected:
  BadFileTest() {
    options_.checkpoint = file_.path();
    options_.executions = 10;
    OneLock program(2, 3);
    search(program, options_);
    good_ = file_.read();
    options_.resume = file_.path();
  }

  // The error of going on with it; the file must stay as it is.
  std::string error(const Options& options, OneLock program = OneLock(2, 3)) {
    const std::string before = file_.read();
    const Result result = search(program, options);
    EXPECT_EQ(result.executions, result.usage.empty() ? 20u : 0u);
    if (!result.usage.empty()) {
      EXPECT_EQ(file_.read(), before);
    }
    return result.usage;
  }

  const File file_{"bad"};
  Options options_;
  std::string good_;
};

TEST_F(BadFileTest, TheRightOneIsTaken) {
  options_.executions = 0;
  EXPECT_EQ(error(options_), "");
}

TEST_F(BadFileTest, EveryDamagedByteIsNoticed) {
  options_.executions = 0;
  for (size_t i = 0; i < good_.size(); i += 7) {
    std::string damaged = good_;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    file_.write(damaged);
    EXPECT_NE(error(options_), "") << "byte " << i;
  }
}

TEST_F(BadFileTest, EveryTruncationIsNoticed) {
  for (size_t i = 0; i < good_.size(); i += 11) {
    file_.write(good_.substr(0, i));
    EXPECT_NE(error(options_), "") << "cut at " << i;
  }
}

TEST_F(BadFileTest, OtherOptionsAreNamed) {
  options_.engine.max_steps = 77;
  EXPECT_NE(error(options_).find("bound on steps is 20000, here it is 77"), std::string::npos);
}

TEST_F(BadFileTest, AMissingFileIsNamed) {
  options_.resume = options_.checkpoint = file_.path() + ".missing";
  EXPECT_NE(error(options_).find("cannot read the checkpoint"), std::string::npos);
}

TEST_F(BadFileTest, AFileThatCannotBeWrittenEndsTheSearchAtItsBeginning) {
  options_.resume.clear();
  options_.checkpoint = "/proc/no/such/place";
  EXPECT_NE(error(options_).find("cannot write the checkpoint"), std::string::npos);
}

TEST_F(BadFileTest, AnExistingFileIsNotWrittenOver) {
  options_.resume.clear();
  EXPECT_NE(error(options_).find("exists already"), std::string::npos);
}

// ---- several processes

TEST(Jobs, FindTheSameCounts) {
  for (const auto& [threads, rounds] : {std::pair{2, 1}, {2, 5}, {3, 2}, {3, 3}, {4, 2}}) {
    OneLock program(threads, rounds);
    Options options;
    const Result alone = search(program, options);
    options.jobs = 3;
    expect_same(alone, search(program, options));
  }
}

TEST(Jobs, AreProcessesThatShareTheWork) {
  const Census census;
  OneLock program(4, 3, &census);
  Options options;
  options.jobs = 2;
  EXPECT_EQ(search(program, options).executions, 369'600u);
  // And one, to see what there is to divide. Those that try the parts count as theirs.
  EXPECT_EQ(census.executions(), 369'601u);
  EXPECT_EQ(census.processes(), 3);
  EXPECT_LT(census.busiest(), 369'600u * 9 / 10);
}

TEST(Jobs, FindTheSameRandomExecutions) {
  OneLock program(3, 3);
  Options options;
  options.method = Method::kRandom;
  options.executions = 5000;
  const Result alone = search(program, options);
  options.jobs = 2;
  const Result shared = search(program, options);
  expect_same(alone, shared);
  EXPECT_EQ(alone.events, shared.events);
}

TEST(Jobs, AddUpTheLockOrdersThatTheySee) {
  // More than are tried before the search is given to other processes.
  Nested program(40);
  Options options;
  const Result alone = search(program, options);
  options.jobs = 2;
  const Result shared = search(program, options);
  EXPECT_EQ(shared.finding.kind, Kind::kCircularLocking);
  ASSERT_EQ(shared.lock_edges.size(), alone.lock_edges.size());
  for (size_t i = 0; i < alone.lock_edges.size(); ++i) {
    EXPECT_EQ(shared.lock_edges[i].holds.size(), alone.lock_edges[i].holds.size());
    EXPECT_EQ(to_string(shared.lock_edges[i].held.site), to_string(alone.lock_edges[i].held.site));
  }
}

// Its process is killed, unless it is the one that has made it.
class Victim : public OneLock {
 public:
  Victim() : OneLock(3, 3), maker_(::getpid()) {}
  void finish() override {
    OneLock::finish();
    if (::getpid() != maker_) ::kill(::getpid(), SIGKILL);
  }

 private:
  const pid_t maker_;
};

TEST(Jobs, ThatAreKilledAreNoticed) {
  Victim program;
  Options options;
  options.jobs = 2;
  const Result result = search(program, options);
  EXPECT_EQ(result.verdict, Verdict::kViolated);
  EXPECT_EQ(result.finding.kind, Kind::kInternalError);
  EXPECT_EQ(result.finding.message, "a process of the search was ended by signal 9");
}

// ---- memory

long resident_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Memory, DoesNotGrowWithTheNumberOfExecutions) {
  OneLock program(4, 3);
  Options options;
  uint64_t executions = 0;
  long early = 0;
  options.observer = [&](const Engine&, End) {
    if (++executions == 10'000) early = resident_kib();
  };
  EXPECT_EQ(search(program, options).executions, 369'600u);
  const long late = resident_kib();
  std::printf("resident: %ld KiB after 10,000 executions, %ld KiB after 369,600\n", early, late);
  EXPECT_LT(late - early, 1024);
  EXPECT_LT(late, 64 * 1024);
}

}  // namespace
}  // namespace explorer
