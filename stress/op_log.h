// OpLog: the last operations of one thread, readable by any thread at any time.
//
// The owner appends; a failure handler on another thread may read while it does. Every field is an
// atomic, and an entry's number is 0 while the entry is being replaced, so a reader can tell that
// it has seen an entry whole: it reads the number, the fields, and the number again.
#ifndef HATCHECK_STRESS_OP_LOG_H_
#define HATCHECK_STRESS_OP_LOG_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "stress/ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class OpLog {
 public:
  static constexpr size_t kKept = 64;

  // What a reader gets. An operation that has not ended has no result.
  struct Entry {
    uint64_t number = 0;  // counts from 1
    Draw draw;
    bool ended = false;
    OpResult result = OpResult::kDone;
  };

  // Owner only.
  void begin(const Draw& draw);
  void end(OpResult result);

  // Any thread. Oldest first; entries that change meanwhile are left out.
  std::vector<Entry> entries() const;

 private:
  static constexpr uint8_t kRunning = 0xff;

  struct Slot {
    std::atomic<uint64_t> number{0};
    std::atomic<uint32_t> op{0};
    std::atomic<uint8_t> outcome{kRunning};
    std::array<std::atomic<uint64_t>, 4> r{};
  };

  uint64_t last_ = 0;  // the owner's
  std::array<Slot, kKept> slots_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_OP_LOG_H_
