// Preempter: takes the processor away from stress threads in the middle of whatever they do.
//
// Left alone, an operating system preempts a thread a few hundred times a second, most often while
// it waits anyway. A window of a few instructions between a look and the lock that the look was
// made without then stays shut for hours. So a thread of its own sends signals to threads that are
// inside an operation, and the signal handler sleeps for a random short time: long enough for the
// others to perform thousands of operations in that window.
//
// Which instruction is hit depends on timing alone and is not reproduced by a seed. ThreadSanitizer
// delivers signals at system calls only, so there it helps less.
//
// Thread safety: made and destroyed on one thread.
#ifndef HATCHECK_STRESS_PREEMPTER_H_
#define HATCHECK_STRESS_PREEMPTER_H_

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "stress/watchdog.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class Preempter {
 public:
  struct Target {
    pthread_t thread;
    const Pulse* pulse;  // only a thread inside an operation is worth a signal
  };

  // About `per_second` signals to random targets; 0: none. The targets outlive this object.
  Preempter(std::vector<Target> targets, uint32_t per_second, uint64_t seed);
  ~Preempter();
  Preempter(const Preempter&) = delete;
  Preempter& operator=(const Preempter&) = delete;

 private:
  void run(uint32_t per_second);

  const std::vector<Target> targets_;
  std::mt19937_64 random_;
  std::mutex mutex_;
  std::condition_variable stop_cv_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_PREEMPTER_H_
