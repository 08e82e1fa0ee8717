// this_cpu.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_CPU_H_
#define HATCHECK_PLATFORM_CONFORMANCE_CPU_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class BodiesRunOnTheirCpu : public ConformanceScenario<3> {
 public:
  static constexpr const char* kName = "cpu/body_number_n_runs_on_cpu_n";
  static constexpr const char* kClaim = "this_cpu() is the index of the body, all the time";

  BodiesRunOnTheirCpu() { HAT_ASSERT(this_cpu() == 0); }

  void thread(int index) {
    HAT_ASSERT(this_cpu() == static_cast<CpuId>(index));
    yield();
    HAT_ASSERT(this_cpu() == static_cast<CpuId>(index));
  }
  void after() { HAT_ASSERT(this_cpu() == 0); }
};

using CpuScenarios = ScenarioList<BodiesRunOnTheirCpu>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_CPU_H_
