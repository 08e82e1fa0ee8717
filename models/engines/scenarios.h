// The scenarios that engines are compared on.
#ifndef HATCHECK_MODELS_ENGINES_SCENARIOS_H_
#define HATCHECK_MODELS_ENGINES_SCENARIOS_H_

#include <vector>

#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<AnyScenario> locks_scenarios();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_ENGINES_SCENARIOS_H_
