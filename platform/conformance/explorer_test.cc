// Runs the conformance suite under each search of the explorer backend.
#include <cstdio>
#include <cstring>
#include <string>

#include "platform/conformance/all.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {
namespace {

struct Mode {
  Search search;
  uint64_t executions;  // at most; 0 for all
};

// Without reduction a few scenarios of three threads that poll have very many executions.
constexpr Mode kModes[] = {
    {Search::kDpor, 0},     {Search::kFull, 5'000}, {Search::kBound, 5'000},
    {Search::kRandom, 200}, {Search::kPct, 200},
};

class Runner {
 public:
  explicit Runner(const char* filter) : filter_(filter) {}

  template <Scenario S>
  void operator()() {
    if (filter_ != nullptr && std::strstr(S::kName, filter_) == nullptr) return;
    constexpr Expectation kExpected = S::kExpected;
    if (!engine_finds(kExpected.kind)) {
      std::printf("skipped  %s: %s is not looked for\n", S::kName,
                  std::string(phrase(kExpected.kind)).c_str());
      return;
    }
    for (const Mode& mode : kModes) check<S>(mode);
  }

  int failures() const { return failures_; }

 private:
  template <Scenario S>
  static std::string problem(const Mode& mode, const Report& report) {
    if (!meets(S::kExpected, report)) {
      return "expected: " + std::string(phrase(Expectation(S::kExpected).kind));
    }
    const bool reduced = mode.search == Search::kDpor;
    if (reduced && report.verdict == Verdict::kBounded) return "expected: exhausted";
    if constexpr (requires { S::kSays; }) {
      if (report.message.find(S::kSays) == std::string::npos) {
        return "expected to read '" + std::string(S::kSays) + "'";
      }
    }
    // A violation must happen again from its schedule.
    if (report.verdict != Verdict::kViolated || report.replay.empty()) return "";
    SearchOptions again;
    again.search = Search::kReplay;
    again.replay = report.replay;
    const Report replayed = run_search<S>(again);
    return replayed.kind == report.kind ? "" : "the replay says: " + verdict_line(replayed);
  }

  template <Scenario S>
  void check(const Mode& mode) {
    SearchOptions options;
    options.search = mode.search;
    options.executions = mode.executions;
    // Once is enough to see that the simplified schedule leads there, too.
    options.simplify = mode.search == Search::kDpor;
    const Report report = run_search<S>(options);
    const std::string what = problem<S>(mode, report);
    if (!what.empty()) ++failures_;
    std::printf("%s %-70s %-6s %s, %llu executions\n", what.empty() ? "ok      " : "FAILED  ",
                S::kName, std::string(name_of(mode.search)).c_str(), verdict_line(report).c_str(),
                static_cast<unsigned long long>(report.iterations));
    if (!what.empty()) {
      std::printf("  %s\n  claim: %s\n  replay: %s\n%s\n", what.c_str(), S::kClaim,
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
