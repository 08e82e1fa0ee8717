// Turns SIGSEGV and the like inside a scenario into findings: a hit in a guard page is a stack
// overflow, a write to a frozen page of the arena is none at all. So is a loop without a step,
// which the bound on steps does not end: in set-up, in finish(), or between two steps of a thread.
#ifndef HATCHECK_EXPLORER_CRASH_H_
#define HATCHECK_EXPLORER_CRASH_H_

#include <array>

#include "explorer/clock.h"
#include "explorer/fiber.h"

namespace explorer {

// Once per process; later calls do nothing. Signals that are not a scenario's go to whoever handled
// them before.
void install_crash_handler(const std::array<Fiber, kMaxThreads + 1>& stacks);

// Seconds of processor time without a step that are a livelock.
inline constexpr int kLongestStep = 2;

// Starts the clock for that in this process: a fork has to call it again. Later calls do nothing.
void watch_for_hangs();

// An execution begins, which the clock takes for a step.
void note_execution();

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_CRASH_H_
