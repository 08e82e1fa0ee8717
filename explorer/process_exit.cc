// exit(), quick_exit(), _exit() and _Exit(): where a scenario's code calls one, that is a finding
// and not the end of the search. Everywhere else they do what they always do.
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "explorer/arena.h"
#include "explorer/engine.h"

namespace {

void not_in_a_scenario(const char* name, int code) {
  using explorer::Engine;
  if (Engine::active == nullptr || explorer::Arena::current_area == explorer::Arena::kHost) return;
  Engine::active->fail(explorer::Kind::kCrash,
                       "thread " + std::to_string(Engine::active->self()) + " calls " + name + "(" +
                           std::to_string(code) + "), which ends the process",
                       explorer::Site{});
}

[[noreturn]] void library_function(const char* name, int code) {
  using Function = void (*)(int);
  const auto function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (function != nullptr) function(code);
  std::abort();
}

[[noreturn]] void end_process(int code) {
  for (;;) ::syscall(SYS_exit_group, code);
}

}  // namespace

extern "C" {

void exit(int code) noexcept {
  not_in_a_scenario("exit", code);
  library_function("exit", code);
}

void quick_exit(int code) noexcept {
  not_in_a_scenario("quick_exit", code);
  library_function("quick_exit", code);
}

void _exit(int code) {
  not_in_a_scenario("_exit", code);
  end_process(code);
}

void _Exit(int code) noexcept {
  not_in_a_scenario("_Exit", code);
  end_process(code);
}

}  // extern "C"
