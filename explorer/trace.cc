#include "explorer/trace.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace explorer {
namespace {

// The table in event.h, written down a second time.
bool only_reads_first(const Event& e) {
  switch (e.label.op) {
    case Op::kLoad:
    case Op::kReadEnter:
    case Op::kTryRead:
    case Op::kReadExit:
      return true;
    case Op::kTryLock:
      return e.outcome == Event::kFailed;
    default:
      return false;
  }
}

bool depends(const Event& a, const Event& b) {
  if (a.label.thread == b.label.thread) return true;
  if (a.label.op == Op::kYield || b.label.op == Op::kYield) return true;
  // A wake-up.
  if (b.label.op == Op::kReacquire && a.label.op == Op::kSignal && a.mask != 0 &&
      a.label.choice == b.label.thread) {
    return true;
  }
  if (b.label.op == Op::kReacquire && a.label.op == Op::kBroadcast &&
      (a.mask >> b.label.thread & 1) != 0) {
    return true;
  }
  const uint32_t objects_a[] = {a.label.object, a.label.object2};
  const uint32_t objects_b[] = {b.label.object, b.label.object2};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      if (objects_a[i] == 0 || objects_a[i] != objects_b[j]) continue;
      // The second object is the condition variable of a wait, which reads it.
      const bool reads_a = i == 1 || only_reads_first(a);
      const bool reads_b = j == 1 || only_reads_first(b);
      if (!reads_a || !reads_b) return true;
    }
  }
  return false;
}

void mix(uint64_t& hash, uint64_t word, uint64_t factor) {
  hash = (hash ^ word) * factor;
  hash ^= hash >> 29;
}

}  // namespace

TraceDigest trace_of(const Engine& engine) {
  const int steps = engine.steps();
  // For each step, how many steps of each thread come before it in the trace.
  std::vector<Clock> before(steps);
  std::array<TraceDigest, kMaxThreads> threads{};
  std::array<int16_t, kMaxThreads> made{};
  for (int i = 0; i < steps; ++i) {
    const Event& e = engine.event(i);
    for (int j = 0; j < i; ++j) {
      if (depends(engine.event(j), e)) before[i].join(before[j]);
    }
    const int thread = e.label.thread;
    before[i].set(thread, ++made[thread]);
    uint64_t words[3] = {};
    std::memcpy(words, &before[i], sizeof(Clock));
    words[2] = uint64_t{e.label.object} << 32 | uint64_t{e.label.choice} << 16 |
               static_cast<uint64_t>(e.label.op) << 8 | e.outcome;
    for (const uint64_t word : words) {
      mix(threads[thread].first, word, 0x9e3779b97f4a7c15u);
      mix(threads[thread].second, word, 0xd6e8feb86659fd93u);
    }
  }
  TraceDigest all{};
  for (const auto& [first, second] : threads) {
    mix(all.first, first, 0x9e3779b97f4a7c15u);
    mix(all.second, second, 0xd6e8feb86659fd93u);
  }
  return all;
}

}  // namespace explorer
