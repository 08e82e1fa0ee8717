// What hatstress prints for people: the first lines, the live line, the final tables, the verdict.
#ifndef HATCHECK_STRESS_REPORT_H_
#define HATCHECK_STRESS_REPORT_H_

#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "hat/system.h"
#include "platform/verdict.h"
#include "stress/options.h"
#include "stress/runner.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The options with every number filled in that was left to the workload.
Options resolved(const Options& options, const SystemConfig& config, const World& world);

// Sizes and designs, as (name, value) pairs in the order of printing.
using Facts = std::vector<std::pair<std::string, std::string>>;
Facts system_facts(const Options& resolved, const SystemConfig& config, const World& world);

// Program, seed, all options, facts: what is needed to repeat the run, before anything can go
// wrong.
std::string header(const Options& resolved, const Facts& facts);

// Tables of operations, HAT statistics, locks, machine, memory and audits.
std::string result_tables(const RunResult& result);

// "clean: 12.3 M operations in 60 s, 12 audits, no violation (seed 42)"
std::string verdict_line(const RunResult& result, uint64_t seed);

// The block that a violation prints. `operation` is what the failing CPU was doing; `cpus` who
// holds and waits for what, or empty; `evidence` a folder, or empty; `rerun` a command.
std::string violation_block(const Failure& failure, const std::string& operation,
                            const std::string& cpus, const std::string& evidence,
                            const std::string& rerun);

// One line on a terminal that is written over and over. Thread safe; silent where there is no
// terminal.
class LiveLine {
 public:
  explicit LiveLine(std::FILE* terminal);

  void show(const Progress& progress);
  // Takes the line away, for good.
  void close();

 private:
  double rate(const Progress& progress);

  std::FILE* const out_;
  const bool active_;
  std::mutex mutex_;
  bool closed_ = false;
  std::deque<std::pair<absl::Duration, uint64_t>> recent_;  // time and operations, for the rate
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_REPORT_H_
