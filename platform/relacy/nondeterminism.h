// choose, chance, delay and yield on the relacy backend: every answer is explored.
//
// yield() and delay() mean "there is nothing to do until somebody else got on": the thread goes on
// once something that it read since its last yield has been changed by another thread, or when
// nobody else can go on. A thread that yields again and again although nothing can change is a
// "livelock".
#ifndef HATCHECK_PLATFORM_RELACY_NONDETERMINISM_H_
#define HATCHECK_PLATFORM_RELACY_NONDETERMINISM_H_

#include <cstdint>

#include "platform/relacy/backend.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One of 0 .. n-1. Precondition: n > 0.
uint32_t choose(uint32_t n, Where where = Where::here());

// Both answers for anything between 0 (never) and 1,000,000 or more (always).
bool chance(uint32_t per_million, Where where = Where::here());

void delay(uint32_t ticks = 1, Where where = Where::here());
void yield(Where where = Where::here());

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_NONDETERMINISM_H_
