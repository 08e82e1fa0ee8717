// Signals: Ctrl-C ends a run in order, a crash says how to rerun it.
//
// The first SIGINT or SIGTERM sets a flag that the coordinator polls; the second one ends the
// process at once, should ending in order not work. Threads other than main block both, so that no
// system call of theirs is interrupted.
//
// A fatal signal (SIGSEGV and the like) writes a prepared line and then does what it would have
// done. In sanitizer builds the sanitizer owns those signals; the line is written when it ends the
// process.
//
// Process-wide state, as signals are.
#ifndef HATCHECK_STRESS_SIGNALS_H_
#define HATCHECK_STRESS_SIGNALS_H_

#include <signal.h>

#include <string>

namespace hatcheck {

// To be called once, on the main thread.
void catch_interrupts();
bool interrupted();

// What a crash writes to standard error. To be called once, before there are other threads.
void announce_crashes(const std::string& last_words);

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
