// The result of a run as JSON: the same numbers as the tables, exact.
//
// Keys: program, verdict ("clean", "interrupted" or "violated"), seed, command, options (each flag
// with its value as text), facts, elapsed_s, operations, ops_per_s, ops[], hatstat{}, locks[],
// lock_edges[] (platform/lock_order.h), audits{}, paged_out; of a run that came to its end also
// machine{} and memory{}; of a violated one violation{}. Times of locks are nanoseconds.
#ifndef HATCHECK_STRESS_RESULT_JSON_H_
#define HATCHECK_STRESS_RESULT_JSON_H_

#include <optional>
#include <string>

#include "platform/verdict.h"
#include "stress/options.h"
#include "stress/report.h"
#include "stress/runner.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct Violation {
  Failure failure;
  std::string operation;
  std::string evidence;  // a folder, or empty
};

struct ResultForJson {
  const Options& options;  // resolved
  const Facts& facts;
  std::string command;
  const RunResult& result;
  std::optional<Violation> violation;
};

// Ends with a newline.
std::string result_json(const ResultForJson& r);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_RESULT_JSON_H_
