#include "explorer/finding.h"

namespace explorer {

std::string_view phrase(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kDataRace:
      return "data race";
    case Kind::kDeadlock:
      return "deadlock";
    case Kind::kLostWakeup:
      return "lost wake-up";
    case Kind::kCircularLocking:
      return "possible circular locking dependency";
    case Kind::kLockOrder:
      return "lock order";
    case Kind::kUseAfterFree:
      return "use after free";
    case Kind::kDoubleFree:
      return "double free";
    case Kind::kLeak:
      return "leak";
    case Kind::kRecursion:
      return "recursion on a mutex";
    case Kind::kUnlockByNonOwner:
      return "unlock by a non-owner";
    case Kind::kDestroyWhileHeld:
      return "lock destroyed while held";
    case Kind::kHeldAtThreadEnd:
      return "lock held at thread end";
    case Kind::kUninitialisedRead:
      return "uninitialised read";
    case Kind::kLivelock:
      return "livelock";
    case Kind::kAssertion:
      return "assertion";
    case Kind::kPanic:
      return "panic";
    case Kind::kException:
      return "exception";
    case Kind::kStackOverflow:
      return "stack overflow";
    case Kind::kCrash:
      return "crash";
    case Kind::kNondeterminism:
      return "nondeterministic scenario";
    case Kind::kInternalError:
      return "internal error";
  }
  return "?";
}

}  // namespace explorer
