// What an execution can be guilty of.
#ifndef HATCHECK_EXPLORER_FINDING_H_
#define HATCHECK_EXPLORER_FINDING_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "explorer/site.h"

namespace explorer {

enum class Kind : uint8_t {
  kNone,
  kDataRace,
  kDeadlock,
  kLostWakeup,
  kCircularLocking,
  kLockOrder,
  kUseAfterFree,
  kDoubleFree,
  kLeak,
  kRecursion,
  kUnlockByNonOwner,
  kDestroyWhileHeld,
  kHeldAtThreadEnd,
  kUninitialisedRead,
  kLivelock,
  kAssertion,
  kPanic,
  kException,
  kStackOverflow,
  kCrash,
  kNondeterminism,
  kInternalError,
};
inline constexpr int kKinds = static_cast<int>(Kind::kInternalError) + 1;

std::string_view phrase(Kind kind);

struct Finding {
  Kind kind = Kind::kNone;
  std::string message;
  Site site;
  int thread = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_FINDING_H_
