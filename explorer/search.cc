#include "explorer/search.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "explorer/checkpoint.h"
#include "explorer/division.h"
#include "explorer/lock_order.h"
#include "explorer/part_search.h"
#include "explorer/recorder.h"
#include "explorer/schedule.h"
#include "explorer/search_state.h"
#include "explorer/strategies.h"
#include "explorer/workers.h"

namespace explorer {
namespace {

using Clock_ = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenTellings{100};
constexpr uint64_t kRandomExecutions = 10'000;
// Parts differ in size: several for each process, and more for each shard, which cannot take over
// another's.
constexpr size_t kPartsPerJob = 12;
constexpr size_t kPartsPerShard = 16;

const char* name_of(Method method) {
  constexpr const char* kNames[] = {"dpor", "full", "bound", "pct", "random", "replay"};
  return kNames[static_cast<int>(method)];
}

class Search {
 public:
  Search(Program& program, const Options& options)
      : program_(program), options_(options), engine_(program, bounded(options.engine)) {}

  Result run() {
    engine_.set_recorder(options_.recorder);
    Result result;
    if (options_.method == Method::kReplay) {
      result = replay();
    } else {
      const std::string error = search();
      result = conclude();
      result.usage = error;
      if (options_.progress) {
        options_.progress(
            Progress{result.executions, result.cut_short, result.events, seconds(), result.share});
      }
    }
    result.seconds += seconds();
    return result;
  }

 private:
  static EngineOptions bounded(EngineOptions options) {
    options.max_steps = std::clamp(options.max_steps, 1, kMaxTime - 1);
    return options;
  }

  bool random() const {
    return options_.method == Method::kPct || options_.method == Method::kRandom;
  }
  double seconds() const { return std::chrono::duration<double>(Clock_::now() - start_).count(); }

  void stopped_by(const std::string& what) {
    if (bounded_by_.empty()) bounded_by_ = what;
  }

  // The bounds that may end it. Random searches have so many executions from the start (set_ends).
  bool enough(uint64_t executions) {
    if (random() || options_.executions == 0 || executions < options_.executions) return false;
    stopped_by(std::to_string(options_.executions) + " executions");
    return true;
  }
  bool out_of_time(Clock_::time_point now) {
    if (options_.time.count() == 0 || now - start_ < options_.time) return false;
    stopped_by(std::to_string(options_.time.count()) + " ms");
    return true;
  }

  // ---- the state and its file

  Fields about() const {
    const auto text = [](int64_t number) { return std::to_string(number); };
    Fields fields{{"scenario", program_.name()},
                  {"search", name_of(options_.method)},
                  {"bound on steps", text(engine_.options().max_steps)},
                  {"number of spurious wake-ups", text(engine_.options().spurious_wakeups)},
                  {"check of lock orders", engine_.options().check_lock_order ? "on" : "off"},
                  {"check for leaks", engine_.options().check_leaks ? "on" : "off"},
                  {"shard", text(options_.shard) + " of " + text(options_.shards)}};
    if (options_.method == Method::kBound) {
      fields.emplace_back("bound on preemptions", text(options_.preemptions));
    }
    if (options_.method == Method::kPct) fields.emplace_back("depth", text(options_.depth));
    if (random()) fields.emplace_back("seed", std::to_string(options_.seed));
    fields.emplace_back("program (a digest of its file)", program_fingerprint());
    return fields;
  }

  std::string save() {
    if (options_.checkpoint.empty()) return "";
    state_.watch_states = engine_.watches_states();
    state_.edges = engine_.lock_order().edges();
    const double before = state_.done.seconds;
    state_.done.seconds += seconds();
    const std::string error = write_checkpoint(options_.checkpoint, about(), state_.save());
    state_.done.seconds = before;
    return error;
  }

  std::string resume() {
    std::string text;
    std::string error = read_checkpoint(options_.resume, about(), &text);
    if (error.empty() && !state_.load(text)) {
      error = "the checkpoint " + options_.resume + " is of another version of this program";
    }
    if (!error.empty()) return error;
    if (state_.watch_states) engine_.watch_states();
    engine_.lock_order().add(state_.edges);
    return "";
  }

  // Divides the search into parts and keeps those of this shard.
  void divide() {
    state_ = SearchState{};
    const size_t shards = static_cast<size_t>(options_.shards);
    const size_t wanted = shards > 1          ? shards * kPartsPerShard
                          : options_.jobs > 1 ? static_cast<size_t>(options_.jobs) * kPartsPerJob
                                              : 1;
    engine_.set_recorder(nullptr);
    if (random()) {
      slices(wanted);
    } else if (wanted > 1) {
      parts(wanted);
    } else {
      state_.items.resize(1);
    }
    engine_.set_recorder(options_.recorder);
    state_.of_all = state_.items.size();
    std::vector<SearchState::Item> mine;
    for (size_t i = static_cast<size_t>(options_.shard); i < state_.items.size(); i += shards) {
      SearchState::Item& item = state_.items[i];
      if (item.done) {
        const PartSearch::Summary summary = PartSearch::summary(item.saved);
        add_result(state_.done, summary.result);
        state_.bound_met = state_.bound_met || summary.bound_met;
        item.saved.clear();
      }
      mine.push_back(std::move(item));
    }
    state_.items = std::move(mine);
  }

  void slices(size_t count) {
    int steps = 1;
    while (options_.method == Method::kPct) {
      steps = Division(engine_, options_).probe();
      if (!engine_.wants_restart()) break;
      engine_.watch_states();
    }
    for (size_t i = 0; i < count; ++i) {
      Task task{{}, Slice{i, count, ~uint64_t{0}}, steps};
      state_.items.push_back(SearchState::Item{std::move(task), false, "", 0});
    }
  }

  void parts(size_t wanted) {
    const LockOrder before = engine_.lock_order();
    std::vector<Division::Piece> pieces;
    for (;;) {
      pieces = Division(engine_, options_).divide(wanted);
      if (!engine_.wants_restart()) break;
      engine_.watch_states();
    }
    // What the trials found or would have told is found and told again, by the search.
    const bool told = options_.observer && options_.jobs <= 1;
    const bool wrong = options_.judge_lock_order &&
                       !options_.judge_lock_order(engine_.lock_order(), false).empty();
    const bool keep = !told && !wrong;
    if (!keep) engine_.lock_order() = before;
    for (Division::Piece& piece : pieces) {
      SearchState::Item item{Task{std::move(piece.part), {}, 1}, false, "", 0};
      if (keep && !piece.state.empty()) {
        item.done = piece.finished;
        item.saved = std::move(piece.state);
        item.progress = piece.progress;
      }
      state_.items.push_back(std::move(item));
    }
  }

  // ---- searching

  // Empty, or what is wrong with the checkpoint.
  std::string search() {
    if (!options_.resume.empty()) {
      const std::string error = resume();
      if (!error.empty()) return error;
    }
    if (!options_.checkpoint.empty() && options_.checkpoint != options_.resume &&
        ::access(options_.checkpoint.c_str(), F_OK) == 0) {
      return "the checkpoint " + options_.checkpoint +
             " exists already: go on from it with --resume, or choose another file";
    }
    if (!engine_.set_up()) {
      violated_in_set_up();
      return "";
    }
    if (options_.resume.empty()) divide();
    set_ends();
    std::string error = save();  // what cannot be written later shows now
    if (!error.empty()) return error;
    while (!(options_.jobs > 1 ? with_workers() : alone())) {
      engine_.watch_states();
      if (options_.recorder != nullptr) options_.recorder->restarted();
      if (options_.restarted) options_.restarted();
      divide();
      set_ends();
    }
    return save();
  }

  void violated_in_set_up() {
    state_.items.clear();
    state_.done.findings = 1;
    state_.done.finding = engine_.finding();
  }

  // Where random searches end.
  void set_ends() {
    if (!random()) return;
    limit_ = options_.executions > 0     ? options_.executions
             : options_.time.count() > 0 ? ~uint64_t{0}
                                         : kRandomExecutions;
    for (SearchState::Item& item : state_.items) item.task.slice.end = limit_;
  }

  // False if the search must begin anew.
  bool alone() {
    last_save_ = last_told_ = Clock_::now();
    for (SearchState::Item& item : state_.items) {
      if (item.done) continue;
      PartSearch part(engine_, options_, item.task);
      if (!item.saved.empty() && !part.load(item.saved)) std::abort();
      item.saved.clear();
      const Result before = state_.total();
      part.run([&] {
        if (enough(before.executions + part.result().executions)) return false;
        return !part.look_due() || look(item, part, before);
      });
      switch (part.status()) {
        case PartSearch::Status::kRestart:
          return false;
        case PartSearch::Status::kOpen:
          item.saved = part.save();
          item.progress = part.progress();
          return true;
        case PartSearch::Status::kViolated:
        case PartSearch::Status::kFinished:
          item.done = true;
          state_.bound_met = state_.bound_met || part.bound_met();
          add_result(state_.done, part.result());
          if (part.status() == PartSearch::Status::kViolated) return true;
      }
    }
    return true;
  }

  // Between two executions, now and then.
  bool look(SearchState::Item& item, PartSearch& part, const Result& before) {
    const auto now = Clock_::now();
    if (out_of_time(now)) return false;
    if (!options_.checkpoint.empty() && now - last_save_ >= options_.checkpoint_every) {
      last_save_ = now;
      item.saved = part.save();
      item.progress = part.progress();
      save();
      item.saved.clear();
    }
    if (!options_.progress || now - last_told_ < kBetweenTellings) return true;
    last_told_ = now;
    item.progress = part.progress();
    Result total = before;
    add_result(total, part.result());
    return tell(total, state_.progress());
  }

  bool tell(const Result& total, double share) {
    if (options_.progress && !options_.progress(Progress{total.executions, total.cut_short,
                                                         total.events, seconds(), share})) {
      stopped_by("interruption");
      return false;
    }
    return true;
  }

  // The same with processes.
  bool with_workers() {
    Workers workers(engine_, options_, state_);
    const auto may_go_on = [this](const Result& total, double share) {
      return !enough(total.executions) && !out_of_time(Clock_::now()) && tell(total, share);
    };
    return workers.run(may_go_on, [this] { save(); }) != Workers::Outcome::kRestart;
  }

  Result replay() {
    Result result;
    std::string error;
    const auto schedule = decode(options_.replay, engine_.threads(), &error);
    if (!schedule) {
      result.findings = 1;
      result.verdict = Verdict::kViolated;
      result.finding = Finding{Kind::kInternalError, "not a schedule: " + error, Site{}, 0};
      return result;
    }
    result.bounded_by = "replay of one execution";
    if (engine_.set_up()) {
      // What the schedule leaves open: whoever ran last goes on.
      Exhaustive rest(engine_.options().max_steps, 0);
      engine_.run(rest, *schedule, 0);
      if (engine_.wants_restart()) {
        engine_.watch_states();
        if (options_.recorder != nullptr) options_.recorder->restarted();
        engine_.run(rest, *schedule, 0);
      }
      if (options_.observer) options_.observer(engine_, End::kComplete);
    }
    result.executions = 1;
    result.longest = engine_.steps();
    result.events = static_cast<uint64_t>(engine_.steps());
    if (engine_.found()) {
      result.findings = 1;
      result.finding = engine_.finding();
    } else {
      check_lock_order(result);
    }
    if (result.findings > 0) {
      result.verdict = Verdict::kViolated;
      result.schedule = encode(schedule_of(engine_));
    }
    return result;
  }

  // Of all executions together.
  void check_lock_order(Result& result) {
    const LockOrder& order = engine_.lock_order();
    if (options_.judge_lock_order) {
      const std::string wrong = options_.judge_lock_order(order, true);
      if (!wrong.empty()) result.finding = Finding{Kind::kLockOrder, wrong, Site{}, 0};
    }
    if (result.finding.kind == Kind::kNone) {
      const std::string cycle = order.cycle();
      if (!cycle.empty()) result.finding = Finding{Kind::kCircularLocking, cycle, Site{}, 0};
    }
    if (result.finding.kind != Kind::kNone) result.findings = 1;
  }

  Result conclude() {
    Result result = state_.total();
    if (result.findings == 0) check_lock_order(result);
    result.lock_edges = engine_.lock_order().edges();
    const bool done = std::all_of(state_.items.begin(), state_.items.end(),
                                  [](const SearchState::Item& item) { return item.done; });
    if (result.findings > 0) {
      result.verdict = Verdict::kViolated;
    } else if (result.too_long > 0) {
      stopped_by(std::to_string(engine_.options().max_steps) + " steps in an execution");
    } else if (done && random()) {
      stopped_by(std::to_string(limit_) + " executions");
    } else if (done && state_.bound_met) {
      stopped_by(std::to_string(options_.preemptions) + " preemptions");
    } else if (done) {
      result.verdict = Verdict::kExhausted;
    }
    result.bounded_by = bounded_by_;
    result.share = state_.progress();
    if (options_.shards > 1) {
      result.covered = "shard " + std::to_string(options_.shard + 1) + " of " +
                       std::to_string(options_.shards) + ": " +
                       std::to_string(state_.items.size()) + " of " +
                       std::to_string(state_.of_all) + " parts";
    }
    return result;
  }

  Program& program_;
  const Options& options_;
  Engine engine_;
  SearchState state_;
  std::string bounded_by_;
  uint64_t limit_ = 0;  // of a random search
  const Clock_::time_point start_ = Clock_::now();
  Clock_::time_point last_save_ = start_;
  Clock_::time_point last_told_ = start_;
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
