#include "platform/threads/nondeterminism.h"

#include <chrono>
#include <thread>

#include "platform/threads/cpu.h"
#include "platform/threads/random_stream.h"

namespace hatcheck::inline HATCHECK_BACKEND {

uint32_t choose(uint32_t n, Where where) {
  if (n == 0) panic("choose(0): there is nothing to choose from", where);
  // The upper half, scaled: the standard's distributions differ between libraries, and a seed has
  // to mean the same everywhere.
  const uint64_t random = Cpu::current().random().next() >> 32;
  return static_cast<uint32_t>((random * n) >> 32);
}

bool chance(uint32_t per_million, Where where) {
  constexpr uint32_t kMillion = 1'000'000;
  if (per_million == 0) return false;
  if (per_million >= kMillion) return true;
  return choose(kMillion, where) < per_million;
}

void delay(uint32_t ticks, Where) { std::this_thread::sleep_for(std::chrono::milliseconds(ticks)); }

void yield(Where) { std::this_thread::yield(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
