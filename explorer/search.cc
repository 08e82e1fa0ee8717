#include "explorer/search.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "explorer/dpor.h"
#include "explorer/lock_order.h"
#include "explorer/recorder.h"
#include "explorer/schedule.h"
#include "explorer/strategies.h"

namespace explorer {
namespace {

using Clock_ = std::chrono::steady_clock;

constexpr uint64_t kExecutionsBetweenLooks = 1024;
constexpr uint64_t kRandomExecutions = 10'000;

class Search {
 public:
  Search(Program& program, const Options& options)
      : options_(options), engine_(program, bounded(options.engine)) {}

  Result run() {
    engine_.set_recorder(options_.recorder);
    if (!engine_.set_up()) {
      violated();
    } else {
      switch (options_.method) {
        case Method::kDpor:
          dpor();
          break;
        case Method::kFull:
          exhaustive(-1);
          break;
        case Method::kBound:
          for (int i = 0; i <= options_.preemptions && exhaustive(i); ++i) {
          }
          break;
        case Method::kPct:
          pct();
          break;
        case Method::kRandom:
          random();
          break;
        case Method::kReplay:
          replay();
          break;
      }
    }
    conclude();
    return std::move(result_);
  }

 private:
  static EngineOptions bounded(EngineOptions options) {
    options.max_steps = std::clamp(options.max_steps, 1, kMaxTime - 1);
    return options;
  }

  double seconds() const { return std::chrono::duration<double>(Clock_::now() - start_).count(); }

  void violated() {
    if (result_.findings++ > 0) return;
    result_.finding = engine_.finding();
    result_.schedule = encode(schedule_of(engine_));
  }

  // One execution. False if the search is over.
  bool run_one(Strategy& strategy, const std::vector<Decision>& plan, int known) {
    const End end = engine_.run(strategy, plan, known);
    if (engine_.wants_restart()) return true;
    if (options_.observer) options_.observer(engine_, end);
    const int steps = engine_.steps();
    result_.events += static_cast<uint64_t>(steps);
    result_.longest = std::max(result_.longest, steps);
    switch (end) {
      case End::kComplete:
        ++result_.executions;
        break;
      case End::kCutShort:
        ++result_.cut_short;
        break;
      case End::kTooLong:
        ++result_.too_long;
        break;
    }
    if (engine_.found()) {
      violated();
      if (!options_.keep_going || engine_.finding().kind == Kind::kNondeterminism) return false;
    }
    return true;
  }

  void restart() {
    if (options_.recorder != nullptr) options_.recorder->restarted();
    engine_.watch_states();
    result_ = Result{};
    if (options_.restarted) options_.restarted();
  }

  // Looks at the bounds between two executions; `share` estimates what is done.
  template <class F>
  bool may_go_on(F share) {
    const uint64_t all = result_.executions + result_.cut_short + result_.too_long;
    if (limit_ > 0 && result_.executions >= limit_) {
      stopped_by(std::to_string(limit_) + " executions");
      return false;
    }
    const bool look = all % kExecutionsBetweenLooks == 0;
    if (options_.time.count() > 0 && (look || result_.longest > 200) &&
        Clock_::now() - start_ >= options_.time) {
      stopped_by(std::to_string(options_.time.count()) + " ms");
      return false;
    }
    if (look && options_.progress &&
        !options_.progress(
            Progress{result_.executions, result_.cut_short, result_.events, seconds(), share()})) {
      stopped_by("interruption");
      return false;
    }
    return true;
  }

  void stopped_by(const std::string& what) {
    if (result_.bounded_by.empty()) result_.bounded_by = what;
  }

  void dpor() {
    auto strategy = std::make_unique<Dpor>(engine_.options().max_steps);
    const auto share = [&] { return strategy->progress(); };
    limit_ = options_.executions;
    int known = 0;
    for (;;) {
      const uint64_t cut = result_.cut_short;
      if (!run_one(*strategy, strategy->plan(), known)) break;
      if (engine_.wants_restart()) {
        restart();
        strategy = std::make_unique<Dpor>(engine_.options().max_steps);
        known = 0;
        continue;
      }
      if (result_.cut_short == cut) strategy->analyse(engine_);
      if (!strategy->next(engine_)) {
        finished_ = true;
        break;
      }
      known = static_cast<int>(strategy->plan().size());
      if (!may_go_on(share)) break;
    }
    result_.peak_tree = strategy->peak_tree();
  }

  // True if a higher bound would find more.
  bool exhaustive(int preemptions) {
    auto strategy = std::make_unique<Exhaustive>(engine_.options().max_steps, preemptions);
    const auto share = [&] { return strategy->progress(); };
    limit_ = options_.executions;
    int known = 0;
    for (;;) {
      if (!run_one(*strategy, strategy->plan(), known)) return false;
      if (engine_.wants_restart()) {
        restart();
        strategy = std::make_unique<Exhaustive>(engine_.options().max_steps, preemptions);
        known = 0;
        continue;
      }
      if (!strategy->next(engine_)) break;
      known = strategy->known();
      if (!may_go_on(share)) return false;
    }
    finished_ = !strategy->bound_met();
    if (strategy->bound_met() && preemptions == options_.preemptions) {
      stopped_by(std::to_string(preemptions) + " preemptions");
    }
    return strategy->bound_met();
  }

  void random() {
    RandomWalk strategy(options_.seed);
    sample(strategy, [] {});
  }

  void pct() {
    Pct strategy(options_.seed, options_.depth);
    sample(strategy, [&] { strategy.begin(engine_.threads(), result_.longest); });
  }

  template <class F>
  void sample(Strategy& strategy, F begin) {
    limit_ = options_.executions > 0 ? options_.executions : kRandomExecutions;
    do {
      begin();
      if (!run_one(strategy, {}, 0)) return;
      if (engine_.wants_restart()) restart();
    } while (may_go_on(
        [&] { return static_cast<double>(result_.executions) / static_cast<double>(limit_); }));
  }

  void replay() {
    std::string error;
    const auto schedule = decode(options_.replay, engine_.threads(), &error);
    if (!schedule) {
      result_.findings = 1;
      result_.finding = Finding{Kind::kInternalError, "not a schedule: " + error, Site{}, 0};
      return;
    }
    // What the schedule leaves open: whoever ran last goes on.
    Exhaustive rest(engine_.options().max_steps, 0);
    if (run_one(rest, *schedule, 0) && engine_.wants_restart()) {
      restart();
      run_one(rest, *schedule, 0);
    }
    stopped_by("replay of one execution");
  }

  void conclude() {
    result_.seconds = seconds();
    if (result_.findings == 0 && options_.engine.check_lock_order &&
        options_.method != Method::kReplay) {
      const std::string cycle = engine_.lock_order().cycle();
      if (!cycle.empty()) {
        result_.findings = 1;
        result_.finding = Finding{Kind::kCircularLocking, cycle, Site{}, 0};
      }
    }
    if (result_.findings > 0) {
      result_.verdict = Verdict::kViolated;
    } else if (result_.too_long > 0) {
      stopped_by(std::to_string(engine_.options().max_steps) + " steps in an execution");
    } else if (finished_) {
      result_.verdict = Verdict::kExhausted;
    }
  }

  const Options& options_;
  Engine engine_;
  Result result_;
  uint64_t limit_ = 0;
  bool finished_ = false;
  const Clock_::time_point start_ = Clock_::now();
};

}  // namespace

Result search(Program& program, const Options& options) { return Search(program, options).run(); }

std::string verdict_line(const Result& result) {
  switch (result.verdict) {
    case Verdict::kExhausted:
      return "exhausted";
    case Verdict::kBounded:
      return "bounded (by " + result.bounded_by + ")";
    case Verdict::kViolated:
      return "violated (" + std::string(phrase(result.finding.kind)) + ")";
  }
  return "?";
}

}  // namespace explorer
