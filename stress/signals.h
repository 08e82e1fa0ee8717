// Signals: Ctrl-C ends a run in order, a crash becomes a report.
//
// The first SIGINT or SIGTERM sets a flag that the coordinator polls; the second one ends the
// process at once, should ending in order not work. Threads other than main block both, so that no
// system call of theirs is interrupted.
//
// A fatal signal (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT) may come while the thread holds any
// lock, malloc's included, so its handler does next to nothing: it notes where it is, wakes a
// thread that was started for the purpose (CrashReporter), and stands still until that thread has
// reported and ended the process. If that takes too long, or if the reporter crashes as well, a
// prepared line is all that is written. Either way the exit code is 1.
//
// AddressSanitizer keeps the signals, and its own errors come the same way: it prints its report,
// then the reporter does its work. What ThreadSanitizer finds ends with the prepared line only,
// because it holds locks then that the reporter would need.
//
// Process-wide state, as signals are.
#ifndef HATCHECK_STRESS_SIGNALS_H_
#define HATCHECK_STRESS_SIGNALS_H_

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

namespace hatcheck {

// To be called once, on the main thread.
void catch_interrupts();
bool interrupted();

// How a thread crashed.
struct Crash {
  static constexpr int kMostFrames = 64;
  static constexpr uint32_t kNoCpu = ~uint32_t{0};

  int signal = 0;           // 0: a sanitizer ends the process
  bool at_address = false;  // the access to an address was refused
  void* address = nullptr;
  uint32_t cpu = kNoCpu;  // virtual CPU of the thread
  int frames_known = 0;
  void* frames[kMostFrames] = {};

  // "SIGSEGV (Segmentation fault) at address 0x10", "a sanitizer's report, see above".
  std::string what() const;
  // One line per frame, for addr2line.
  std::string backtrace() const;
};

// While it lives, crashes are reported. One at a time.
class CrashReporter {
 public:
  // What is asked of the crashing thread, within its signal handler: reads thread-local state and
  // nothing else. `can_report` false means that the report itself has crashed.
  struct Witness {
    uint32_t cpu = Crash::kNoCpu;
    bool can_report = true;
  };

  // last_words: what to write if there can be no report, or none within `patience`. report: runs on
  // a thread of the reporter's own and ends the process.
  CrashReporter(std::string last_words, Witness (*witness)(),
                std::function<void(const Crash&)> report,
                std::chrono::seconds patience = std::chrono::seconds(30));
  ~CrashReporter();
  CrashReporter(const CrashReporter&) = delete;
  CrashReporter& operator=(const CrashReporter&) = delete;

 private:
  const std::string last_words_;
  const std::function<void(const Crash&)> report_;
  std::thread thread_;
};

// Threads started during its life ignore interrupts.
class InterruptsBlocked {
 public:
  InterruptsBlocked();
  ~InterruptsBlocked();
  InterruptsBlocked(const InterruptsBlocked&) = delete;
  InterruptsBlocked& operator=(const InterruptsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_SIGNALS_H_
