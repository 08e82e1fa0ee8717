#include "stress/op_log.h"

#include <algorithm>

namespace hatcheck::inline HATCHECK_BACKEND {

void OpLog::begin(const Draw& draw) {
  ++last_;
  Slot& slot = slots_[last_ % kKept];
  // Release on the fields keeps them behind the 0: who reads one of them, then finds the 0 or the
  // new number, and not the old one.
  slot.number.store(0, std::memory_order_relaxed);
  slot.op.store(draw.op, std::memory_order_release);
  slot.outcome.store(kRunning, std::memory_order_release);
  for (size_t i = 0; i < draw.r.size(); ++i) slot.r[i].store(draw.r[i], std::memory_order_release);
  slot.number.store(last_, std::memory_order_release);
}

void OpLog::end(OpResult result) {
  slots_[last_ % kKept].outcome.store(static_cast<uint8_t>(result), std::memory_order_release);
}

std::vector<OpLog::Entry> OpLog::entries() const {
  std::vector<Entry> found;
  for (const Slot& slot : slots_) {
    Entry entry;
    entry.number = slot.number.load(std::memory_order_acquire);
    if (entry.number == 0) continue;
    entry.draw.op = slot.op.load(std::memory_order_acquire);
    for (size_t i = 0; i < slot.r.size(); ++i) {
      entry.draw.r[i] = slot.r[i].load(std::memory_order_acquire);
    }
    const uint8_t outcome = slot.outcome.load(std::memory_order_acquire);
    if (slot.number.load(std::memory_order_relaxed) != entry.number) continue;
    entry.ended = outcome != kRunning;
    if (entry.ended) entry.result = static_cast<OpResult>(outcome);
    found.push_back(entry);
  }
  std::sort(found.begin(), found.end(),
            [](const Entry& a, const Entry& b) { return a.number < b.number; });
  return found;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
