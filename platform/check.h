// panic and HAT_ASSERT: how code over the seam says that something is broken.
//
// Both are always on and never return. (One build exists to be timed and has HATCHECK_NO_ASSERT: in
// it HAT_ASSERT is nothing, as ASSERT is in a kernel without DEBUG.) The first failure of the
// process wins: it is handed to the failure handler once, and a thread that fails after it blocks
// for ever, so that the state the handler prints is not disturbed. When the handler returns, the
// process ends with exit code 1, without running destructors (abort() instead if HATCHECK_ABORT is
// in the environment, for a core dump).
//
// HAT_ASSERT(condition) or HAT_ASSERT(condition, message): the message is any expression that
// converts to std::string and is evaluated only when the condition is false. Where the condition
// is a documented invariant the message starts with "invariant N: ".
//
// Included by platform/platform.h; include that. Thread safety: all of it may be called from any
// thread, under any lock; a handler must not take locks of the seam.
#ifndef HATCHECK_PLATFORM_CHECK_H_
#define HATCHECK_PLATFORM_CHECK_H_

#ifndef HATCHECK_BACKEND
#error "include platform/platform.h, which selects the backend"
#endif

#include <functional>
#include <string>

#include "platform/verdict.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

using FailureHandler = std::function<void(const Failure&)>;

// Replaces the handler; an empty one restores the default, which prints describe() to stderr. To
// be called while no other thread can fail: at start-up, or between runs.
void set_failure_handler(FailureHandler handler);

// "hatcheck: <kind>: <message>\n  at <where>, cpu N\n" and the locks that the calling thread holds,
// one line each.
std::string describe(const Failure& failure);

// Reports a violation of any kind.
[[noreturn]] void fail(Kind kind, std::string message, Where where = Where::here());

[[noreturn]] void panic(std::string message, Where where = Where::here());

// Behind HAT_ASSERT.
[[noreturn]] void assertion_failed(const char* condition, Where where, std::string message = {});

}  // namespace hatcheck::inline HATCHECK_BACKEND

// An expression and no loop: clang's thread-safety analysis follows tryenter() through it.
#ifdef HATCHECK_NO_ASSERT
#define HATCHECK_HOLDS(condition) (true || static_cast<bool>(condition))  // compiled, never run
#else
#define HATCHECK_HOLDS(condition) (static_cast<bool>(condition))
#endif
#define HAT_ASSERT(condition, ...)                \
  (HATCHECK_HOLDS(condition)                      \
       ? static_cast<void>(0)                     \
       : ::hatcheck::assertion_failed(#condition, \
                                      ::hatcheck::Where::here() __VA_OPT__(, ) __VA_ARGS__))

#endif  // HATCHECK_PLATFORM_CHECK_H_
