// Random small programs over all primitives, for comparing searches.
//
// A program is a table of operations per thread. What an operation does depends on what its thread
// saw before (its accumulator), so a wrong value shows in what follows, and everything a thread saw
// is part of the final state. Locks that a thread still holds at its end are released.
#ifndef HATCHECK_EXPLORER_RANDOM_PROGRAM_H_
#define HATCHECK_EXPLORER_RANDOM_PROGRAM_H_

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "explorer/engine.h"
#include "explorer/sync.h"

namespace explorer {

enum class Act : uint8_t {
  kLock,
  kTryLock,
  kUnlock,
  kWait,
  kSignal,
  kBroadcast,
  kReadLock,
  kWriteLock,
  kTryReadLock,
  kTryWriteLock,
  kUpgrade,
  kDowngrade,
  kRwUnlock,
  kLoad,
  kStore,
  kAdd,
  kExchange,
  kCas,
  kChoose,
  kYield,
  kSpinLoad,  // until the atomic is not zero, with yields
  kSpinLock,  // until a try_lock succeeds, with yields
  kPollLock,  // locks, looks, unlocks and yields, until the atomic is not zero
  kRead,      // a plain variable
  kWrite,
  kSkip,  // the next operation, if the accumulator is odd
};
inline constexpr int kActs = static_cast<int>(Act::kSkip) + 1;

struct Action {
  Act act;
  uint8_t object;
};

// What a program is made to have, in most cases: two threads that take two locks in opposite
// orders, an unordered read and write, a wait that no signal need follow.
enum class Planted : uint8_t { kNothing, kDeadlock, kRace, kLostWakeup };

struct RandomProgramOptions {
  uint64_t seed = 1;
  Planted planted = Planted::kNothing;
  // Programs have about this many interleavings at most.
  double interleavings = 20'000;
  bool yields = true;  // yields outside of loops
  bool spins = true;   // spin loops
  bool plain = true;   // plain variables: most programs with them race
};

class RandomProgram : public Program {
 public:
  explicit RandomProgram(const RandomProgramOptions& options);

  const char* name() const override { return "random program"; }
  int threads() const override { return static_cast<int>(actions_.size()); }
  void set_up() override;
  void thread(int index) override;
  void finish() override;

  // The program as text, one line per thread.
  std::string text() const;
  // A digest of everything that the threads of the last execution saw, and of the final values.
  uint64_t final_state() const { return final_state_; }
  int spurious_wakeups() const { return spurious_; }

 private:
  struct World;
  struct Local;

  void plant(Planted what, std::mt19937_64& random);
  void act(const Action& action, Local& local);
  void act_on_rwlock(const Action& action, Local& local);
  void act_on_atomic(const Action& action, Local& local);
  void spin(const Action& action, Local& local);

  std::vector<std::vector<Action>> actions_;
  int spurious_ = 0;
  World* world_ = nullptr;
  uint64_t final_state_ = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_RANDOM_PROGRAM_H_
