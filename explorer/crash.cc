#include "explorer/crash.h"

#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "explorer/arena.h"
#include "explorer/engine.h"

namespace explorer {
namespace {

constexpr size_t kSpareBytes = size_t{64} << 10;

struct Crash {
  const std::array<Fiber, kMaxThreads + 1>* stacks = nullptr;
  char* spare = nullptr;  // a stack to go on from
  int signal = 0;
  uintptr_t address = 0;
  struct sigaction before[NSIG];
};
Crash crash;

// What the clock saw last, and how often it has seen it.
struct Watch {
  pid_t process = 0;
  uint64_t executions = 0;  // begun so far
  uint64_t seen = 0;
  int steps = 0;
  int ticks = 0;
};
Watch watch;

// A second of processor time is over: true if none of the last ones brought a step.
bool hangs() {
  const Engine& engine = *Engine::active;
  if (watch.seen == watch.executions && watch.steps == engine.steps()) {
    return ++watch.ticks > kLongestStep;
  }
  watch.seen = watch.executions;
  watch.steps = engine.steps();
  watch.ticks = 0;
  return false;
}

// Runs on the spare stack in place of the code that crashed.
[[noreturn]] void go_on() {
  bool overflow = false;
  for (const Fiber& fiber : *crash.stacks) overflow = overflow || fiber.in_guard(crash.address);
  Engine& engine = *Engine::active;
  if (overflow && crash.signal == SIGSEGV) {
    engine.fail(Kind::kStackOverflow,
                "thread " + std::to_string(engine.self()) + " used more than its " +
                    std::to_string(Fiber::kStackBytes >> 10) + " KiB of stack",
                Site{});
  }
  if (crash.signal == SIGVTALRM) {
    watch.ticks = 0;
    engine.fail(Kind::kLivelock,
                "no step in " + std::to_string(kLongestStep) + " s of processor time " +
                    (Engine::alone() ? "in set-up or in the final check"
                                     : "by thread " + std::to_string(engine.self())),
                Site{});
  }
  char address[32];
  std::snprintf(address, sizeof(address), "0x%llx", static_cast<unsigned long long>(crash.address));
  engine.fail(Kind::kCrash,
              std::string(strsignal(crash.signal)) + " (address " + address + ") in thread " +
                  std::to_string(engine.self()),
              Site{});
}

void handle(int signal, siginfo_t* info, void* context) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (signal == SIGSEGV && Arena::instance().handle_fault(address)) return;
  const bool in_scenario = Engine::active != nullptr && Arena::current_area != Arena::kHost;
  if (signal == SIGVTALRM && !(in_scenario && hangs())) return;
  if (!in_scenario) {
    // Not a scenario's. Returning makes the same instruction fault again, for the handler before.
    ::sigaction(signal, &crash.before[signal], nullptr);
    if (info->si_code <= 0) ::raise(signal);
    return;
  }
  crash.signal = signal;
  crash.address = signal == SIGSEGV || signal == SIGBUS ? address : 0;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&go_on);
  // As after a call: 8 bytes off the alignment.
  registers[REG_RSP] = reinterpret_cast<greg_t>(crash.spare + kSpareBytes) - 8;
}

}  // namespace

void note_execution() { ++watch.executions; }

void install_crash_handler(const std::array<Fiber, kMaxThreads + 1>& stacks) {
  if (crash.stacks != nullptr) return;
  crash.stacks = &stacks;
  crash.spare = static_cast<char*>(std::malloc(kSpareBytes));
  stack_t alternate{};
  alternate.ss_size = kSpareBytes;
  alternate.ss_sp = std::malloc(kSpareBytes);
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = &handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    ::sigaction(signal, &action, &crash.before[signal]);
  }
  action.sa_flags |= SA_RESTART;
  ::sigaction(SIGVTALRM, &action, nullptr);
}

void watch_for_hangs() {
  if (watch.process == ::getpid()) return;
  watch.process = ::getpid();
  const itimerval every_second{{1, 0}, {1, 0}};
  ::setitimer(ITIMER_VIRTUAL, &every_second, nullptr);
}

}  // namespace explorer
