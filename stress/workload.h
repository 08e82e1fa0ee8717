// A workload: the weights of the operation table, the sizes of the system, and the world to build.
#ifndef HATCHECK_STRESS_WORKLOAD_H_
#define HATCHECK_STRESS_WORKLOAD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "stress/ops.h"
#include "stress/options.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class World;

struct Workload {
  const char* name;
  const char* what;  // one line for --list
  std::vector<WeightedOp> weights;
  uint32_t default_hats;
  uint64_t default_pages;
  double default_fail_rate = 0;
  double default_steal_rate = 0;
  int64_t default_reserve = 200;
};

// All workloads: maps, mix, share, churn, shootdown, pressure, segmap.
const std::vector<Workload>& workloads();
const Workload* find_workload(const std::string& name);

// The part of the options that is the segmap workload's.
struct SegmapSetup;
SegmapSetup segmap_setup(const Options& options);

// The system configuration that options and workload ask for.
SystemConfig system_config(const Options& options, const Workload& workload);

// Builds the world. Fails only for bad input (an unreadable maps folder, a malformed maps line: the
// message names file and line).
absl::StatusOr<std::unique_ptr<World>> build_world(const Options& options, const Workload& workload,
                                                   System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_WORKLOAD_H_
