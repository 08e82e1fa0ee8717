// The trace of an execution, written down without the engine's clocks: for comparing searches.
#ifndef HATCHECK_EXPLORER_TRACE_H_
#define HATCHECK_EXPLORER_TRACE_H_

#include <cstdint>
#include <utility>

#include "explorer/engine.h"

namespace explorer {

// A digest of 128 bits. Two executions have the same one if and only if (but for chance) they are
// the same trace: every thread makes the same steps, and dependent steps come in the same order.
using TraceDigest = std::pair<uint64_t, uint64_t>;
TraceDigest trace_of(const Engine& engine);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_TRACE_H_
