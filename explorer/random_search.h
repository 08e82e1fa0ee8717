// What the tests that search random programs have in common.
#ifndef HATCHECK_EXPLORER_RANDOM_SEARCH_H_
#define HATCHECK_EXPLORER_RANDOM_SEARCH_H_

#include <cstdint>

#include "explorer/random_program.h"
#include "explorer/search.h"

namespace explorer {

// Every third program has spin loops, every fourth yields, every fifth plain variables.
RandomProgramOptions random_mix(uint64_t seed,
                                double interleavings = RandomProgramOptions{}.interleavings);

// Short executions, and the spurious wake-ups that the program asks for. Findings end executions;
// a lock order that none of them fails by is none.
Options search_options(const RandomProgram& program, Method method);

// Whether the execution's finding ended it while other threads could still go on: how far those
// have come differs between executions of one trace.
bool ends_early(const Engine& engine);

int number_from_environment(const char* name, int otherwise);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_RANDOM_SEARCH_H_
