// What an engine can say about a run: verdict, kind of violation, report, exit code.
//
// The verdict words are `exhausted`, `bounded (by ...)` and `violated (kind)`, never one word for
// two of them: a search that hit a limit must not read like one that finished. The kinds use the
// phrases people search logs for. Plain data, independent of the backend, no locking.
#ifndef HATCHECK_PLATFORM_VERDICT_H_
#define HATCHECK_PLATFORM_VERDICT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/lock_order.h"
#include "platform/where.h"

namespace hatcheck {

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
  kNoProgress,
  kAssertion,
  kPanic,
  kException,
  kCrash,
  kNondeterminism,
  kInternalError,
};
inline constexpr int kKinds = static_cast<int>(Kind::kInternalError) + 1;

// The phrase that reports print for a kind.
constexpr std::string_view phrase(Kind kind) {
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
    case Kind::kNoProgress:
      return "no progress";
    case Kind::kAssertion:
      return "assertion";
    case Kind::kPanic:
      return "panic";
    case Kind::kException:
      return "exception";
    case Kind::kCrash:
      return "crash";
    case Kind::kNondeterminism:
      return "nondeterministic scenario";
    case Kind::kInternalError:
      return "internal error";
  }
  return "?";
}

// The kind a phrase stands for, or nothing.
constexpr std::optional<Kind> kind_of(std::string_view text) {
  for (int i = 0; i < kKinds; ++i) {
    if (phrase(static_cast<Kind>(i)) == text) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

enum class Verdict : uint8_t { kExhausted, kBounded, kViolated };

enum ExitCode : int {
  kExitClean = 0,     // exhausted and clean, or a clean stress run
  kExitViolated = 1,  // a violation was found
  kExitUsage = 2,     // bad flags or input
  kExitBounded = 3,   // clean as far as it went, but bounded or cut short
  kExitInternal = 4,  // an error of the harness, or a nondeterministic scenario
};

// One violation, as the failing CPU saw it.
struct Failure {
  Kind kind = Kind::kNone;
  std::string message;
  Where where;
  CpuId cpu = 0;
};

// The outcome of running one scenario on one engine.
struct Report {
  Verdict verdict = Verdict::kBounded;
  Kind kind = Kind::kNone;  // of the violation; kNone unless the verdict is kViolated
  std::string bounded_by;   // of the bound; empty unless the verdict is kBounded
  std::string message;      // what happened, for a person
  uint64_t iterations = 0;  // executions finished
  std::string replay;       // model engines: what --replay takes to see a violation again
  double seconds = 0;       // model engines: of the search, without what the report takes
  // Of the schedule in `replay`, where the engine simplifies it; no schedule with less leads there
  // if `fewest`.
  int preemptions = -1;
  bool fewest = false;
  int steps = 0;
  std::string page;        // the violation as HTML, if asked for and the engine has kPages
  uint64_t cut_short = 0;  // executions left because they led to nothing new
  uint64_t events = 0;     // steps of all executions; 0 if the engine does not count them
  uint64_t longest = 0;    // steps of the longest one
  std::string covered;     // which part of the search this was; empty if it was the whole
  std::string usage;       // the options ask for what cannot be done: nothing was run
  std::vector<LockEdge> lock_edges;  // model engines: of all executions, see lock_order.h
};

// "exhausted", "bounded (by 1000 iterations)" or "violated (deadlock)".
inline std::string verdict_line(const Report& report) {
  switch (report.verdict) {
    case Verdict::kExhausted:
      return "exhausted";
    case Verdict::kBounded:
      return "bounded (by " + report.bounded_by + ")";
    case Verdict::kViolated:
      return "violated (" + std::string(phrase(report.kind)) + ")";
  }
  return "?";
}

inline ExitCode exit_code(const Report& report) {
  if (!report.usage.empty()) return kExitUsage;
  switch (report.verdict) {
    case Verdict::kExhausted:
      return kExitClean;
    case Verdict::kBounded:
      return kExitBounded;
    case Verdict::kViolated:
      return report.kind == Kind::kInternalError || report.kind == Kind::kNondeterminism
                 ? kExitInternal
                 : kExitViolated;
  }
  return kExitInternal;
}

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_VERDICT_H_
