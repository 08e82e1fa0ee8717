#include "platform/explorer/run.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "explorer/counterexample.h"
#include "explorer/html.h"
#include "explorer/report.h"
#include "explorer/search.h"
#include "platform/explorer/kinds.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class ScenarioProgram : public explorer::Program {
 public:
  explicit ScenarioProgram(const AnyScenario& scenario) : scenario_(scenario) {}

  const char* name() const override { return scenario_.name; }
  int threads() const override { return scenario_.threads; }
  void set_up() override { object_ = scenario_.create(); }
  void thread(int index) override { scenario_.thread(object_, index); }
  void finish() override {
    scenario_.after(object_);
    scenario_.destroy(object_);
  }

 private:
  const AnyScenario scenario_;
  void* object_ = nullptr;
};

// By name. A class belongs to the process, not to an execution.
std::array<const LockClass*, 2 * kMaxLockClasses> g_classes{};

const LockClass* class_named(const char* name) {
  for (const LockClass* lock_class : g_classes) {
    if (lock_class != nullptr && std::strcmp(lock_class->name, name) == 0) return lock_class;
  }
  return nullptr;
}

LockUse use_of(const explorer::LockOrder::Lock& lock) {
  const explorer::Site& site = lock.site;
  return LockUse{class_named(lock.name.family), lock.name.number, lock.tried,
                 Where{site.file, site.function, site.line, site.column}};
}

// False for locks of another program: a scenario that uses the engine's own types.
bool to_edge(const explorer::LockOrder::Edge& from, LockEdge& edge) {
  edge = LockEdge{use_of(from.held), use_of(from.taken), static_cast<CpuId>(from.thread), {}};
  for (const auto& lock : from.holds) {
    edge.holds.push_back(use_of(lock));
    if (edge.holds.back().lock_class == nullptr) return false;
  }
  return edge.inner.lock_class != nullptr;
}

std::string judge(const explorer::LockOrder& seen, bool last) {
  LockOrder order;
  LockEdge edge;
  for (const auto& each : seen.edges()) {
    if (to_edge(each, edge)) order.add(edge);
  }
  const std::optional<Inversion> found = order.inversion();
  return found && (found->both || last) ? found->message : "";
}

explorer::Method method_of(Search search) {
  switch (search) {
    case Search::kDpor:
      return explorer::Method::kDpor;
    case Search::kBound:
      return explorer::Method::kBound;
    case Search::kPct:
      return explorer::Method::kPct;
    case Search::kRandom:
      return explorer::Method::kRandom;
    case Search::kFull:
      return explorer::Method::kFull;
    case Search::kReplay:
      return explorer::Method::kReplay;
  }
  return explorer::Method::kDpor;
}

explorer::Options options_of(const AnyScenario& scenario, const SearchOptions& options) {
  explorer::Options out;
  out.method = method_of(options.search);
  out.executions = options.executions != 0 ? options.executions : scenario.bounds.executions;
  out.time = options.time;
  const int preemptions =
      options.preemptions >= 0 ? options.preemptions : scenario.bounds.preemptions;
  if (preemptions >= 0) out.preemptions = preemptions;
  out.depth = options.depth;
  out.seed = options.seed;
  out.replay = options.replay;
  out.jobs = options.jobs;
  out.shard = options.shard;
  out.shards = options.shards;
  out.checkpoint = options.checkpoint;
  out.checkpoint_every = options.checkpoint_every;
  out.resume = options.resume;
  out.engine.check_lock_order = options.report_inversions;
  if (options.report_inversions) out.judge_lock_order = judge;
  const uint64_t steps = options.max_steps != 0 ? options.max_steps : scenario.bounds.max_steps;
  if (steps != 0) out.engine.max_steps = static_cast<int>(std::min<uint64_t>(steps, 1'000'000));
  if (options.progress) {
    out.progress = [&options](const explorer::Progress& progress) {
      SearchProgress told;
      told.executions = progress.executions;
      told.share = progress.share;
      if (progress.share > 0) {
        told.estimated =
            static_cast<uint64_t>(static_cast<double>(progress.executions) / progress.share);
      }
      return options.progress(told);
    };
  }
  return out;
}

// Fills in what a person wants to see of an execution.
void show(ScenarioProgram& program, const explorer::Options& asked, const explorer::Result& result,
          const SearchOptions& options, Report& report) {
  const explorer::Effort effort = options.simplify ? explorer::Effort{} : explorer::Effort{0, 0};
  const explorer::Counterexample shown = explorer::counterexample(program, asked, result, effort);
  report.replay = shown.shrunk.schedule;
  report.preemptions = shown.shrunk.preemptions;
  report.fewest = shown.shrunk.fewest;
  report.steps = shown.shrunk.steps;
  report.message = explorer::to_text(shown);
  if (options.page) report.page = explorer::to_html(shown, options.again + shown.shrunk.schedule);
}

}  // namespace

void register_lock_class(const LockClass& lock_class) {
  // Its place is where it is found at once, unless another one has the same.
  for (size_t i = static_cast<size_t>(lock_class.place);; ++i) {
    const LockClass*& slot = g_classes[i % g_classes.size()];
    if (slot == &lock_class) return;
    if (slot != nullptr) continue;
    slot = &lock_class;
    return;
  }
}

CpuBinding::CpuBinding(CpuId cpu, uint64_t, Where where) {
  explorer::fail(explorer::Kind::kPanic,
                 "a thread of a scenario is bound to cpu " + std::to_string(cpu) +
                     ": the engine has bound it already",
                 site_of(where));
}

Report run_search(const AnyScenario& scenario, const SearchOptions& options) {
  ScenarioProgram program(scenario);
  const explorer::Options asked = options_of(scenario, options);
  const explorer::Result result = explorer::search(program, asked);
  Report report;
  report.iterations = result.executions;
  report.seconds = result.seconds;
  report.cut_short = result.cut_short;
  report.events = result.events;
  report.longest = static_cast<uint64_t>(result.longest);
  report.covered = result.covered;
  report.usage = result.usage;
  LockEdge edge;
  for (const auto& each : result.lock_edges) {
    if (to_edge(each, edge)) report.lock_edges.push_back(edge);
  }
  switch (result.verdict) {
    case explorer::Verdict::kExhausted:
      report.verdict = Verdict::kExhausted;
      break;
    case explorer::Verdict::kBounded:
      report.verdict = Verdict::kBounded;
      report.bounded_by = result.bounded_by;
      if (options.search == Search::kReplay) show(program, asked, result, options, report);
      break;
    case explorer::Verdict::kViolated:
      report.verdict = Verdict::kViolated;
      report.kind = to_platform(result.finding.kind);
      show(program, asked, result, options, report);
      break;
  }
  return report;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
