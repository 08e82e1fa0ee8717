#include "explorer/part_search.h"

#include <algorithm>
#include <utility>

#include "explorer/dpor.h"
#include "explorer/lock_order.h"
#include "explorer/schedule.h"

namespace explorer {

PartSearch::PartSearch(Engine& engine, const Options& options, const Task& task)
    : engine_(engine), options_(options), task_(task) {
  engine_.set_part(task.part.limits.empty() ? nullptr : &task.part);
  walk_ = make_walk();
}

std::unique_ptr<Walk> PartSearch::make_walk() const {
  const int steps = engine_.options().max_steps;
  switch (options_.method) {
    case Method::kFull:
      return std::make_unique<Exhaustive>(steps, -1);
    case Method::kBound:
      return std::make_unique<Exhaustive>(steps, preemptions_);
    case Method::kPct:
      return std::make_unique<Pct>(options_.seed, task_.slice, options_.depth, task_.steps);
    case Method::kRandom:
      return std::make_unique<RandomWalk>(options_.seed, task_.slice);
    default:
      return std::make_unique<Dpor>(steps);
  }
}

void PartSearch::run(const std::function<bool()>& may_go_on) {
  while (status_ == Status::kOpen && run_one()) {
    ++runs_;
    if (!may_go_on()) break;
  }
  result_.peak_tree = std::max(result_.peak_tree, walk_->peak_tree());
}

// One execution. False if it was the last one.
bool PartSearch::run_one() {
  walk_->begin(engine_);
  const End end = engine_.run(*walk_, walk_->plan(), known_);
  if (engine_.wants_restart()) {
    status_ = Status::kRestart;
    return false;
  }
  // What other parts have too, counts there.
  const bool mine = engine_.belongs();
  if (options_.observer && (mine || end != End::kComplete)) options_.observer(engine_, end);
  const int steps = engine_.steps();
  result_.events += static_cast<uint64_t>(steps);
  result_.longest = std::max(result_.longest, steps);
  if (end == End::kTooLong) {
    ++result_.too_long;
  } else if (end == End::kCutShort || !mine) {
    ++result_.cut_short;
  } else {
    ++result_.executions;
  }
  const Finding finding = engine_.found() ? engine_.finding() : judge_lock_order();
  if (finding.kind != Kind::kNone && (mine || result_.findings == 0)) {
    if (result_.findings++ == 0) {
      result_.finding = finding;
      result_.schedule = encode(schedule_of(engine_));
    }
    if (!options_.keep_going || finding.kind == Kind::kNondeterminism) {
      status_ = Status::kViolated;
      return false;
    }
  }
  return advance(end);
}

// What the last execution has added to the order of locks may be wrong.
Finding PartSearch::judge_lock_order() {
  const size_t edges = engine_.lock_order().edges().size();
  if (!options_.judge_lock_order || edges == edges_judged_) return Finding{};
  edges_judged_ = edges;
  std::string wrong = options_.judge_lock_order(engine_.lock_order(), false);
  if (wrong.empty()) return Finding{};
  return Finding{Kind::kLockOrder, std::move(wrong), Site{}, 0};
}

bool PartSearch::advance(End end) {
  const bool more = walk_->next(engine_, end);
  if (more) {
    known_ = walk_->known();
    return true;
  }
  if (options_.method == Method::kBound) {
    bound_met_ = static_cast<const Exhaustive&>(*walk_).bound_met();
    if (bound_met_ && preemptions_ < options_.preemptions) {
      ++preemptions_;
      walk_ = make_walk();
      known_ = 0;
      return true;
    }
  }
  status_ = Status::kFinished;
  return false;
}

bool PartSearch::look_due() const {
  constexpr uint64_t kShortExecutions = 64;
  constexpr int kShort = 200;
  return runs_ % kShortExecutions == 0 || result_.longest > kShort;
}

double PartSearch::progress() const {
  if (status_ == Status::kFinished) return 1;
  const double share = walk_->progress();
  if (options_.method != Method::kBound) return share;
  return (preemptions_ + share) / (options_.preemptions + 1);
}

std::string PartSearch::save() const {
  Writer to;
  to.put(status_);
  to.put(bound_met_);
  save_result(to, result_);
  to.put(preemptions_);
  walk_->save(to);
  return to.text();
}

bool PartSearch::load(const std::string& state) {
  Reader from(state);
  status_ = from.get<Status>();
  bound_met_ = from.get<bool>();
  result_ = load_result(from);
  preemptions_ = from.get<int>();
  walk_ = make_walk();
  walk_->load(from);
  known_ = 0;
  return from.ok() && from.at_end();
}

PartSearch::Summary PartSearch::summary(const std::string& state) {
  Reader from(state);
  Summary summary;
  summary.status = from.get<Status>();
  summary.bound_met = from.get<bool>();
  summary.result = load_result(from);
  return summary;
}

void save_result(Writer& to, const Result& result) {
  to.put(result.executions);
  to.put(result.cut_short);
  to.put(result.too_long);
  to.put(result.events);
  to.put(result.longest);
  to.put(result.peak_tree);
  to.put(result.findings);
  to.put(result.seconds);
  to.put(result.finding.kind);
  to.put(result.finding.message);
  to.put(result.finding.site);
  to.put(result.finding.thread);
  to.put(result.schedule);
}

Result load_result(Reader& from) {
  Result result;
  result.executions = from.get<uint64_t>();
  result.cut_short = from.get<uint64_t>();
  result.too_long = from.get<uint64_t>();
  result.events = from.get<uint64_t>();
  result.longest = from.get<int>();
  result.peak_tree = from.get<uint64_t>();
  result.findings = from.get<uint64_t>();
  result.seconds = from.get<double>();
  result.finding.kind = from.get<Kind>();
  result.finding.message = from.text();
  result.finding.site = from.site();
  result.finding.thread = from.get<int>();
  result.schedule = from.text();
  return result;
}

void add_result(Result& to, const Result& from) {
  if (to.findings == 0 && from.findings > 0) {
    to.finding = from.finding;
    to.schedule = from.schedule;
  }
  to.findings += from.findings;
  to.executions += from.executions;
  to.cut_short += from.cut_short;
  to.too_long += from.too_long;
  to.events += from.events;
  to.longest = std::max(to.longest, from.longest);
  to.peak_tree = std::max(to.peak_tree, from.peak_tree);
}

}  // namespace explorer
