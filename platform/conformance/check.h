// panic, HAT_ASSERT and the place of a report.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_CHECK_H_
#define HATCHECK_PLATFORM_CONFORMANCE_CHECK_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class TrueAssertion : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "check/a_true_assertion_does_not_evaluate_its_message";
  static constexpr const char* kClaim =
      "the message of HAT_ASSERT is evaluated only when the condition is false";

  void thread(int) {
    HAT_ASSERT(true);
    HAT_ASSERT(true, message());
    HAT_ASSERT(evaluated_() == 0);
  }

 private:
  std::string message() {
    evaluated_ = evaluated_() + 1;
    return "";
  }
  Guarded<int> evaluated_{0};
};

class Panic : public ViolatedScenario<1, Kind::kPanic> {
 public:
  static constexpr const char* kName = "check/panic_is_reported_with_its_message";
  static constexpr const char* kClaim = "panic ends the run with its message";
  static constexpr const char* kSays = "the sky 1";

  void thread(int) { panic("the sky " + std::to_string(1)); }
};

class FalseAssertion : public ViolatedScenario<1, Kind::kAssertion> {
 public:
  static constexpr const char* kName = "check/a_false_assertion_is_reported_with_its_condition";
  static constexpr const char* kClaim = "a report of an assertion shows the condition";
  static constexpr const char* kSays = "index == 5";

  void thread(int index) { HAT_ASSERT(index == 5); }
};

class FalseInvariant : public ViolatedScenario<1, Kind::kAssertion> {
 public:
  static constexpr const char* kName = "check/a_false_assertion_is_reported_with_its_message";
  static constexpr const char* kClaim = "a report of an assertion shows the message";
  static constexpr const char* kSays = "invariant 3: index is 0";

  void thread(int index) {
    HAT_ASSERT(index == 5, "invariant 3: index is " + std::to_string(index));
  }
};

class CallSite : public ViolatedScenario<1, Kind::kRecursion> {
 public:
  static constexpr const char* kName = "check/a_report_names_the_line_that_called";
  static constexpr const char* kClaim = "the place in a report is the caller of the operation";
  static constexpr const char* kSays = "(call_the_operation)";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.enter();
    call_the_operation();
  }

 private:
  void call_the_operation() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex_.enter(); }
  Mutex mutex_{kOuter};
};

using CheckScenarios = ScenarioList<TrueAssertion, Panic, FalseAssertion, FalseInvariant, CallSite>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_CHECK_H_
