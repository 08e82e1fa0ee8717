// All scenarios of models/, by subject, for the runners of every engine.
#ifndef HATCHECK_MODELS_REGISTRY_H_
#define HATCHECK_MODELS_REGISTRY_H_

#include <vector>

#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Sorted by subject; names are unique.
std::vector<AnyScenario> all_scenarios();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_REGISTRY_H_
