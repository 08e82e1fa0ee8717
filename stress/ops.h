// The operation table: everything a stress thread can do, one row each.
//
// A row is a name and a function. Which operation a thread does next, and with which parameters,
// comes from its own random stream alone (Draw), never from the outcome of an earlier operation: a
// seed therefore fixes each thread's sequence, whatever the interleaving.
#ifndef HATCHECK_STRESS_OPS_H_
#define HATCHECK_STRESS_OPS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class World;
struct Worker;

// What one operation is given: its row and four random words to pick objects and variants with.
struct Draw {
  uint32_t op;
  std::array<uint64_t, 4> r;
};

// How an operation ended, for the counters.
enum class OpResult { kDone, kNothingToDo, kRetry };

struct OpRow {
  const char* name;
  const char* what;  // one line for --list
  OpResult (*run)(World&, Worker&, const Draw&);
};

// All rows; a Draw's op indexes it.
absl::Span<const OpRow> op_table();
// Index of a row by name; panics if there is none (workload tables are checked by a test).
uint32_t op_index(const char* name);

struct WeightedOp {
  const char* name;
  uint32_t weight;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_OPS_H_
