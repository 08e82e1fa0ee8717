// run_isolated(): a run in a forked child whose end, output included, becomes a report.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "platform/platform.h"

#ifdef HATCHECK_WITH_ASAN
#include <sanitizer/lsan_interface.h>
#endif
#include <sys/mman.h>  // memfd_create

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

using Clock = std::chrono::steady_clock;

// What sanitizers print, most specific first, and the kind it stands for.
constexpr std::pair<std::string_view, Kind> kSanitizerPhrases[] = {
    {"heap-use-after-free", Kind::kUseAfterFree},
    {"attempting double-free", Kind::kDoubleFree},
    {"ThreadSanitizer: data race", Kind::kDataRace},
    {"ThreadSanitizer: lock-order-inversion", Kind::kCircularLocking},
    {"LeakSanitizer: detected memory leaks", Kind::kLeak},
    {"WARNING: ThreadSanitizer", Kind::kCrash},
    {"ERROR: AddressSanitizer", Kind::kCrash},
    {": runtime error: ", Kind::kCrash},
};

constexpr std::string_view kClean = "clean\n";

[[noreturn]] void system_failure(const char* call) {
  fail(Kind::kInternalError, std::string(call) + ": " + std::strerror(errno));
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ::_exit(kExitInternal);
    text.remove_prefix(static_cast<size_t>(n));
  }
}

// The child's side. It says on `result` how the run ended: "clean" on a line of its own, the
// iterations and what bounded them; or the phrase of the kind and the description.
[[noreturn]] void run_child(const AnyScenario& scenario, const RunOptions& options, int result,
                            int output) {
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  set_failure_handler([result](const Failure& failure) {
    write_all(result, std::string(phrase(failure.kind)) + "\n" + describe(failure));
  });
  const Report report = run_scenario(scenario, options);
#ifdef HATCHECK_WITH_ASAN
  __lsan_do_recoverable_leak_check();
#endif
  std::fflush(nullptr);
  write_all(result,
            std::string(kClean) + std::to_string(report.iterations) + "\n" + report.bounded_by);
  // Not exit(): the objects of the parent's main program are not this process' to destroy.
  ::_exit(kExitClean);
}

// Reads until the child has closed its end. False if that takes longer than allowed.
bool read_result(int fd, std::chrono::milliseconds limit, std::string& result) {
  const Clock::time_point end = Clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return false;
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&wanted, 1, static_cast<int>(left)) <= 0) continue;
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n == 0) return true;
    if (n > 0) result.append(buffer, static_cast<size_t>(n));
  }
}

std::string read_output(int fd) {
  constexpr off_t kMost = 64 * 1024;
  const off_t size = ::lseek(fd, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::min(size, kMost)), '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return text;
}

Report violated(Kind kind, std::string message) {
  Report report;
  report.verdict = Verdict::kViolated;
  report.kind = kind;
  report.message = std::move(message);
  return report;
}

// What the child said itself comes first, since it is the most exact; then a sanitizer; then how
// the process ended.
Report judge(const std::string& result, const std::string& output, bool in_time, int status,
             const RunOptions& options) {
  const bool clean = result.starts_with(kClean);
  if (!result.empty() && !clean) {
    const size_t line = result.find('\n');
    const std::optional<Kind> kind = kind_of(result.substr(0, line));
    return violated(kind.value_or(Kind::kInternalError), result.substr(line + 1) + output);
  }
  for (const auto& [text, kind] : kSanitizerPhrases) {
    if (output.find(text) != std::string::npos) return violated(kind, output);
  }
  if (!in_time) {
    return violated(
        Kind::kNoProgress,
        "not finished after " + std::to_string(options.limit.count()) + " ms\n" + output);
  }
  if (WIFSIGNALED(status)) {
    return violated(Kind::kCrash, std::string("ended by signal: ") + ::strsignal(WTERMSIG(status)) +
                                      "\n" + output);
  }
  if (!clean || WEXITSTATUS(status) != 0) {
    return violated(Kind::kCrash, "ended with exit code " + std::to_string(WEXITSTATUS(status)) +
                                      " and without a result\n" + output);
  }
  Report report;
  const size_t second_line = result.find('\n', kClean.size());
  report.iterations = std::stoull(result.substr(kClean.size(), second_line));
  report.bounded_by = result.substr(second_line + 1);
  return report;
}

}  // namespace

Report run_isolated(const AnyScenario& scenario, const RunOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) system_failure("pipe2");
  const int output = ::memfd_create("hatcheck_output", MFD_CLOEXEC);
  if (output < 0) system_failure("memfd_create");
  std::fflush(nullptr);  // or the child writes it again
  const pid_t child = ::fork();
  if (child < 0) system_failure("fork");
  if (child == 0) {
    ::close(ends[0]);
    run_child(scenario, options, ends[1], output);
  }
  ::close(ends[1]);
  std::string result;
  const bool in_time = read_result(ends[0], options.limit, result);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const Report report = judge(result, read_output(output), in_time, status, options);
  ::close(ends[0]);
  ::close(output);
  return report;
}

Report run_search(const AnyScenario& scenario, const SearchOptions& options) {
  constexpr uint32_t kPauseRate = 1000;
  constexpr std::chrono::milliseconds kGrace{10'000};
  RunOptions run{.iterations = options.executions,
                 .time = options.time,
                 .seed = options.seed,
                 .pause_rate = kPauseRate,
                 .report_inversions = options.report_inversions};
  if (run.time.count() != 0) run.limit = std::min(run.limit, run.time + kGrace);
  return run_isolated(scenario, run);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
