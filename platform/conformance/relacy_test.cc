// Runs the conformance suite under each search of the relacy backend. Its own main(): GoogleTest
// cannot share a process with Relacy.
#include <cstdio>
#include <cstring>
#include <string>

#include "platform/conformance/all.h"
#include "platform/relacy/run.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {
namespace {

struct Mode {
  Search search;
  uint64_t executions;  // at most; 0 for all
  Verdict clean;        // the verdict of a scenario without a violation and with fewer executions
};

// Without reduction a few scenarios of three threads that poll have millions of executions.
constexpr Mode kModes[] = {
    {Search::kDpor, 0, Verdict::kExhausted},
    {Search::kFull, 20'000, Verdict::kExhausted},
    {Search::kBound, 20'000, Verdict::kBounded},
    {Search::kRandom, 200, Verdict::kBounded},
};

class Runner {
 public:
  explicit Runner(const char* filter) : filter_(filter) {}

  template <Scenario S>
  void operator()() {
    if (filter_ != nullptr && std::strstr(S::kName, filter_) == nullptr) return;
    constexpr Expectation kExpected = S::kExpected;
    if (!engine_finds(kExpected.kind)) {
      std::printf("skipped  %-70s not looked for: %s\n", S::kName,
                  std::string(phrase(kExpected.kind)).c_str());
      return;
    }
    for (const Mode& mode : kModes) check<S>(mode);
  }

  int failures() const { return failures_; }

 private:
  template <Scenario S>
  void check(const Mode& mode) {
    SearchOptions options;
    options.search = mode.search;
    options.executions = mode.executions;
    const Report report = run_search<S>(options);
    std::string problem;
    if (!meets(S::kExpected, report)) {
      problem = "expected: " + std::string(phrase(Expectation(S::kExpected).kind));
    } else if (report.verdict != Verdict::kViolated && report.verdict != mode.clean &&
               (mode.executions == 0 || report.iterations < mode.executions)) {
      problem = "another verdict was expected";
    }
    if constexpr (requires { S::kSays; }) {
      if (report.message.find(S::kSays) == std::string::npos) {
        problem = "expected to read '" + std::string(S::kSays) + "'";
      }
    }
    const bool good = problem.empty();
    if (!good) ++failures_;
    std::printf("%s %-70s %-6s %s, %llu executions\n", good ? "ok      " : "FAILED  ", S::kName,
                std::string(name_of(mode.search)).c_str(), verdict_line(report).c_str(),
                static_cast<unsigned long long>(report.iterations));
    if (!good) {
      std::printf("  %s\n  claim: %s\n  replay: %s\n%s\n", problem.c_str(), S::kClaim,
                  report.replay.c_str(), report.message.c_str());
    }
    std::fflush(stdout);
  }

  const char* const filter_;
  int failures_ = 0;
};

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

// An argument selects the scenarios whose names contain it.
int main(int argc, char** argv) {
  hatcheck::conformance::Runner runner(argc > 1 ? argv[1] : nullptr);
  hatcheck::conformance::for_each_scenario(runner);
  return runner.failures() == 0 ? 0 : 1;
}
