// Crashes become reports. Each test crashes a child process.
#include "stress/signals.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace hatcheck {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitizerReportsFirst = true;
#else
constexpr bool kSanitizerReportsFirst = false;
#endif

constexpr char kLastWords[] = "last words\n";

CrashReporter::Witness on_cpu_3() { return {.cpu = 3}; }
CrashReporter::Witness in_the_report() { return {.cpu = 3, .can_report = false}; }

[[noreturn]] void report(const Crash& crash) {
  const std::string text =
      "reported: " + crash.what() + ", cpu " + std::to_string(crash.cpu) + "\n";
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(9);
  _exit(1);
}

void touch_what_is_not_there() {
  const size_t size = 4096;
  char* const page =
      static_cast<char*>(mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  *static_cast<volatile char*>(page) = 1;
}

class SignalsDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(SignalsDeathTest, ACrashIsReportedWithSignalAddressAndCpu) {
  const char* const wanted = kSanitizerReportsFirst
                                 ? "SEGV on unknown address(.|\n)*reported: a sanitizer's report"
                                 : "reported: SIGSEGV .Segmentation fault. at address 0x[0-9a-f]+, "
                                   "cpu 3";
  EXPECT_EXIT(
      {
        const CrashReporter reporter(kLastWords, on_cpu_3, report);
        touch_what_is_not_there();
      },
      testing::ExitedWithCode(1), wanted);
}

TEST_F(SignalsDeathTest, AnAbortOnAnotherThreadIsReported) {
  EXPECT_EXIT(
      {
        const CrashReporter reporter(kLastWords, on_cpu_3, report);
        std::thread([] { abort(); }).join();
      },
      testing::ExitedWithCode(1), "reported: ");
}

TEST_F(SignalsDeathTest, ACrashOfTheReportEndsWithTheLastWords) {
  EXPECT_EXIT(
      {
        // AddressSanitizer lets a second thread that crashes wait for the first.
        const CrashReporter reporter(
            kLastWords, on_cpu_3, [](const Crash&) { abort(); }, std::chrono::seconds(2));
        abort();
      },
      testing::ExitedWithCode(1), kLastWords);
}

TEST_F(SignalsDeathTest, ACrashWhereNoReportIsPossibleEndsWithTheLastWords) {
  EXPECT_EXIT(
      {
        const CrashReporter reporter(kLastWords, in_the_report, report);
        abort();
      },
      testing::ExitedWithCode(1), kLastWords);
}

TEST_F(SignalsDeathTest, AReportThatHangsIsNotWaitedForForEver) {
  EXPECT_EXIT(
      {
        const CrashReporter reporter(
            kLastWords, on_cpu_3,
            [](const Crash&) {
              for (;;) pause();
            },
            std::chrono::seconds(1));
        abort();
      },
      testing::ExitedWithCode(1), kLastWords);
}

TEST(Signals, ARunWithoutACrashReportsNothing) {
  bool reported = false;
  {
    const CrashReporter reporter(kLastWords, on_cpu_3, [&](const Crash&) { reported = true; });
  }
  EXPECT_FALSE(reported);
}

TEST(Signals, TheBacktraceHasALinePerFrame) {
  Crash crash;
  crash.frames[0] = reinterpret_cast<void*>(&touch_what_is_not_there);
  crash.frames[1] = reinterpret_cast<void*>(&touch_what_is_not_there);
  crash.frames_known = 2;
  const std::string text = crash.backtrace();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
}

}  // namespace
}  // namespace hatcheck
