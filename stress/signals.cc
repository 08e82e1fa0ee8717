#include "stress/signals.h"

#include <execinfo.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#if defined(__SANITIZE_ADDRESS__)
#define HATCHECK_WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define HATCHECK_WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HATCHECK_WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define HATCHECK_WITH_TSAN 1
#endif
#endif

#if defined(HATCHECK_WITH_ASAN) || defined(HATCHECK_WITH_TSAN)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

// Sanitizers have exit codes of their own by default, and ASan leaves SIGABRT alone.
#if defined(HATCHECK_WITH_ASAN)
extern "C" const char* __asan_default_options() { return "exitcode=1:handle_abort=1"; }
extern "C" const char* __lsan_default_options() { return "exitcode=1"; }
#elif defined(HATCHECK_WITH_TSAN)
extern "C" const char* __tsan_default_options() { return "exitcode=1"; }
#endif

namespace hatcheck {
namespace {

constexpr int kExitCode = 1;  // a violation

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// What the handler works with: plain memory, filled before handlers are installed.
struct Desk {
  const char* last_words = nullptr;
  size_t last_words_size = 0;
  CrashReporter::Witness (*witness)() = nullptr;
  pthread_t reporter = {};
  int64_t patience_seconds = 0;
  sem_t wake;
  std::atomic<bool> crashed{false};
  Crash crash;
};
Desk g_desk;
std::atomic<bool> g_open{false};  // there is a reporter

void on_interrupt(int) { g_interrupted.store(true, std::memory_order_relaxed); }

void speak() {
  // Whether it could be written makes no difference to what follows.
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, g_desk.last_words, g_desk.last_words_size);
}

int64_t now_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

// On the crashing thread. Async-signal-safe.
void hand_over(int signal, const siginfo_t* info) {
  const CrashReporter::Witness seen = g_desk.witness();
  if (!seen.can_report || pthread_equal(pthread_self(), g_desk.reporter) != 0) {
    speak();
    _exit(kExitCode);
  }
  if (g_desk.crashed.exchange(true)) {
    for (;;) poll(nullptr, 0, 1000);  // the first crash is reported, and ends the process
  }
  Crash& crash = g_desk.crash;
  crash.signal = signal;
  // Otherwise it was sent by a program.
  if (info != nullptr && info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS)) {
    crash.at_address = true;
    crash.address = info->si_addr;
  }
  crash.cpu = seen.cpu;
  crash.frames_known = ::backtrace(crash.frames, Crash::kMostFrames);
  sem_post(&g_desk.wake);
  // In small steps, since other signals interrupt them.
  const int64_t end = now_seconds() + g_desk.patience_seconds;
  while (now_seconds() < end) poll(nullptr, 0, 100);
  speak();
  _exit(kExitCode);
}

#ifndef HATCHECK_WITH_ASAN
constexpr int kFatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

void on_crash(int signal, siginfo_t* info, void*) { hand_over(signal, info); }
#endif

#ifdef HATCHECK_WITH_ASAN
void on_death() {
  if (g_open.load()) hand_over(0, nullptr);
}
#elif defined(HATCHECK_WITH_TSAN)
void on_death() {
  if (g_open.load()) speak();
}
#endif

void watch_crashes() {
#ifndef HATCHECK_WITH_ASAN
  for (const int signal : kFatal) {
    struct sigaction action = {};
    action.sa_sigaction = on_crash;
    // The handler does not return, and its thread has to notice a second crash.
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
#endif
#if defined(HATCHECK_WITH_ASAN) || defined(HATCHECK_WITH_TSAN)
  __sanitizer_set_death_callback(on_death);
#endif
}

void ignore_crashes() {
#ifndef HATCHECK_WITH_ASAN
  for (const int signal : kFatal) ::signal(signal, SIG_DFL);
#endif
}

sigset_t interrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    // One time only: the second signal does what it does by default.
    action.sa_flags = SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }

std::string Crash::what() const {
  if (signal == 0) return "a sanitizer's report, see above";
  const char* abbreviation = sigabbrev_np(signal);
  std::string text = absl::StrCat("SIG", abbreviation == nullptr ? "?" : abbreviation, " (",
                                  strsignal(signal), ")");
  if (at_address) absl::StrAppendFormat(&text, " at address %p", address);
  return text;
}

std::string Crash::backtrace() const {
  std::string text;
  char** const lines = backtrace_symbols(frames, frames_known);
  for (int i = 0; lines != nullptr && i < frames_known; ++i) {
    absl::StrAppend(&text, lines[i], "\n");
  }
  std::free(lines);
  return text;
}

CrashReporter::CrashReporter(std::string last_words, Witness (*witness)(),
                             std::function<void(const Crash&)> report,
                             std::chrono::seconds patience)
    : last_words_(std::move(last_words)), report_(std::move(report)) {
  g_desk.last_words = last_words_.data();
  g_desk.last_words_size = last_words_.size();
  g_desk.witness = witness;
  g_desk.patience_seconds = patience.count();
  g_desk.crashed = false;
  sem_init(&g_desk.wake, 0, 0);
  // The first call loads a library, which a handler must not.
  void* frame = nullptr;
  ::backtrace(&frame, 1);
  {
    const InterruptsBlocked for_the_new_thread;
    thread_ = std::thread([this] {
      while (sem_wait(&g_desk.wake) != 0) {
      }
      if (g_desk.crashed.load()) report_(g_desk.crash);
    });
  }
  g_desk.reporter = thread_.native_handle();
  g_open = true;
  watch_crashes();
}

CrashReporter::~CrashReporter() {
  g_open = false;
  ignore_crashes();
  sem_post(&g_desk.wake);
  thread_.join();
  sem_destroy(&g_desk.wake);
}

InterruptsBlocked::InterruptsBlocked() {
  const sigset_t set = interrupts();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
}

InterruptsBlocked::~InterruptsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace hatcheck
