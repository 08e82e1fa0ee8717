#include "stress/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HATCHECK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define HATCHECK_SANITIZED 1
#endif
#endif

#ifdef HATCHECK_SANITIZED
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

namespace hatcheck {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// Filled before handlers are installed, never changed after.
const std::string* g_last_words = nullptr;

void on_interrupt(int) { g_interrupted.store(true, std::memory_order_relaxed); }

void speak() {
  if (g_last_words == nullptr) return;
  // Whether it could be written makes no difference to what follows.
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, g_last_words->data(), g_last_words->size());
}

#ifndef HATCHECK_SANITIZED
void on_crash(int signal) {
  speak();
  raise(signal);  // the handler was reset on entry
}
#endif

void install(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  // One time only: the second signal does what it does by default.
  action.sa_flags = SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
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
  install(SIGINT, on_interrupt);
  install(SIGTERM, on_interrupt);
}

bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }

void announce_crashes(const std::string& last_words) {
  g_last_words = new std::string(last_words);
#ifdef HATCHECK_SANITIZED
  __sanitizer_set_death_callback(speak);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) install(signal, on_crash);
#endif
}

InterruptsBlocked::InterruptsBlocked() {
  const sigset_t set = interrupts();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
}

InterruptsBlocked::~InterruptsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace hatcheck
