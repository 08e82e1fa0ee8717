#include "platform/explorer/run.h"

#include <algorithm>
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
