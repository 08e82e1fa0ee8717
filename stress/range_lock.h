// RangeLock: readers and writers of byte ranges of one file. What a file system's range locks do:
// of two operations whose ranges meet, one of them a writer's, one waits.
//
// Thread safety: any thread. Of real threads rather than of the seam, since it plays a layer above
// what is under test; segmap's deadlocks are looked for without it. A thread holds one at a time.
#ifndef HATCHECK_STRESS_RANGE_LOCK_H_
#define HATCHECK_STRESS_RANGE_LOCK_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <list>
#include <mutex>

namespace hatcheck {

class RangeLock {
 public:
  enum class Mode { kShared, kExclusive };
  static constexpr uint64_t kToTheEnd = std::numeric_limits<uint64_t>::max();

  struct Held {
    uint64_t begin, end;
    Mode mode;
    bool keeps_out(const Held& other) const {
      return begin < other.end && other.begin < end &&
             (mode == Mode::kExclusive || other.mode == Mode::kExclusive);
    }
  };

  // Holds [begin, end) for a scope.
  class Guard {
   public:
    Guard(RangeLock& lock, uint64_t begin, uint64_t end, Mode mode) : lock_(lock) {
      std::unique_lock<std::mutex> guard(lock_.mutex_);
      const Held wanted{begin, end, mode};
      lock_.changed_.wait(guard, [&] {
        return std::none_of(lock_.held_.begin(), lock_.held_.end(),
                            [&](const Held& other) { return other.keeps_out(wanted); });
      });
      lock_.held_.push_front(wanted);
      place_ = lock_.held_.begin();
    }
    ~Guard() {
      {
        const std::unique_lock<std::mutex> guard(lock_.mutex_);
        lock_.held_.erase(place_);
      }
      lock_.changed_.notify_all();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    RangeLock& lock_;
    std::list<Held>::iterator place_;
  };

 private:
  friend class Guard;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Held> held_;
};

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_RANGE_LOCK_H_
