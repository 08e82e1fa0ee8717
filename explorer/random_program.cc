#include "explorer/random_program.h"

#include <cmath>
#include <cstddef>
#include <initializer_list>

namespace explorer {
namespace {

constexpr int kObjects = 2;

constexpr std::array<const char*, kActs> kActNames{
    "lock",      "try_lock",    "unlock",      "wait",    "signal",    "broadcast", "rd_lock",
    "wr_lock",   "try_rd_lock", "try_wr_lock", "upgrade", "downgrade", "rw_unlock", "load",
    "store",     "add",         "exchange",    "cas",     "choose",    "yield",     "spin_load",
    "spin_lock", "poll_lock",   "read",        "write",   "skip"};

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

// About how many steps an operation is.
double weight(Act act) {
  switch (act) {
    case Act::kWait:
    case Act::kSpinLoad:
    case Act::kSpinLock:
      return 2;
    case Act::kPollLock:
      return 6;
    case Act::kRead:
    case Act::kWrite:
    case Act::kSkip:
      return 0;
    case Act::kLock:
    case Act::kTryLock:
    case Act::kReadLock:
    case Act::kWriteLock:
      return 1.5;
    default:
      return 1;
  }
}

double interleavings(const std::vector<std::vector<Action>>& threads) {
  double all = 0;
  double log_count = 0;
  for (const auto& actions : threads) {
    double steps = 0;
    for (const Action& action : actions) steps += weight(action.act);
    all += steps;
    log_count -= std::lgamma(steps + 1);
  }
  return std::exp(log_count + std::lgamma(all + 1));
}

}  // namespace

struct RandomProgram::World {
  Mutex mutexes[kObjects];
  RwLock rwlocks[kObjects];
  CondVar condvars[kObjects];
  Atomic<uint64_t> atomics[kObjects];
  Shared<uint64_t> plain[kObjects]{Shared<uint64_t>(0), Shared<uint64_t>(0)};
  uint64_t seen[kMaxThreads] = {};
};

struct RandomProgram::Local {
  uint64_t seen = 1;
  bool skip = false;
};

RandomProgram::RandomProgram(const RandomProgramOptions& options) {
  std::mt19937_64 random(options.seed);
  const auto below = [&random](uint64_t n) { return random() % n; };
  do {
    // A few kinds of operations per program, so that they meet.
    std::vector<Act> kinds;
    const size_t kind_count = 2 + below(5);
    while (kinds.size() < kind_count) {
      const Act act = static_cast<Act>(below(kActs));
      const bool spins = act == Act::kSpinLoad || act == Act::kSpinLock || act == Act::kPollLock;
      const bool plain = act == Act::kRead || act == Act::kWrite;
      if (act == Act::kYield && !options.yields) continue;
      if ((spins && !options.spins) || (plain && !options.plain)) continue;
      kinds.push_back(act);
      // What only makes sense with a lock brings it along.
      if (act == Act::kWait || act == Act::kUnlock) kinds.push_back(Act::kLock);
      if (act == Act::kWait) kinds.push_back(below(2) == 0 ? Act::kSignal : Act::kBroadcast);
      if (act == Act::kUpgrade || act == Act::kRwUnlock) kinds.push_back(Act::kReadLock);
      if (act == Act::kDowngrade) kinds.push_back(Act::kWriteLock);
      if (spins) kinds.push_back(Act::kStore);
    }
    const uint64_t objects = 1 + below(kObjects);
    actions_.assign(2 + below(2), {});
    for (auto& actions : actions_) {
      const uint64_t length = 1 + below(6);
      for (uint64_t i = 0; i < length; ++i) {
        actions.push_back(Action{kinds[below(kinds.size())], static_cast<uint8_t>(below(objects))});
      }
    }
    spurious_ = static_cast<int>(below(2));
    plant(options.planted, random);
  } while (interleavings(actions_) > options.interleavings);
}

// Puts operations somewhere into the first two threads.
void RandomProgram::plant(Planted what, std::mt19937_64& random) {
  const auto insert = [&](int thread, std::initializer_list<Action> some) {
    std::vector<Action>& actions = actions_[thread];
    const auto at = static_cast<std::ptrdiff_t>(random() % (actions.size() + 1));
    actions.insert(actions.begin() + at, some);
  };
  switch (what) {
    case Planted::kNothing:
      break;
    case Planted::kDeadlock:
      insert(0, {{Act::kLock, 0}, {Act::kLock, 1}});
      insert(1, {{Act::kLock, 1}, {Act::kLock, 0}});
      break;
    case Planted::kRace:
      insert(0, {{Act::kWrite, 0}});
      insert(1, {{random() % 2 == 0 ? Act::kRead : Act::kWrite, 0}});
      break;
    case Planted::kLostWakeup:
      insert(0, {{Act::kLock, 0}, {Act::kWait, 0}});
      insert(1, {{random() % 2 == 0 ? Act::kSignal : Act::kBroadcast, 0}});
      break;
  }
}

std::string RandomProgram::text() const {
  std::string text = spurious_ > 0 ? "with a spurious wake-up per thread\n" : "";
  for (size_t i = 0; i < actions_.size(); ++i) {
    text += "thread " + std::to_string(i) + ":";
    for (const Action& action : actions_[i]) {
      text += std::string(" ") + kActNames[static_cast<int>(action.act)] + "(" +
              std::to_string(action.object) + ")";
    }
    text += "\n";
  }
  return text;
}

void RandomProgram::set_up() { world_ = new World; }

void RandomProgram::thread(int index) {
  World& world = *world_;
  Local local;
  for (const Action& action : actions_[index]) {
    if (local.skip) {
      local.skip = false;
      continue;
    }
    act(action, local);
  }
  for (int i = 0; i < kObjects; ++i) {
    if (world.mutexes[i].held()) world.mutexes[i].unlock();
    if (world.rwlocks[i].read_held() || world.rwlocks[i].write_held()) world.rwlocks[i].unlock();
  }
  world.seen[index] = local.seen;
}

void RandomProgram::act(const Action& action, Local& local) {
  Mutex& mutex = world_->mutexes[action.object];
  CondVar& condvar = world_->condvars[action.object];
  Shared<uint64_t>& plain = world_->plain[action.object];
  switch (action.act) {
    case Act::kLock:
      if (!mutex.held()) mutex.lock();
      break;
    case Act::kTryLock:
      local.seen = mixed(local.seen, mutex.try_lock() ? 1 : 2);
      break;
    case Act::kUnlock:
      if (mutex.held()) mutex.unlock();
      break;
    case Act::kWait:
      if (mutex.held()) condvar.wait(mutex);
      break;
    case Act::kSignal:
      condvar.signal();
      break;
    case Act::kBroadcast:
      condvar.broadcast();
      break;
    case Act::kChoose:
      local.seen = mixed(local.seen, choose(2 + action.object));
      break;
    case Act::kYield:
      yield();
      break;
    case Act::kRead:
      local.seen = mixed(local.seen, plain.get());
      break;
    case Act::kWrite:
      plain.set(local.seen);
      break;
    case Act::kSkip:
      local.skip = (local.seen & 1) != 0;
      break;
    case Act::kSpinLoad:
    case Act::kSpinLock:
    case Act::kPollLock:
      spin(action, local);
      break;
    case Act::kLoad:
    case Act::kStore:
    case Act::kAdd:
    case Act::kExchange:
    case Act::kCas:
      act_on_atomic(action, local);
      break;
    default:
      act_on_rwlock(action, local);
  }
}

void RandomProgram::act_on_rwlock(const Action& action, Local& local) {
  RwLock& rwlock = world_->rwlocks[action.object];
  const bool held = rwlock.read_held() || rwlock.write_held();
  switch (action.act) {
    case Act::kReadLock:
      if (!held) rwlock.lock_shared();
      break;
    case Act::kWriteLock:
      if (!held) rwlock.lock();
      break;
    case Act::kTryReadLock:
      local.seen = mixed(local.seen, rwlock.try_lock_shared() ? 1 : 2);
      break;
    case Act::kTryWriteLock:
      local.seen = mixed(local.seen, rwlock.try_lock() ? 1 : 2);
      break;
    case Act::kUpgrade:
      if (rwlock.read_held()) local.seen = mixed(local.seen, rwlock.try_upgrade() ? 1 : 2);
      break;
    case Act::kDowngrade:
      if (rwlock.write_held()) rwlock.downgrade();
      break;
    default:
      if (held) rwlock.unlock();
  }
}

void RandomProgram::act_on_atomic(const Action& action, Local& local) {
  Atomic<uint64_t>& atomic = world_->atomics[action.object];
  switch (action.act) {
    case Act::kLoad:
      local.seen = mixed(local.seen, atomic.load());
      break;
    case Act::kStore:
      atomic.store(local.seen);
      break;
    case Act::kAdd:
      local.seen = mixed(local.seen, atomic.fetch_add(1));
      break;
    case Act::kExchange:
      local.seen = mixed(local.seen, atomic.exchange(local.seen));
      break;
    default: {
      uint64_t expected = 0;
      const bool done = atomic.compare_exchange(expected, local.seen, std::memory_order_seq_cst,
                                                std::memory_order_seq_cst);
      local.seen = mixed(local.seen, done ? 1 : expected);
    }
  }
}

void RandomProgram::spin(const Action& action, Local& local) {
  Atomic<uint64_t>& atomic = world_->atomics[action.object];
  Mutex& mutex = world_->mutexes[action.object];
  switch (action.act) {
    case Act::kSpinLoad:
      while (atomic.load() == 0) yield();
      break;
    case Act::kSpinLock:
      if (mutex.held()) break;
      while (!mutex.try_lock()) yield();
      break;
    default:
      if (mutex.held()) break;
      mutex.lock();
      while (atomic.load() == 0) {
        mutex.unlock();
        yield();
        mutex.lock();
      }
      mutex.unlock();
  }
  local.seen = mixed(local.seen, 7);
}

void RandomProgram::finish() {
  uint64_t hash = 0;
  for (const uint64_t seen : world_->seen) hash = mixed(hash, seen);
  for (const Atomic<uint64_t>& atomic : world_->atomics) hash = mixed(hash, atomic.load());
  for (const Shared<uint64_t>& plain : world_->plain) hash = mixed(hash, plain.get());
  final_state_ = hash;
  delete world_;
}

}  // namespace explorer
