// Part: a share of a search, chosen so that several parts together are the whole and no two share
// an execution.
//
// A limit fixes for one object who makes its first steps: turn by turn a set of threads, of which
// one must come next. Steps count that are ordered in every execution of a trace: acquisitions of a
// mutex, writes to an atomic. So all executions of a trace are on the same side of a limit, and a
// thread whose turn it is not simply waits, as for a lock. parts_of() splits every turn between
// the threads, each of which goes into exactly one part.
//
// An execution that ends before all turns are taken belongs to the part that would have had
// thread 0 take all of the rest.
//
// Thread safety: plain data.
#ifndef HATCHECK_EXPLORER_PART_H_
#define HATCHECK_EXPLORER_PART_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "explorer/clock.h"
#include "explorer/engine.h"
#include "explorer/event.h"

namespace explorer {

struct Limit {
  uint32_t object = 0;
  std::vector<uint8_t> turns;  // threads, as bits

  // Who may take the turn after so many, as bits.
  uint8_t allowed(size_t taken) const { return taken < turns.size() ? turns[taken] : 0xff; }
  // Whether nobody but thread 0 is needed for the turns from here on.
  bool ends_here(size_t taken) const;
};

struct Part {
  std::vector<Limit> limits;  // at most kMaxLimits; none: the whole search
};

// Whether the step takes a turn at its object.
inline bool takes_turn(const Label& label, uint8_t outcome) {
  switch (label.op) {
    case Op::kLock:
    case Op::kReacquire:
    case Op::kStore:
    case Op::kRmw:
    case Op::kCas:
      return true;
    case Op::kTryLock:
      return outcome == Event::kDone;
    default:
      return false;
  }
}

// How many turns each thread takes at each object, in one execution.
using Turns = std::map<uint32_t, std::array<int, kMaxThreads>>;

// At least `count` parts, if the turns allow; the same for the same arguments. The object whose
// turns can be taken in the most orders is divided first.
std::vector<Part> parts_of(const Turns& turns, int threads, size_t count);

// Objects that could be divided first, the one with the most orders in front.
std::vector<uint32_t> fought_over(const Turns& turns);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_PART_H_
