// Failures on real threads: the first one wins, the rest of the process stands still.
#include "platform/threads/backend.h"
// backend.h names the namespace that the others open.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "platform/check.h"
#include "platform/threads/cpu.h"
#include "platform/threads/run.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// Leaked on purpose: a failure may come while static objects are destroyed.
FailureHandler& handler_slot() {
  static FailureHandler* const slot = new FailureHandler;
  return *slot;
}

std::atomic<bool> g_failed{false};
thread_local constinit bool t_failing = false;

void print(const std::string& text) {
  std::fflush(stdout);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

[[noreturn]] void end_process() {
  std::fflush(nullptr);
  if (std::getenv("HATCHECK_ABORT") != nullptr) {
    std::signal(SIGABRT, SIG_DFL);  // somebody may report crashes
    std::abort();
  }
  ::_exit(kExitViolated);
}

}  // namespace

bool failing() { return t_failing; }

void set_failure_handler(FailureHandler handler) { handler_slot() = std::move(handler); }

std::string describe(const Failure& failure) {
  return "hatcheck: " + std::string(phrase(failure.kind)) + ": " + failure.message + "\n  at " +
         to_string(failure.where) + ", cpu " + std::to_string(failure.cpu) + "\n" +
         Cpu::current().describe_held();
}

void fail(Kind kind, std::string message, Where where) {
  const Failure failure{kind, std::move(message), where, this_cpu()};
  if (t_failing) {
    // The handler itself failed. The process cannot stay: everybody else waits for this thread.
    print("hatcheck: the failure handler failed\n" + describe(failure));
    end_process();
  }
  if (g_failed.exchange(true, std::memory_order_acq_rel)) {
    // The process ends under this thread as soon as the first handler is done.
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  t_failing = true;
  if (handler_slot()) {
    handler_slot()(failure);
  } else {
    print(describe(failure));
  }
  end_process();
}

void panic(std::string message, Where where) { fail(Kind::kPanic, std::move(message), where); }

void assertion_failed(const char* condition, Where where, std::string message) {
  const std::string text = std::string(condition) + " is false";
  fail(Kind::kAssertion, message.empty() ? text : message + " (" + text + ")", where);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
