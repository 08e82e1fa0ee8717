// The scenarios of the HAT, a function per subject (one file each).
#ifndef HATCHECK_MODELS_HAT_SCENARIOS_H_
#define HATCHECK_MODELS_HAT_SCENARIOS_H_

#include <vector>

#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<AnyScenario> hment_prepare_scenarios();
std::vector<AnyScenario> hment_steal_scenarios();
std::vector<AnyScenario> htable_scenarios();
std::vector<AnyScenario> attribute_scenarios();
std::vector<AnyScenario> load_scenarios();
std::vector<AnyScenario> device_scenarios();
std::vector<AnyScenario> unload_scenarios();
std::vector<AnyScenario> steal_scenarios();
std::vector<AnyScenario> exit_scenarios();
std::vector<AnyScenario> shootdown_scenarios();
std::vector<AnyScenario> refmod_scenarios();
std::vector<AnyScenario> share_scenarios();
std::vector<AnyScenario> share_range_scenarios();
std::vector<AnyScenario> memory_scenarios();
std::vector<AnyScenario> reserve_scenarios();
std::vector<AnyScenario> page_scenarios();
std::vector<AnyScenario> large_page_scenarios();
std::vector<AnyScenario> wakeup_scenarios();

// The list of a subject's scenarios, from their types.
template <class... S>
std::vector<AnyScenario> scenario_list() {
  return {any_scenario<S>()...};
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_HAT_SCENARIOS_H_
