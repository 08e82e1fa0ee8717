// The scenarios of segmap, a function per subject (one file each).
#ifndef HATCHECK_MODELS_SEGMAP_SCENARIOS_H_
#define HATCHECK_MODELS_SEGMAP_SCENARIOS_H_

#include <vector>

#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<AnyScenario> segmap_slot_scenarios();
std::vector<AnyScenario> segmap_waiting_scenarios();
std::vector<AnyScenario> segmap_page_scenarios();
std::vector<AnyScenario> segmap_fault_scenarios();
std::vector<AnyScenario> segmap_kpm_scenarios();
std::vector<AnyScenario> segmap_release_scenarios();
std::vector<AnyScenario> segmap_creation_scenarios();
std::vector<AnyScenario> vnode_scenarios();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_SEGMAP_SCENARIOS_H_
