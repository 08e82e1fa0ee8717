#include "models/registry.h"

#include "models/engines/scenarios.h"
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<AnyScenario> all_scenarios() {
  std::vector<AnyScenario> all;
  for (const auto subject : {
           &hment_prepare_scenarios,
           &hment_steal_scenarios,
           &htable_scenarios,
           &attribute_scenarios,
           &load_scenarios,
           &device_scenarios,
           &unload_scenarios,
           &large_page_scenarios,
           &steal_scenarios,
           &exit_scenarios,
           &shootdown_scenarios,
           &refmod_scenarios,
           &share_scenarios,
           &share_range_scenarios,
           &memory_scenarios,
           &reserve_scenarios,
           &wakeup_scenarios,
           &page_scenarios,
           &vnode_scenarios,
           &segmap_slot_scenarios,
           &segmap_waiting_scenarios,
           &segmap_page_scenarios,
           &segmap_fault_scenarios,
           &segmap_release_scenarios,
           &segmap_creation_scenarios,
           &segmap_kpm_scenarios,
           &locks_scenarios,
       }) {
    const std::vector<AnyScenario> scenarios = subject();
    all.insert(all.end(), scenarios.begin(), scenarios.end());
  }
  return all;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
