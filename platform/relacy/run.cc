#include "platform/relacy/run.h"

#include <signal.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "platform/check.h"
#include "platform/relacy/engine.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

using model::Engine;
using model::Schedule;
using model::Strategy;
using model::Trace;

constexpr uint64_t kDefaultRandomExecutions = 10'000;
constexpr size_t kShownEvents = 400;

// While one of these exists, a crash inside an execution is a violation like any other.
class CrashGuard {
 public:
  CrashGuard() {
    stack_t stack{};
    stack.ss_sp = stack_.data();
    stack.ss_size = stack_.size();
    ::sigaltstack(&stack, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = on_crash;
    // The handler does not return, so the signal must not stay blocked.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &old_[i]);
  }
  ~CrashGuard() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
    ::sigaltstack(&old_stack_, nullptr);
  }
  CrashGuard(const CrashGuard&) = delete;
  CrashGuard& operator=(const CrashGuard&) = delete;

 private:
  static constexpr std::array<int, 4> kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL};

  static void on_crash(int signal, siginfo_t* info, void*) {
    if (!model::active()) {
      ::signal(signal, SIG_DFL);
      ::raise(signal);
      return;
    }
    model::use_arena(false);
    Engine& engine = *model::engine();
    std::string text = absl::StrCat("signal ", signal);
    if (signal == SIGSEGV || signal == SIGBUS) {
      absl::StrAppend(&text, " at address 0x",
                      absl::Hex(reinterpret_cast<uintptr_t>(info->si_addr)));
    }
    engine.violated(Kind::kCrash, text + ", after the operation at the place below",
                    engine.me().where);
  }

  std::array<char, 64 << 10> stack_{};
  stack_t old_stack_{};
  std::array<struct sigaction, kSignals.size()> old_{};
};

int preemptions_of(const AnyScenario& scenario, const SearchOptions& options) {
  if (options.preemptions >= 0) return options.preemptions;
  if (scenario.bounds.preemptions >= 0) return scenario.bounds.preemptions;
  return 2;
}

std::unique_ptr<Strategy> strategy_of(const AnyScenario& scenario, const SearchOptions& options) {
  switch (options.search) {
    case Search::kBound:
      return model::make_tree_strategy(false, preemptions_of(scenario, options));
    case Search::kRandom:
      return model::make_random_strategy(options.seed);
    case Search::kFull:
      return model::make_tree_strategy(false, -1);
    default:
      return model::make_tree_strategy(true, -1);
  }
}

Report internal(std::string message) {
  Report report;
  report.verdict = Verdict::kViolated;
  report.kind = Kind::kInternalError;
  report.message = std::move(message);
  return report;
}

// Runs the one execution again with everything recorded, and writes the report.
Report explain(const AnyScenario& scenario, const Schedule& schedule, const SearchOptions& options,
               uint64_t max_steps, const model::Violation* first) {
  Trace trace;
  const std::unique_ptr<Strategy> replay = model::make_replay_strategy(schedule);
  Engine engine(
      scenario, *replay,
      Engine::Limits{
          .executions = 1, .max_steps = max_steps, .report_inversions = options.report_inversions},
      true, nullptr);
  engine.trace = &trace;
  engine.run();
  engine.check_lock_order(/*last=*/true);
  Report report;
  report.replay = to_string(schedule);
  if (!engine.violation().has_value()) {
    if (first == nullptr) {
      report.bounded_by = "one replayed execution";
      report.iterations = 1;
      report.message = trace.columns(scenario.threads, kShownEvents);
      return report;
    }
    report.verdict = Verdict::kViolated;
    report.kind = Kind::kNondeterminism;
    report.message = absl::StrCat("found once and not again in the same execution: ",
                                  std::string(phrase(first->kind)), ": ", first->message);
    return report;
  }
  const model::Violation& found = *engine.violation();
  report.verdict = Verdict::kViolated;
  report.kind = found.kind;
  report.iterations = 1;
  report.message = absl::StrCat(std::string(phrase(found.kind)), ": ", found.message, "\n  at ",
                                to_string(found.where));
  if (found.phase == model::Phase::kThreads) {
    absl::StrAppend(&report.message, ", cpu ", found.thread, "\n", found.state);
  } else {
    absl::StrAppend(&report.message, ", in the set-up or the final check\n");
  }
  absl::StrAppend(&report.message, "The interleaving:\n",
                  trace.columns(scenario.threads, kShownEvents));
  if (first != nullptr && first->kind != found.kind) {
    report.kind = Kind::kNondeterminism;
    absl::StrAppend(&report.message,
                    "The first time this execution ended with: ", std::string(phrase(first->kind)),
                    ": ", first->message, "\n");
  }
  return report;
}

Report run_replay(const AnyScenario& scenario, const SearchOptions& options) {
  const std::optional<Schedule> schedule = model::parse_schedule(options.replay);
  if (!schedule.has_value()) {
    return internal(absl::StrCat("'", options.replay,
                                 "' is not a schedule such as 0x12.1x5/0.1, which a violation "
                                 "prints"));
  }
  return explain(scenario, *schedule, options, options.max_steps, nullptr);
}

}  // namespace

CpuBinding::CpuBinding(CpuId cpu, uint64_t, Where where) {
  if (model::active()) {
    panic("a CpuBinding inside a scenario: the engine has bound the thread already", where);
  }
  if (cpu >= kMaxThreads) panic("no such cpu: " + std::to_string(cpu), where);
  model::hot.thread = static_cast<int8_t>(cpu);
}

CpuBinding::~CpuBinding() { model::hot.thread = 0; }

Report run_search(const AnyScenario& scenario, const SearchOptions& options) {
  if (scenario.threads < 1 || scenario.threads > kMaxThreads) {
    return internal(absl::StrCat(scenario.name, " has ", scenario.threads,
                                 " threads; this engine runs 1 to ", kMaxThreads));
  }
  if (!offers(options.search)) {
    return internal(
        absl::StrCat("this engine has no search '", std::string(name_of(options.search)), "'"));
  }
  const CrashGuard guard;
  if (options.search == Search::kReplay) return run_replay(scenario, options);

  Engine::Limits limits;
  limits.executions = options.executions != 0 ? options.executions : scenario.bounds.executions;
  limits.time = options.time;
  limits.max_steps = options.max_steps != 0 ? options.max_steps : scenario.bounds.max_steps;
  limits.report_inversions = options.report_inversions;
  if (options.search == Search::kRandom && limits.executions == 0 && limits.time.count() == 0) {
    limits.executions = kDefaultRandomExecutions;
  }
  const std::unique_ptr<Strategy> strategy = strategy_of(scenario, options);
  std::optional<model::Violation> violation;
  Schedule schedule;
  Report report;
  {
    Engine engine(scenario, *strategy, limits, options.every_point, options.progress);
    engine.run();
    schedule = engine.schedule();
    if (!engine.violation().has_value()) {
      engine.check_lock_order(/*last=*/true);
      if (engine.violation().has_value()) schedule = Schedule{};  // of no one execution
    }
    report.iterations = engine.executions();
    report.lock_edges = engine.lock_order().edges();
    violation = engine.violation();
    if (engine.exhausted()) {
      report.verdict = Verdict::kExhausted;
    } else {
      report.bounded_by = engine.bounded_by();
    }
  }
  if (violation.has_value() && violation->kind == Kind::kLockOrder) {
    // The two orders may be of two executions: the message has both, a replay one.
    report.verdict = Verdict::kViolated;
    report.kind = violation->kind;
    report.bounded_by.clear();
    report.message = violation->message;
    if (!schedule.runs.empty()) report.replay = to_string(schedule);
    return report;
  }
  if (violation.has_value() && violation->kind != Kind::kNondeterminism) {
    const uint64_t iterations = report.iterations;
    std::vector<LockEdge> edges = std::move(report.lock_edges);
    report = explain(scenario, schedule, options, limits.max_steps, &*violation);
    report.iterations = iterations;
    report.lock_edges = std::move(edges);
    return report;
  }
  if (violation.has_value()) {
    report.verdict = Verdict::kViolated;
    report.kind = violation->kind;
    report.message = violation->message;
    return report;
  }
  if (options.search == Search::kBound && report.verdict == Verdict::kExhausted) {
    report.verdict = Verdict::kBounded;
    report.bounded_by = absl::StrCat(preemptions_of(scenario, options), " preemptions");
  }
  return report;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
