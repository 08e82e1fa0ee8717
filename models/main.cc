// The scenario runner: one program per engine, from this one source.
//
// A line per scenario on standard output: its name, the verdict, how many executions that took.
// What a violation looks like, and the command that shows it again, follow at once. Progress goes
// to standard error if that is a terminal. An interrupt ends the current scenario as bounded and
// starts no further one.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/cpu_time.h"
#include "models/options.h"
#include "models/registry.h"
#include "nlohmann/json.hpp"
#include "platform/nearest.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// An interrupt is kept pending and looked for between executions, so that what was found stays. Not
// on real threads: there the run is a process of its own, which ends at once.
constexpr bool kCatchInterrupt = offers(Search::kReplay);

sigset_t interrupt_set() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  return set;
}

bool interrupted() {
  sigset_t pending;
  return kCatchInterrupt && ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGINT) == 1;
}

// With --test, of a scenario that asks for no number itself.
constexpr uint64_t kTestExecutions = 4'000;

// A scenario that must end clean, and says neither how many executions nor that all are wanted.
bool asks_for_no_number(const AnyScenario& scenario) {
  return scenario.bounds.executions == 0 && !scenario.bounds.must_exhaust &&
         scenario.expected.kind == Kind::kNone;
}

struct Result {
  AnyScenario scenario;
  Search search;
  Report report{};
  double seconds = 0;
  double cpu_seconds = 0;
  uint64_t estimated = 0;  // executions of the whole search, if that went on
  ExitCode code = kExitClean;
};

void print_list(const std::vector<AnyScenario>& scenarios) {
  for (const AnyScenario& scenario : scenarios) {
    const Expectation& expected = scenario.expected;
    absl::PrintF("%-60s %d threads%s%s\n    %s\n", scenario.name, scenario.threads,
                 expected.kind == Kind::kNone
                     ? ""
                     : absl::StrCat(", violated (", std::string(phrase(expected.kind)), ")"),
                 scenario.bounds.must_exhaust ? ", exhausted" : "", scenario.claim);
  }
  absl::PrintF("\nSearches of the engine %s:", kEngineName);
  for (const auto& [name, search] : kSearchNames) {
    if (offers(search)) {
      absl::PrintF(" %s%s", std::string(name), search == kDefaultSearch ? " (the usual one)" : "");
    }
  }
  absl::PrintF("\n");
}

Search search_for(const RunnerOptions& options, const AnyScenario& scenario) {
  if (options.search.has_value()) return *options.search;
  return scenario.bounds.preemptions >= 0 && offers(Search::kBound) ? Search::kBound
                                                                    : kDefaultSearch;
}

// What this result means for the exit code: a violation that the scenario promises is no problem.
ExitCode judge(const RunnerOptions& options, const AnyScenario& scenario, const Report& report) {
  const ExitCode code = exit_code(report);
  if (code == kExitInternal) return code;
  if (options.search == Search::kReplay) return code;
  if (!meets(scenario.expected, report)) {
    // A violation that is not certain on this engine may be missed.
    const bool may_miss =
        report.verdict != Verdict::kViolated && !engine_finds(scenario.expected.kind);
    return may_miss ? kExitBounded : kExitViolated;
  }
  if (report.verdict != Verdict::kBounded) return kExitClean;
  if (!options.test) return kExitBounded;
  const bool demanded = scenario.bounds.must_exhaust && offers(Search::kDpor);
  return demanded ? kExitViolated : kExitClean;
}

// How to run this program again: bazel-bin/models/relacy, wherever it was started.
std::string program_name(const char* argv0) {
  const std::string path = argv0;
  const size_t bin =
      path.find("/bin/", path.find("bazel-out/") == std::string::npos ? path.size()
                                                                      : path.find("bazel-out/"));
  return bin == std::string::npos ? path : "bazel-bin/" + path.substr(bin + 5);
}

class Progress {
 public:
  explicit Progress(const char* name) : name_(name), terminal_(::isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (shown_) absl::FPrintF(stderr, "\r\033[K");
  }

  bool operator()(const SearchProgress& progress) {
    told_ = progress;
    const auto now = std::chrono::steady_clock::now();
    if (terminal_ && now - last_ >= std::chrono::milliseconds(200)) {
      if (!shown_) first_ = progress;
      last_ = now;
      shown_ = true;
      show(progress, std::chrono::duration<double>(now - start_).count());
    }
    return !interrupted();
  }

  // About how many executions the whole search has; 0 if it is done, or if that is not known.
  uint64_t estimated() const { return told_.share < 1 ? told_.estimated : 0; }

 private:
  // "name: 1,200 executions, 30 k/s, about 5% of 24,000, 8 min left". A resumed search has done a
  // part before.
  void show(const SearchProgress& now, double seconds) const {
    std::string line = absl::StrFormat("%s: %d executions", name_, now.executions);
    const double done = static_cast<double>(now.executions - first_.executions);
    if (done > 0) absl::StrAppendFormat(&line, ", %.0f/s", done / seconds);
    if (now.share > 0 && now.share < 1) {
      absl::StrAppendFormat(&line, ", %.2g%% of about %d", now.share * 100, now.estimated);
      if (now.share > first_.share) {
        const double left = seconds * (1 - now.share) / (now.share - first_.share);
        absl::StrAppendFormat(&line, ", about %s left", rough(left));
      }
    }
    absl::FPrintF(stderr, "\r\033[K%s", line);
    std::fflush(stderr);
  }

  static std::string rough(double seconds) {
    if (seconds < 100) return absl::StrFormat("%.0f s", seconds);
    if (seconds < 100 * 60) return absl::StrFormat("%.0f min", seconds / 60);
    if (seconds < 100 * 3600) return absl::StrFormat("%.0f hours", seconds / 3600);
    return absl::StrFormat("%.3g days", seconds / 86400);
  }

  const char* const name_;
  const bool terminal_;
  bool shown_ = false;
  SearchProgress first_;
  SearchProgress told_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = start_;
};

// Where the page of a violation goes; empty for nowhere.
std::string page_file(const RunnerOptions& options) {
  if (!kPages || !options.html.empty()) return options.html;
  const char* const folder = options.test ? std::getenv("TEST_UNDECLARED_OUTPUTS_DIR") : nullptr;
  return folder == nullptr ? "" : absl::StrCat(folder, "/counterexample.html");
}

Result run(const RunnerOptions& options, const AnyScenario& scenario, const std::string& program) {
  Result result{.scenario = scenario, .search = search_for(options, scenario)};
  SearchOptions search = options.options;
  search.search = result.search;
  // Nobody looks at a violation that a test expects.
  search.simplify = !options.test || scenario.expected.kind == Kind::kNone;
  search.page = !page_file(options).empty();
  search.again = absl::StrCat(program, " --scenario=", scenario.name, " --replay=");
  if (options.test && kCatchInterrupt) {
    const uint64_t at_most = search.executions > 0 ? search.executions : kTestExecutions;
    search.executions = asks_for_no_number(scenario) ? at_most : 0;
  }
  const auto start = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  {
    const auto progress = std::make_shared<Progress>(scenario.name);
    search.progress = [progress](const SearchProgress& p) { return (*progress)(p); };
    result.report = run_search(scenario, search);
    search.progress = nullptr;
    result.estimated = progress->estimated();
  }
  result.cpu_seconds = cpu_seconds() - cpu;
  const auto time = std::chrono::steady_clock::now() - start;
  result.seconds = result.report.seconds > 0 ? result.report.seconds
                                             : std::chrono::duration<double>(time).count();
  result.code = judge(options, scenario, result.report);
  return result;
}

// What a search took, as far as the engine counts it.
std::string counts(const Report& report) {
  if (report.events == 0) return "";
  return absl::StrFormat(", %d cut short, %d events, longest %d", report.cut_short, report.events,
                         report.longest);
}

void print(const Result& result, const RunnerOptions& options, const std::string& program) {
  const Report& report = result.report;
  const bool random = result.search == Search::kRandom || result.search == Search::kPct;
  absl::PrintF(
      "%s: %s, %d executions%s, --search=%s%s, %.2f s%s\n", result.scenario.name,
      verdict_line(report), report.iterations, counts(report), std::string(name_of(result.search)),
      random ? absl::StrCat(" --seed=", options.options.seed) : "", result.seconds,
      result.seconds > 0.1
          ? absl::StrFormat(" (%.0f/s)", static_cast<double>(report.iterations) / result.seconds)
          : "");
  if (!report.covered.empty()) absl::PrintF("  covered: %s\n", report.covered);
  if (report.verdict == Verdict::kBounded && result.estimated > 0) {
    absl::PrintF("  the whole: about %d executions\n", result.estimated);
  }
  const Expectation& expected = result.scenario.expected;
  const bool replay = result.search == Search::kReplay;
  if (report.verdict == Verdict::kViolated &&
      (replay || !meets(expected, report) || result.code == kExitInternal)) {
    absl::PrintF("  claim: %s\n%s\n", result.scenario.claim, report.message);
    if (!report.replay.empty() && !replay) {
      absl::PrintF("replay: %s --scenario=%s --replay=%s\n", program, result.scenario.name,
                   report.replay);
    }
  } else if (replay) {
    absl::PrintF("%s\n", report.message);
  }
  if (!replay && expected.kind != Kind::kNone && !meets(expected, report)) {
    absl::PrintF("  expected: violated (%s)\n", std::string(phrase(expected.kind)));
  }
  if (options.test && result.code == kExitViolated && report.verdict == Verdict::kBounded) {
    absl::PrintF("  expected: exhausted\n");
  }
  std::fflush(stdout);
}

nlohmann::json to_json(const Result& result) {
  const Report& report = result.report;
  return {{"scenario", result.scenario.name},
          {"claim", result.scenario.claim},
          {"engine", kEngineName},
          {"search", std::string(name_of(result.search))},
          {"verdict", verdict_line(report)},
          {"executions", report.iterations},
          {"estimated", report.verdict == Verdict::kBounded ? result.estimated : 0},
          {"cut_short", report.cut_short},
          {"events", report.events},
          {"longest", report.longest},
          {"covered", report.covered},
          {"seconds", result.seconds},
          {"cpu_seconds", result.cpu_seconds},
          {"message", report.message},
          {"replay", report.replay},
          {"preemptions", report.preemptions},
          {"fewest", report.fewest},
          {"steps", report.steps},
          {"lock_edges", nlohmann::json::parse(lock_edges_json(report.lock_edges))},
          {"as_expected", meets(result.scenario.expected, report)}};
}

int usage_error(const std::string& program, absl::string_view message) {
  absl::FPrintF(stderr, "%s: %s\n", program, message);
  return kExitUsage;
}

bool write_file(const std::string& path, const std::string& text) {
  std::FILE* const file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return (file == stdout ? std::fflush(file) : std::fclose(file)) == 0 && written;
}

// The worst of two: internal errors, then violations, then bounds.
ExitCode worse(ExitCode a, ExitCode b) {
  const auto rank = [](ExitCode code) {
    return code == kExitInternal ? 3 : code == kExitViolated ? 2 : code == kExitBounded ? 1 : 0;
  };
  return rank(a) >= rank(b) ? a : b;
}

int run_all(const RunnerOptions& options, const std::vector<AnyScenario>& scenarios,
            const std::string& program) {
  const sigset_t interrupt = interrupt_set();
  if (kCatchInterrupt) ::sigprocmask(SIG_BLOCK, &interrupt, nullptr);
  nlohmann::json results = nlohmann::json::array();
  ExitCode code = kExitClean;
  std::string page;
  for (const AnyScenario& scenario : scenarios) {
    const Result result = run(options, scenario, program);
    if (!result.report.usage.empty() && result.report.iterations == 0) {
      return usage_error(program, result.report.usage);
    }
    print(result, options, program);
    if (page.empty() && (!options.html.empty() || result.code == kExitViolated)) {
      page = result.report.page;
    }
    results.push_back(to_json(result));
    if (!result.report.usage.empty()) return usage_error(program, result.report.usage);
    code = worse(result.code, code);
    const bool bad = result.code == kExitViolated || result.code == kExitInternal;
    if (interrupted() || (bad && !options.keep_going)) break;
  }
  if (!options.json.empty() && !write_file(options.json, results.dump(2) + "\n")) {
    absl::FPrintF(stderr, "%s: cannot write --json=%s\n", program, options.json);
    return kExitInternal;
  }
  if (!page.empty() && !write_file(page_file(options), page)) {
    absl::FPrintF(stderr, "%s: cannot write the page %s\n", program, page_file(options));
    return kExitInternal;
  }
  if (!options.html.empty()) {
    absl::PrintF("%s: %s\n", options.html,
                 page.empty() ? "not written, as there is no violation" : "written");
  }
  return code;
}

int main_with(const std::string& program, const std::vector<std::string>& args) {
  const absl::StatusOr<RunnerOptions> options = parse_options(args);
  if (!options.ok()) return usage_error(program, options.status().message());
  if (options->help) {
    absl::PrintF("%s", help_text());
    return kExitClean;
  }
  absl::StatusOr<std::vector<AnyScenario>> scenarios =
      select_scenarios(all_scenarios(), options->scenario);
  if (!scenarios.ok()) return usage_error(program, scenarios.status().message());
  if (options->clean_only) {
    std::erase_if(*scenarios, [](const AnyScenario& s) { return s.expected.kind != Kind::kNone; });
  }
  if (options->list) {
    print_list(*scenarios);
    return kExitClean;
  }
  if (options->search == Search::kReplay && scenarios->size() != 1) {
    return usage_error(program, "--replay needs the --scenario it belongs to");
  }
  if (!options->options.checkpoint.empty() && scenarios->size() != 1) {
    return usage_error(program, "a checkpoint is of one search: expected one --scenario");
  }
  return run_all(*options, *scenarios, program);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND

int main(int argc, char** argv) {
  return hatcheck::main_with(hatcheck::program_name(argv[0]),
                             std::vector<std::string>(argv + 1, argv + argc));
}
