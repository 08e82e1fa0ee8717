// hatstress: the soak program. Builds a system and a world, lets real threads loose on them, and
// says what came of it.
//
// Exit codes: 0 clean, also when interrupted (the verdict line says so); 1 a violation was found, a
// crash being one; 2 bad flags or input.
//
// Text goes to standard output, or to standard error where --json=- has taken standard output; the
// live line and reports of violations go to standard error.
#include <errno.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/audit.h"
#include "platform/observe.h"
#include "platform/platform.h"
#include "platform/threads/cpu.h"
#include "platform/threads/run.h"
#include "stress/evidence.h"
#include "stress/op_stream.h"
#include "stress/options.h"
#include "stress/report.h"
#include "stress/result_json.h"
#include "stress/runner.h"
#include "stress/signals.h"
#include "stress/watchdog.h"
#include "stress/workload.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

int usage_error(const absl::Status& status) {
  absl::FPrintF(stderr, "hatstress: %s\n", status.message());
  return kExitUsage;
}

void print_list() {
  absl::PrintF("Workloads (--workload=NAME)\n");
  for (const Workload& w : workloads()) absl::PrintF("  %-12s %s\n", w.name, w.what);
  absl::PrintF("\nOperations\n");
  for (const OpRow& row : op_table()) absl::PrintF("  %-12s %s\n", row.name, row.what);
}

// Where --json goes. Opened before the run: a bad path is not to cost an hour.
class JsonFile {
 public:
  absl::Status open(const std::string& path) {
    path_ = path;
    if (path.empty()) return absl::OkStatus();
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "w");
    return file_ != nullptr ? absl::OkStatus() : problem();
  }

  absl::Status write(const std::string& text) {
    if (file_ == nullptr) return absl::OkStatus();
    const bool written = std::fwrite(text.data(), 1, text.size(), file_) == text.size();
    return std::fflush(file_) == 0 && written ? absl::OkStatus() : problem();
  }

 private:
  absl::Status problem() const {
    return absl::UnavailableError(
        absl::StrCat("cannot write --json=", path_, ": ", std::generic_category().message(errno)));
  }

  std::string path_;
  std::FILE* file_ = nullptr;
};

// One run, and what its failure handler has to know.
class Session {
 public:
  Session(std::string program, const Options& options)
      : program_(std::move(program)),
        options_(options),
        workload_(*find_workload(options.workload)),
        config_(system_config(options, workload_)),
        live_(stderr) {}

  int run();

 private:
  enum class Phase { kBuilding, kRunning, kEnding };

  int run_watched();
  // For what one thread does alone; it is many operations in one.
  absl::Duration alone_limit() const {
    return std::max(4 * options_.stuck_after, absl::Duration(absl::Seconds(30)));
  }
  void on_failure(const Failure& reported);
  void leave_evidence(const Violation& violation, const Evidence& evidence,
                      const std::string& block, const std::string& rerun);
  std::string what_was_done(const Failure& failure) const;
  std::string rerun(const std::string& evidence) const;
  RunResult result_so_far() const;
  std::string json(const RunResult& result, std::optional<Violation> violation) const {
    return result_json({resolved_, facts_, rerun(""), result, std::move(violation)});
  }

  const std::string program_;
  const Options options_;
  const Workload& workload_;
  const SystemConfig config_;
  const std::thread::id main_thread_ = std::this_thread::get_id();
  LiveLine live_;
  JsonFile json_;
  Options resolved_;
  Facts facts_;
  std::atomic<Phase> phase_{Phase::kBuilding};
  std::optional<RunResult> result_;  // once the run has ended
  std::vector<ProcessMaps> input_;   // of the maps workload
  std::unique_ptr<System> sys_;
  std::unique_ptr<World> world_;
  std::unique_ptr<Runner> runner_;
  std::atomic<const Crash*> crash_{nullptr};  // what is being reported, if a crash
};

// Asked of the crashing thread, in its signal handler.
CrashReporter::Witness witness() {
  const Cpu& me = Cpu::current();
  return {.cpu = me.bound() ? me.id() : Crash::kNoCpu, .can_report = !failing()};
}

int Session::run() {
  resolved_ = options_;
  if (const absl::Status status = json_.open(options_.json); !status.ok()) {
    return usage_error(status);
  }
  set_failure_handler([this](const Failure& failure) { on_failure(failure); });
  int code = 0;
  {
    const CrashReporter crashes(
        absl::StrCat("hatstress: ended by a crash or a sanitizer; rerun with\n  ", rerun(""), "\n"),
        witness, [this](const Crash& crash) {
          crash_ = &crash;
          fail(Kind::kCrash, crash.what(), Where{});
        });
    code = run_watched();
  }
  set_failure_handler({});
  return code;
}

int Session::run_watched() {
  catch_interrupts();
  record_lock_order(options_.report_inversions);
  std::FILE* const out = options_.json == "-" ? stderr : stdout;
  {
    const TimeLimit limit("building the world", alone_limit());
    const CpuBinding binding(0, options_.seed);
    sys_ = std::make_unique<System>(config_);
    absl::StatusOr<std::unique_ptr<World>> world = build_world(options_, workload_, *sys_);
    if (!world.ok()) {
      sys_.reset();
      return usage_error(world.status());
    }
    world_ = *std::move(world);
    input_ = std::move(world_->input);
  }
  resolved_ = resolved(options_, config_, *world_);
  facts_ = system_facts(resolved_, config_, *world_);
  absl::FPrintF(out, "%s", header(resolved_, facts_));
  std::fflush(out);

  runner_ = std::make_unique<Runner>(options_, workload_, *sys_, *world_);
  runner_->on_progress([this](const Progress& progress) { live_.show(progress); });
  runner_->stop_when(interrupted);
  phase_ = Phase::kRunning;
  const RunResult result = runner_->run();
  result_ = result;
  phase_ = Phase::kEnding;
  live_.close();
  {
    // Takes everything down, which reports what has leaked.
    const TimeLimit limit("taking the system down", alone_limit());
    const CpuBinding binding(0, options_.seed);
    world_.reset();
    sys_.reset();
  }
  absl::FPrintF(out, "%s\n%s\n", result_tables(result), verdict_line(result, options_.seed));
  std::fflush(out);
  const absl::Status written = json_.write(json(result, std::nullopt));
  return written.ok() ? static_cast<int>(kExitClean) : usage_error(written);
}

// ---- After a violation: on the thread that found it, with whatever locks it holds, or on the
// crash reporter's.

std::string Session::what_was_done(const Failure& failure) const {
  switch (phase_.load()) {
    case Phase::kBuilding:
      return "building the world";
    case Phase::kEnding:
      return "taking the system down";
    case Phase::kRunning:
      break;
  }
  const Crash* const crash = crash_;
  const bool on_cpu =
      crash != nullptr ? crash->cpu != Crash::kNoCpu : std::this_thread::get_id() != main_thread_;
  if (on_cpu) return runner_->current_operation(failure.cpu);
  return runner_->audit_failed() ? "quiescent audit (no cpu)"
                                 : "audit or watchdog (the coordinator, on no cpu)";
}

RunResult Session::result_so_far() const {
  if (result_) return *result_;
  return runner_ != nullptr ? runner_->so_far() : RunResult{};
}

// Live maps are gone by the time of the rerun; the ones saved are as good.
std::string Session::rerun(const std::string& evidence) const {
  Options again = options_;
  if (!evidence.empty() && options_.workload == "maps" && options_.maps_dir.empty()) {
    again.maps_dir = absl::StrCat(evidence, "/maps");
  }
  return absl::StrCat(shell_quoted(program_), " ", command_line(again));
}

void Session::leave_evidence(const Violation& violation, const Evidence& evidence,
                             const std::string& block, const std::string& rerun_command) {
  std::string options;
  for (const auto& [name, value] : option_values(resolved_)) {
    absl::StrAppend(&options, "--", name, "=", value, "\n");
  }
  for (const auto& [name, value] : facts_) absl::StrAppend(&options, "# ", name, ": ", value, "\n");
  absl::Status status = evidence.add("failure.txt", block);
  status.Update(evidence.add("rerun.sh", absl::StrCat("#!/bin/sh\nexec ", rerun_command, "\n")));
  status.Update(evidence.add("options.txt", options));
  status.Update(evidence.add("cpus.txt", describe_stuck()));
  if (runner_ != nullptr) {
    status.Update(evidence.add("operations.txt", runner_->recent_operations()));
  }
  status.Update(evidence.add("result.json", json(result_so_far(), violation)));
  if (const Crash* const crash = crash_) {
    status.Update(evidence.add("backtrace.txt", crash->backtrace()));
  }
  if (!input_.empty()) status.Update(evidence.add_maps(input_));
  if (!status.ok()) absl::FPrintF(stderr, "hatstress: %s\n", status.message());
}

void Session::on_failure(const Failure& reported) {
  live_.close();
  Failure failure = reported;
  const Crash* const crash = crash_;
  if (crash != nullptr) failure.cpu = crash->cpu == Crash::kNoCpu ? 0 : crash->cpu;
  Violation violation{failure, what_was_done(failure), ""};
  std::optional<Evidence> evidence;
  if (!options_.evidence.empty()) {
    absl::StatusOr<Evidence> made = Evidence::create(options_.evidence);
    if (made.ok()) {
      evidence = *std::move(made);
      violation.evidence = evidence->folder();
    } else {
      absl::FPrintF(stderr, "hatstress: no evidence: %s\n", made.status().message());
    }
  }
  const bool stands_still = failure.kind == Kind::kDeadlock || failure.kind == Kind::kLostWakeup ||
                            failure.kind == Kind::kNoProgress;
  const std::string rerun_command = rerun(violation.evidence);
  const std::string block =
      violation_block(failure, violation.operation,
                      stands_still       ? describe_stuck()
                      : crash != nullptr ? Cpu::at(failure.cpu).describe_held()
                                         : Cpu::current().describe_held(),
                      violation.evidence, rerun_command);
  std::fflush(stdout);
  absl::FPrintF(stderr, "%s", block);
  std::fflush(stderr);
  const absl::Status written = json_.write(json(result_so_far(), violation));
  if (!written.ok()) absl::FPrintF(stderr, "hatstress: %s\n", written.message());
  if (!evidence) return;
  leave_evidence(violation, *evidence, block, rerun_command);
  // Last, because it follows structures that are broken.
  if (runner_ != nullptr && runner_->audit_failed()) {
    const absl::Status status = evidence->add("hats.txt", hat_dump(*sys_));
    if (!status.ok()) absl::FPrintF(stderr, "hatstress: %s\n", status.message());
  }
}

int hatstress_main(int argc, char** argv) {
  bool exit_now = false;
  const absl::StatusOr<Options> options = parse_options(argc, argv, &exit_now);
  if (!options.ok()) return usage_error(options.status());
  if (exit_now) return kExitClean;
  if (options->list) {
    print_list();
    return kExitClean;
  }
  if (options->dump_ops) {
    dump_operations(*options, *find_workload(options->workload), stdout);
    return kExitClean;
  }
  Session session(argc > 0 ? argv[0] : "hatstress", *options);
  return session.run();
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND

int main(int argc, char** argv) { return hatcheck::hatstress_main(argc, argv); }
