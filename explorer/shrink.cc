#include "explorer/shrink.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "explorer/dpor.h"
#include "explorer/schedule.h"
#include "explorer/strategies.h"

namespace explorer {
namespace {

// A thread runs until it has made so many steps in all, or cannot go on.
struct Turn {
  int thread;
  int until;
};

std::vector<Turn> turns_of(const std::vector<Decision>& schedule) {
  std::vector<Turn> turns;
  std::array<int, kMaxThreads> made{};
  for (const Decision& decision : schedule) {
    ++made[decision.thread];
    if (turns.empty() || turns.back().thread != decision.thread) {
      turns.push_back(Turn{decision.thread, 0});
    }
    turns.back().until = made[decision.thread];
  }
  return turns;
}

// Follows turns as far as that is possible; then whoever runs goes on. Each thread makes the
// choices it is given, if it can. Counts preemptions.
class FollowTurns : public Strategy {
 public:
  FollowTurns(std::vector<Turn> turns, const std::vector<Decision>& choices)
      : turns_(std::move(turns)) {
    for (const Decision& decision : choices) {
      choices_[decision.thread].push_back(decision.choice);
    }
  }

  int preemptions() const { return preemptions_; }

  int pick(Engine& engine) override {
    const uint8_t enabled = engine.enabled_mask();
    if (enabled == 0) return kNobody;
    const auto can = [enabled](int thread) { return (enabled >> thread & 1) != 0; };
    const auto over = [&](const Turn& turn) {
      return made_[turn.thread] >= turn.until || !can(turn.thread);
    };
    while (at_ < turns_.size() && over(turns_[at_])) ++at_;
    int next = std::countr_zero(enabled);
    if (at_ < turns_.size()) {
      next = turns_[at_].thread;
    } else if (engine.steps() > 0 && can(engine.running())) {
      next = engine.running();
    }
    if (would_preempt(engine) && next != engine.running()) ++preemptions_;
    return next;
  }

  uint16_t pick_choice(Engine& engine, uint64_t allowed) override {
    const std::vector<uint16_t>& given = choices_[engine.running()];
    const size_t step = static_cast<size_t>(made_[engine.running()]);
    if (step < given.size() && (allowed >> given[step] & 1) != 0) return given[step];
    return static_cast<uint16_t>(std::countr_zero(allowed));
  }

  void made(Engine& engine, int index) override { ++made_[engine.event(index).label.thread]; }

 private:
  const std::vector<Turn> turns_;
  std::array<std::vector<uint16_t>, kMaxThreads> choices_;
  std::array<int, kMaxThreads> made_{};
  size_t at_ = 0;
  int preemptions_ = 0;
};

class Shrinker {
 public:
  Shrinker(Program& program, const EngineOptions& options, Kind kind, const Effort& effort)
      : engine_(program, options), kind_(kind), effort_(effort) {}

  Shrunk run(const std::string& schedule) {
    Shrunk result;
    result.schedule = schedule;
    std::string error;
    const auto decisions = decode(schedule, engine_.threads(), &error);
    if (!decisions || !engine_.set_up() || !follow(turns_of(*decisions), *decisions)) return result;
    reduce_turns();
    search_fewer(result);
    result.schedule = encode(best_);
    result.steps = static_cast<int>(best_.size());
    result.preemptions = preemptions_;
    find_critical_step(result);
    return result;
  }

 private:
  End execute(Strategy& strategy, const std::vector<Decision>& plan, int known) {
    const End end = engine_.run(strategy, plan, known);
    spent_ += static_cast<uint64_t>(engine_.steps());
    ++executions_;
    return end;
  }

  bool violates() const { return engine_.found() && engine_.finding().kind == kind_; }

  // ---- fewer preemptions

  // Whether these turns lead to the finding with fewer preemptions than were known of; then they
  // are the best.
  bool follow(const std::vector<Turn>& turns, const std::vector<Decision>& choices) {
    for (;;) {
      FollowTurns strategy(turns, choices);
      execute(strategy, {}, 0);
      if (engine_.wants_restart()) {
        engine_.watch_states();
        continue;
      }
      if (!violates() || (preemptions_ >= 0 && strategy.preemptions() >= preemptions_)) {
        return false;
      }
      best_ = schedule_of(engine_);
      preemptions_ = strategy.preemptions();
      return true;
    }
  }

  // Joins turns of a thread that are apart, in either place.
  bool join_some_turn() {
    const std::vector<Turn> turns = turns_of(best_);
    for (size_t i = 0; i < turns.size(); ++i) {
      const auto same = std::find_if(turns.begin() + static_cast<ptrdiff_t>(i) + 1, turns.end(),
                                     [&](const Turn& t) { return t.thread == turns[i].thread; });
      std::vector<Turn> later = turns;
      later.erase(later.begin() + static_cast<ptrdiff_t>(i));
      if (follow(later, best_)) return true;
      if (same == turns.end()) continue;
      std::vector<Turn> sooner = turns;
      sooner[i].until = same->until;
      sooner.erase(sooner.begin() + (same - turns.begin()));
      if (follow(sooner, best_)) return true;
    }
    return false;
  }

  void reduce_turns() {
    while (preemptions_ > 0 && spent_ < effort_.fewest && join_some_turn()) {
    }
  }

  // All schedules with less preemptions than the best, as far as the effort goes.
  void search_fewer(Shrunk& result) {
    bool complete = effort_.fewest > 0 || preemptions_ == 0;
    for (int bound = 0; bound < preemptions_ && complete; ++bound) {
      if (search_with(bound, complete)) {
        best_ = schedule_of(engine_);
        preemptions_ = bound;
      }
    }
    result.fewest = complete;
    if (effort_.fewest > 0) result.searched = executions_;
  }

  bool search_with(int bound, bool& complete) {
    auto strategy = std::make_unique<Exhaustive>(engine_.options().max_steps, bound);
    int known = 0;
    for (;;) {
      const End end = execute(*strategy, strategy->plan(), known);
      if (engine_.wants_restart()) {
        engine_.watch_states();
        strategy = std::make_unique<Exhaustive>(engine_.options().max_steps, bound);
        known = 0;
        continue;
      }
      if (violates()) return true;
      if (end == End::kTooLong || spent_ >= effort_.fewest) {
        complete = false;
        return false;
      }
      if (!strategy->next(engine_, end)) return false;
      known = strategy->known();
    }
  }

  // ---- the critical step

  enum class Outcome : uint8_t { kSucceeds, kFails, kUnknown };

  bool succeeded(End end) const { return end == End::kComplete && !engine_.found(); }

  std::vector<Decision> beginning(int length) const {
    return std::vector<Decision>(best_.begin(), best_.begin() + length);
  }

  // What the walk finds that begins with the first `length` decisions of the best, with so many
  // executions at most: a success, or that all fail. Unknown too if it has to begin anew.
  Outcome look_for_success(Walk& walk, int length, uint64_t most) {
    bool too_long = false;
    int known = 0;
    for (uint64_t i = 0; i < most && spent_ < limit_; ++i) {
      const End end = execute(walk, i == 0 ? beginning(length) : walk.plan(), known);
      if (succeeded(end)) return Outcome::kSucceeds;
      if (engine_.wants_restart()) return Outcome::kUnknown;
      too_long = too_long || end == End::kTooLong;
      if (!walk.next(engine_, end)) return too_long ? Outcome::kUnknown : Outcome::kFails;
      known = walk.known();
    }
    return Outcome::kUnknown;
  }

  // Whether some schedule succeeds that begins like that, as far as some continuations with few
  // preemptions show it.
  bool soon_succeeds(int length) {
    constexpr uint64_t kTries = 200;
    for (int bound = 0; bound <= 1; ++bound) {
      Exhaustive walk(engine_.options().max_steps, bound);
      if (look_for_success(walk, length, kTries) == Outcome::kSucceeds) return true;
      if (engine_.wants_restart()) {
        engine_.watch_states();
        return soon_succeeds(length);
      }
    }
    return false;
  }

  // The same from all continuations.
  Outcome outcome(int length) {
    Dpor walk(engine_.options().max_steps, length);
    const Outcome outcome_here = look_for_success(walk, length, ~uint64_t{0});
    if (!engine_.wants_restart()) return outcome_here;
    engine_.watch_states();
    return outcome(length);
  }

  // What succeeds from a beginning succeeds from every shorter one. Where successes are soon found
  // no more is where to prove that there are none; if that takes too long, then as far from the end
  // as it does not.
  void find_critical_step(Shrunk& result) {
    if (effort_.critical == 0) return;
    spent_ = 0;
    executions_ = 0;
    limit_ = std::max<uint64_t>(effort_.critical / 2, 1);
    int fails = static_cast<int>(best_.size());
    int succeeds = last_soon_success();
    bool known = true;
    while (known && fails - succeeds > 1) known = probe(succeeds + 1, succeeds, fails);
    limit_ = effort_.critical;
    bool failed = !known;
    for (int stride = 1; failed && fails - stride > succeeds; stride *= 2) {
      const int before = fails;
      probe(fails - stride, succeeds, fails);
      failed = fails < before;
    }
    result.continuations = executions_;
    result.critical = succeeds;
    result.until = fails;
    if (fails - succeeds > 1) return;
    result.critical_is = fails == 0 ? Shrunk::Critical::kNone : Shrunk::Critical::kStep;
  }

  int last_soon_success() {
    int succeeds = -1;
    int fails = static_cast<int>(best_.size());
    if (fails == 0 || !soon_succeeds(0)) return -1;
    for (succeeds = 0; fails - succeeds > 1;) {
      const int at = (succeeds + fails) / 2;
      (soon_succeeds(at) ? succeeds : fails) = at;
    }
    return succeeds;
  }

  // False if nothing can be said of the beginning of this length.
  bool probe(int length, int& succeeds, int& fails) {
    switch (outcome(length)) {
      case Outcome::kSucceeds:
        succeeds = length;
        return true;
      case Outcome::kFails:
        fails = length;
        return true;
      case Outcome::kUnknown:
        return false;
    }
    return false;
  }

  Engine engine_;
  const Kind kind_;
  const Effort effort_;
  std::vector<Decision> best_;
  int preemptions_ = -1;
  uint64_t spent_ = 0;  // steps
  uint64_t limit_ = 0;  // of them, in the search for the critical step
  uint64_t executions_ = 0;
};

std::string count(uint64_t number, const char* what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

}  // namespace

Shrunk shrink(Program& program, const EngineOptions& options, const Result& result,
              const Effort& effort) {
  return Shrinker(program, options, result.finding.kind, effort).run(result.schedule);
}

std::string about_preemptions(const Shrunk& shrunk) {
  if (shrunk.preemptions < 0) return "";
  const std::string text = count(static_cast<uint64_t>(shrunk.preemptions), "preemption");
  if (shrunk.searched == 0) return text;
  return text +
         (shrunk.fewest ? ", the fewest that this takes (" : ", not proved to be the fewest (") +
         count(shrunk.searched, "execution") + ")";
}

std::string about_critical_step(const Shrunk& shrunk) {
  const std::string effort = " (" + count(shrunk.continuations, "execution") + ")";
  switch (shrunk.critical_is) {
    case Shrunk::Critical::kStep:
      return "the critical step is step " + std::to_string(shrunk.critical + 1) +
             ": until then some schedule still succeeds, after it none does" + effort;
    case Shrunk::Critical::kNone:
      return "no schedule succeeds: there is no critical step" + effort;
    case Shrunk::Critical::kUnknown:
      break;
  }
  if (shrunk.continuations == 0) return "";
  if (shrunk.critical < 0) {
    return "the critical step is not determined: no schedule that succeeds was found" + effort;
  }
  return "the critical step is not determined: it is one of steps " +
         std::to_string(shrunk.critical + 1) + " to " + std::to_string(shrunk.until) + effort;
}

}  // namespace explorer
