// Turns SIGSEGV and the like inside a scenario into findings: a hit in a guard page is a stack
// overflow, a write to a frozen page of the arena is none at all.
#ifndef HATCHECK_EXPLORER_CRASH_H_
#define HATCHECK_EXPLORER_CRASH_H_

#include <array>

#include "explorer/clock.h"
#include "explorer/fiber.h"

namespace explorer {

// Once per process; later calls do nothing. Signals that are not a scenario's go to whoever handled
// them before.
void install_crash_handler(const std::array<Fiber, kMaxThreads + 1>& stacks);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_CRASH_H_
