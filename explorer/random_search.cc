#include "explorer/random_search.h"

#include <cstdlib>

namespace explorer {

RandomProgramOptions random_mix(uint64_t seed, double interleavings) {
  RandomProgramOptions options;
  options.seed = seed;
  options.interleavings = interleavings;
  options.spins = seed % 3 == 0;
  options.yields = seed % 4 == 0;
  options.plain = seed % 5 == 0;
  return options;
}

Options search_options(const RandomProgram& program, Method method) {
  Options options;
  options.method = method;
  options.engine.spurious_wakeups = program.spurious_wakeups();
  options.engine.max_steps = 400;
  options.engine.check_lock_order = false;
  return options;
}

bool ends_early(const Engine& engine) {
  if (!engine.found()) return false;
  const Kind kind = engine.finding().kind;
  if (kind == Kind::kLostWakeup || kind == Kind::kLivelock) return false;
  return kind != Kind::kDeadlock || engine.enabled_mask() != 0;
}

int number_from_environment(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace explorer
