// Everything that a run does not decide by itself: choices, chance and the passage of time.
//
// On real threads choices come from the calling thread's random stream, which CpuBinding seeds, so
// the same seed repeats each thread's own sequence (not the interleaving). The model engines
// explore every choice instead.
//
// Thread safety: any thread; each has its own stream.
#ifndef HATCHECK_PLATFORM_THREADS_NONDETERMINISM_H_
#define HATCHECK_PLATFORM_THREADS_NONDETERMINISM_H_

#include <cstdint>

#include "platform/threads/backend.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One of 0 .. n-1. Precondition: n > 0.
uint32_t choose(uint32_t n, Where where = Where::here());

// True in about `per_million` of a million calls; 0 is never and 1,000,000 or more is always. A
// model engine explores both answers for anything in between.
bool chance(uint32_t per_million, Where where = Where::here());

// Lets about `ticks` milliseconds pass. On a model engine: lets another thread progress first.
void delay(uint32_t ticks = 1, Where where = Where::here());

// Lets another thread run, if one can. To be called in every loop that waits for another thread.
void yield(Where where = Where::here());

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_NONDETERMINISM_H_
