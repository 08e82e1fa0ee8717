// Runs the conformance suite on the threads backend, plain and observed. Each scenario is a
// GoogleTest of its own, in a process of its own: "mutex/held_is_..." is Mutex.HeldIs...
#include <gtest/gtest.h>

#include <cctype>
#include <string>

#include "platform/conformance/all.h"

#ifdef HATCHECK_WITH_TSAN
// Otherwise every child that fails on purpose waits a second for further reports.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }
#endif

namespace hatcheck::inline HATCHECK_BACKEND::conformance {
namespace {

std::string camel_case(const std::string& words) {
  std::string name;
  bool upper = true;
  for (const char c : words) {
    if (c == '_') {
      upper = true;
      continue;
    }
    name += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  return name;
}

// ThreadSanitizer reports two lock orders, before they become a deadlock, in its own words.
bool found_earlier(Kind expected, Kind found) {
  return kTsan && (expected == Kind::kDeadlock || expected == Kind::kLockOrder) &&
         found == Kind::kCircularLocking;
}

template <Scenario S>
class ConformanceTest : public testing::Test {
 public:
  void TestBody() override {
    constexpr Expectation kExpected = S::kExpected;
    if (!engine_finds(kExpected.kind)) {
      GTEST_SKIP() << "this build does not look for: " << phrase(kExpected.kind);
    }
    RunOptions options;
    options.time = std::chrono::milliseconds(500);  // on a busy machine
    const Report report = run_isolated<S>(options);
    if (found_earlier(kExpected.kind, report.kind)) return;
    EXPECT_TRUE(meets(kExpected, report))
        << "claim: " << S::kClaim << "\nexpected: " << phrase(kExpected.kind)
        << "\ngot: " << verdict_line(report) << "\n"
        << report.message;
    if constexpr (requires { S::kSays; }) {
      EXPECT_NE(report.message.find(S::kSays), std::string::npos)
          << "expected to read '" << S::kSays << "' in:\n"
          << report.message;
    }
  }
};

struct Register {
  template <Scenario S>
  void operator()() const {
    const std::string name = S::kName;
    const size_t slash = name.find('/');
    testing::RegisterTest(camel_case(name.substr(0, slash)).c_str(),
                          camel_case(name.substr(slash + 1)).c_str(), nullptr, S::kClaim, __FILE__,
                          __LINE__, []() -> testing::Test* { return new ConformanceTest<S>; });
  }
};

const bool registered = [] {
  for_each_scenario(Register{});
  return true;
}();

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance
