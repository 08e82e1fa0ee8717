// A scenario: a small concurrent program that every engine can run.
//
//   class InsertVsRemove : public ScenarioDefaults {
//    public:
//     static constexpr int kThreads = 2;
//     static constexpr const char* kName = "hat/insert_vs_remove";
//     static constexpr const char* kClaim = "a mapping is found exactly while it is inserted";
//     InsertVsRemove();         // set-up: builds a small system; no other thread runs
//     void thread(int index);   // the body of thread 0 .. kThreads-1, on the CPU of that number
//     void after();             // the final check; all threads have ended
//   };
//
// ScenarioDefaults gives the expectation "clean", bounds and an empty after(). An engine makes a
// new object for each execution, so everything that lives across threads is a member. Set-up,
// after() and the destructor run on CPU 0. A body uses the seam only: no std::thread, no clock,
// no randomness but choose(). A lock that a thread still holds at its end is a violation.
//
// Independent of the backend; how one runs a scenario is in its run.h.
#ifndef HATCHECK_PLATFORM_SCENARIO_H_
#define HATCHECK_PLATFORM_SCENARIO_H_

#include <concepts>
#include <cstdint>
#include <string>

#include "platform/verdict.h"

namespace hatcheck {

// What a scenario must end with: no violation, or a violation of one kind.
struct Expectation {
  Kind kind = Kind::kNone;

  static constexpr Expectation clean() { return Expectation{}; }
  static constexpr Expectation violated(Kind kind) { return Expectation{kind}; }
};

// Whether a report is what the scenario promised.
inline bool meets(const Expectation& expected, const Report& report) {
  const Kind found = report.verdict == Verdict::kViolated ? report.kind : Kind::kNone;
  return found == expected.kind;
}

// How far an engine goes by default. Flags of the runners override it.
struct Bounds {
  uint64_t iterations = 1000;  // real threads: repetitions
  uint64_t executions = 0;     // model engines: at most this many, 0 for all
  int preemptions = -1;        // model engines: at most this many per execution, -1 for any number
  uint64_t max_steps = 0;      // model engines: longest execution, 0 for the engine's default
  bool must_exhaust = false;   // model engines: a bounded result is a failing test
};

class ScenarioDefaults {
 public:
  static constexpr Expectation kExpected = Expectation::clean();
  static constexpr Bounds kBounds{};

  ScenarioDefaults() = default;
  ScenarioDefaults(const ScenarioDefaults&) = delete;
  ScenarioDefaults& operator=(const ScenarioDefaults&) = delete;

  void after() {}
};

template <class S>
concept Scenario = std::default_initializable<S> && requires(S s, int index) {
  { S::kThreads } -> std::convertible_to<int>;
  { S::kName } -> std::convertible_to<const char*>;
  { S::kClaim } -> std::convertible_to<const char*>;
  { S::kExpected } -> std::convertible_to<Expectation>;
  { S::kBounds } -> std::convertible_to<Bounds>;
  s.thread(index);
  s.after();
};

// A scenario with its type erased: what an engine needs to run it. create() builds one, and is
// called anew for each execution; destroy() ends it.
struct AnyScenario {
  const char* name;
  const char* claim;
  int threads;
  Expectation expected;
  Bounds bounds;
  void* (*create)();
  void (*thread)(void*, int);
  void (*after)(void*);
  void (*destroy)(void*);
};

template <Scenario S>
constexpr AnyScenario any_scenario() {
  return AnyScenario{
      .name = S::kName,
      .claim = S::kClaim,
      .threads = S::kThreads,
      .expected = S::kExpected,
      .bounds = S::kBounds,
      .create = []() -> void* { return new S(); },
      .thread = [](void* s, int index) { static_cast<S*>(s)->thread(index); },
      .after = [](void* s) { static_cast<S*>(s)->after(); },
      .destroy = [](void* s) { delete static_cast<S*>(s); },
  };
}

// A list of scenario types, for a suite that each engine runs.
template <class... S>
struct ScenarioList {
  // Calls f.template operator()<S>() for each.
  template <class F>
  static void for_each(F&& f) {
    (f.template operator()<S>(), ...);
  }
};

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_SCENARIO_H_
