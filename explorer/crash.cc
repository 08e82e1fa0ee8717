#include "explorer/crash.h"

#include <ucontext.h>

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
  if (Engine::active == nullptr || Arena::current_area == Arena::kHost) {
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
}

}  // namespace explorer
