// Programs of locks alone, whose numbers of executions are known: to compare engines on.
//
// N threads that take M independent locks in turn have (N!)^M executions that differ, N threads
// that take one lock K times have (NK)!/(K!)^N, and N threads hand over hand N!.
//
// Templates over the mutex, so that Relacy's own search can run the same bodies with a mutex of its
// own (relacy_itself.cc). A mutex is made from its lock class and number.
//
// Thread safety: what the bodies show.
#ifndef HATCHECK_MODELS_ENGINES_PROGRAMS_H_
#define HATCHECK_MODELS_ENGINES_PROGRAMS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "platform/lock_class.h"

namespace hatcheck {

inline constexpr LockClass kRowLock{"row", 50};
inline constexpr LockClass kFirstLock{"first", 51};
inline constexpr LockClass kSecondLock{"second", 52};
inline constexpr LockClass kThirdLock{"third", 53};

template <class Mutex, size_t... numbers>
std::array<Mutex, sizeof...(numbers)> numbered_mutexes(std::index_sequence<numbers...>) {
  return {Mutex(kRowLock, static_cast<uint32_t>(numbers))...};
}

// Every thread takes each lock after the other, all of them so many times.
template <class Mutex, int threads, size_t locks, int rounds>
class LocksInTurn {
 public:
  static constexpr int kThreads = threads;

  void thread(int) {
    for (int round = 0; round < rounds; ++round) {
      for (Mutex& mutex : mutexes_) {
        mutex.enter();
        mutex.exit();
      }
    }
  }

 private:
  std::array<Mutex, locks> mutexes_ = numbered_mutexes<Mutex>(std::make_index_sequence<locks>());
};

// Every thread goes along three locks, and takes the next one before it leaves the one behind.
template <class Mutex, int threads>
class HandOverHand {
 public:
  static constexpr int kThreads = threads;

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    first_.enter();
    second_.enter();
    first_.exit();
    third_.enter();
    second_.exit();
    third_.exit();
  }

 private:
  Mutex first_{kFirstLock};
  Mutex second_{kSecondLock};
  Mutex third_{kThirdLock};
};

}  // namespace hatcheck

#endif  // HATCHECK_MODELS_ENGINES_PROGRAMS_H_
