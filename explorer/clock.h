// Clock: a vector clock of fixed width, one lane of 16 bits per thread.
//
// The engine keeps two of them per thread. One orders the steps that the search must not swap
// (dependence, event.h); the other is C++'s happens-before, which races are judged by. Eight lanes
// fit a vector register, so joining and comparing are one instruction each.
//
// Thread safety: plain data.
#ifndef HATCHECK_EXPLORER_CLOCK_H_
#define HATCHECK_EXPLORER_CLOCK_H_

#include <cstdint>
#include <cstring>

namespace explorer {

inline constexpr int kMaxThreads = 8;
// A thread can make at most this many steps in one execution.
inline constexpr int kMaxTime = 32'000;

class Clock {
 public:
  int16_t operator[](int thread) const { return lanes_[thread]; }
  // In a register: a store of one lane would stall the loads of all that follow.
  void set(int thread, int16_t time) {
    constexpr Lanes kNumbers = {0, 1, 2, 3, 4, 5, 6, 7};
    lanes_ = kNumbers == static_cast<int16_t>(thread) ? Lanes{} + time : lanes_;
  }

  void join(const Clock& other) { lanes_ = lanes_ > other.lanes_ ? lanes_ : other.lanes_; }

  // Whether every lane is at least that of the other.
  bool covers(const Clock& other) const {
    const Lanes less = lanes_ < other.lanes_;
    uint64_t halves[2];
    std::memcpy(halves, &less, sizeof(halves));
    return (halves[0] | halves[1]) == 0;
  }

  friend bool operator==(const Clock& a, const Clock& b) {
    return std::memcmp(&a, &b, sizeof(a)) == 0;
  }

 private:
  typedef int16_t Lanes __attribute__((vector_size(2 * kMaxThreads)));
  Lanes lanes_ = {};
};
static_assert(sizeof(Clock) == 16);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_CLOCK_H_
