// Relacy's own full search on the programs of programs.h: without the seam, with Relacy's mutex and
// scheduler.
//
//   relacy_itself PROGRAM MILLISECONDS
//
// One line of JSON, with the words of the scenario runners. No further execution is started after
// so many milliseconds. Exit codes: 0, also if that ended it; 2 bad usage.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "models/cpu_time.h"
#include "models/engines/programs.h"
#include "platform/nearest.h"
#include "platform/verdict.h"
// Brings Relacy in.
#include "platform/relacy/own_search.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

struct Row {
  const char* name;
  Report (*search)(std::chrono::milliseconds);
};

constexpr Row kRows[] = {
    {"locks/two_threads_six_locks", &own::full_search<LocksInTurn<own::Mutex, 2, 6, 1>>},
    {"locks/two_threads_ten_locks", &own::full_search<LocksInTurn<own::Mutex, 2, 10, 1>>},
    {"locks/three_threads_one_lock_four_times",
     &own::full_search<LocksInTurn<own::Mutex, 3, 1, 4>>},
    {"locks/four_threads_one_lock_three_times",
     &own::full_search<LocksInTurn<own::Mutex, 4, 1, 3>>},
    {"locks/three_threads_hand_over_hand", &own::full_search<HandOverHand<own::Mutex, 3>>},
};

int usage_error(const std::string& message) {
  std::fprintf(stderr, "relacy_itself: %s\n", message.c_str());
  return kExitUsage;
}

int main_with(const std::vector<std::string>& args) {
  if (args.size() != 2) return usage_error("expected a program and a number of milliseconds");
  char* end = nullptr;
  const long long milliseconds = std::strtoll(args[1].c_str(), &end, 10);
  if (end == args[1].c_str() || *end != '\0' || milliseconds <= 0) {
    return usage_error("'" + args[1] + "': expected a number of milliseconds, such as 1000");
  }
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    names.emplace_back(row.name);
    if (args[0] != row.name) continue;
    const double cpu = cpu_seconds();
    const Report report = row.search(std::chrono::milliseconds(milliseconds));
    std::printf(
        "{\"scenario\": \"%s\", \"engine\": \"relacy itself\", \"search\": \"full\", "
        "\"verdict\": \"%s\", \"executions\": %llu, \"seconds\": %.9f, "
        "\"cpu_seconds\": %.9f}\n",
        row.name, verdict_line(report).c_str(), static_cast<unsigned long long>(report.iterations),
        report.seconds, cpu_seconds() - cpu);
    return kExitClean;
  }
  return usage_error(unknown_choice("program", args[0], names));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND

int main(int argc, char** argv) {
  return hatcheck::main_with(std::vector<std::string>(argv + 1, argv + argc));
}
