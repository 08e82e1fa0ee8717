// Event: one visible step of an execution, and the dependence between steps.
//
// Steps are what the search orders: operations on locks, condition variables and atomics, choices,
// and yields that wait for others. Each step reads or writes up to two objects, where "reads" means
// that two such steps commute:
//
//   object            reads                                   writes
//   atomic            load                                    everything else, a failed CAS too
//   mutex             a tryenter that fails                   every acquisition and release
//   rwlock            a reader's enter, tryenter and exit     everything else
//   condition var.    wait                                    signal, broadcast
//
// Steps of different threads depend on each other if they share an object and one of them writes,
// or if one is a yield. A wake-up orders the signal before the sleeper's next step. Everything else
// commutes; executions that differ in commuting steps only are one trace.
#ifndef HATCHECK_EXPLORER_EVENT_H_
#define HATCHECK_EXPLORER_EVENT_H_

#include <cstdint>

#include "explorer/clock.h"

namespace explorer {

enum class Op : uint8_t {
  kNone,
  kLock,
  kTryLock,
  kUnlock,
  kReacquire,  // the mutex, on return from a wait
  kWait,       // releases the mutex and sleeps
  kSignal,
  kBroadcast,
  kReadEnter,
  kWriteEnter,    // enters a free lock, otherwise announces that a writer waits
  kWriteAcquire,  // the waiting writer gets in
  kTryRead,
  kTryWrite,
  kTryUpgrade,
  kDowngrade,
  kReadExit,
  kWriteExit,
  kLoad,
  kStore,
  kRmw,
  kCas,
  kChoose,
  kYield,
};

const char* name_of(Op op);

// What a step is, as far as dependence goes.
struct Label {
  static constexpr uint8_t kWrites = 1;        // object
  static constexpr uint8_t kWritesSecond = 2;  // object2

  uint32_t object = 0;  // identities, 0 for none
  uint32_t object2 = 0;
  uint8_t thread = 0;
  Op op = Op::kNone;
  uint8_t access = 0;
  uint16_t choice = 0;  // what was chosen, for steps that have a choice

  friend bool same_step(const Label& a, const Label& b) {
    return a.thread == b.thread && a.op == b.op && a.object == b.object && a.choice == b.choice;
  }
};

// For steps of different threads.
inline bool dependent(const Label& a, const Label& b) {
  if (a.op == Op::kYield || b.op == Op::kYield) return true;
  const bool w1 = (a.access & Label::kWrites) != 0;
  const bool w2 = (a.access & Label::kWritesSecond) != 0;
  const bool v1 = (b.access & Label::kWrites) != 0;
  const bool v2 = (b.access & Label::kWritesSecond) != 0;
  return (a.object != 0 &&
          ((a.object == b.object && (w1 || v1)) || (a.object == b.object2 && (w1 || v2)))) ||
         (a.object2 != 0 &&
          ((a.object2 == b.object && (w2 || v1)) || (a.object2 == b.object2 && (w2 || v2))));
}

struct Event {
  // Results that matter to others.
  enum Outcome : uint8_t { kFailed, kDone, kAnnounced };

  Label label;
  Clock clock;            // of this step, itself included
  Clock base;             // what the thread knew before it
  int32_t previous = -1;  // the step before this one on object, and on object2
  int32_t previous2 = -1;
  int16_t time = 0;      // which step of its thread it is, from 1
  uint16_t choices = 0;  // how many there were, 0 or 1 if there was none to make
  uint8_t outcome = kDone;
  uint8_t mask = 0;    // kSignal, kBroadcast: who slept
  bool retry = false;  // could only be taken because something had changed

  bool before(const Clock& later) const { return later[label.thread] >= time; }
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_EVENT_H_
