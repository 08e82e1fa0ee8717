// Who waits for whom: the other half of observe.h.
//
// A Sample is what one CPU published. Samples are collected for all CPUs and are worth something
// when every epoch is even and, read again afterwards, still the same: then no CPU changed its
// state between the two passes, so all of the states existed together.
#include <algorithm>
#include <string>
#include <vector>

#include "platform/observe.h"
#include "platform/threads/lock_stats.h"

namespace hatcheck::inline HATCHECK_BACKEND {

#ifdef HATCHECK_OBSERVE

namespace {

struct Sample {
  CpuId cpu = 0;
  uint64_t epoch = 0;
  std::vector<HeldLockState> holds;
  std::vector<LockId> held;
  LockId wanted;  // lock is null if it does not wait
  const char* condvar = nullptr;
  Where where;
  uint64_t waiting_ns = 0;
};

Sample read(const Cpu& cpu) {
  Sample sample;
  sample.epoch = cpu.epoch();
  sample.cpu = cpu.id();
  const uint32_t count = std::min(cpu.held_count(), kMaxHeldLocks);
  for (uint32_t i = 0; i < count; ++i) {
    const HeldLock& held = cpu.held(i);
    const LockId id = held.id.get();
    sample.held.push_back(id);
    sample.holds.push_back({lock_name(id.lock_class, id.instance), id.mode, held.where.get()});
  }
  const Cpu::Wait& wait = cpu.wait();
  sample.wanted = wait.id.get();
  if (sample.wanted.lock != nullptr) {
    sample.condvar = wait.condvar.get();
    sample.where = wait.where.get();
    const uint64_t now = stats_ticks();
    sample.waiting_ns = stats_to_ns(now - std::min(now, wait.since.get()));
  }
  return sample;
}

bool unchanged(const Sample& sample) {
  return sample.epoch % 2 == 0 && Cpu::at(sample.cpu).epoch() == sample.epoch;
}

std::vector<Sample> read_all() {
  constexpr int kTries = 100;
  std::vector<Sample> samples;
  for (CpuId id = 0; id < Cpu::limit(); ++id) {
    const Cpu& cpu = Cpu::at(id);
    if (!cpu.bound()) continue;
    Sample sample = read(cpu);
    // A CPU that is never seen at rest is busy and not stuck; its last sample is good enough.
    for (int i = 0; i < kTries && !unchanged(sample); ++i) sample = read(cpu);
    samples.push_back(std::move(sample));
  }
  return samples;
}

bool sleeps(const Sample& sample) { return sample.condvar != nullptr; }

// Whether `waiter` cannot go on before `other` does something.
bool blocks(const Sample& other, const Sample& waiter) {
  if (waiter.wanted.lock == nullptr || other.cpu == waiter.cpu) return false;
  const bool reads = waiter.wanted.mode == LockMode::kReader;
  for (const LockId& id : other.held) {
    if (id.lock == waiter.wanted.lock && !(reads && id.mode == LockMode::kReader)) return true;
  }
  // A waiting writer keeps new readers out.
  return reads && other.wanted.lock == waiter.wanted.lock && other.wanted.mode == LockMode::kWriter;
}

std::string describe_wait(const Sample& sample) {
  const std::string wanted = lock_name(sample.wanted.lock_class, sample.wanted.instance);
  if (sleeps(sample)) {
    return std::string("sleeps on condition variable '") + sample.condvar + "' with " + wanted;
  }
  const char* mode = sample.wanted.mode == LockMode::kReader   ? " as a reader"
                     : sample.wanted.mode == LockMode::kWriter ? " as the writer"
                                                               : "";
  return "waits for " + wanted + mode;
}

std::string describe_edge(const Sample& waiter, const Sample& blocker) {
  const bool holds = std::any_of(blocker.held.begin(), blocker.held.end(),
                                 [&](const LockId& id) { return id.lock == waiter.wanted.lock; });
  return "cpu " + std::to_string(waiter.cpu) + " " + describe_wait(waiter) +
         (holds ? " held by cpu " : " also wanted by the writer on cpu ") +
         std::to_string(blocker.cpu) + " at " + to_string(waiter.where);
}

// Depth-first search for a cycle; `path` ends in it. `done` are the nodes with no cycle below.
bool find_cycle(const std::vector<Sample>& samples, size_t node, std::vector<size_t>& path,
                std::vector<bool>& done) {
  const auto seen = std::find(path.begin(), path.end(), node);
  if (seen != path.end()) {
    path.erase(path.begin(), seen);
    return true;
  }
  if (done[node]) return false;
  path.push_back(node);
  for (size_t next = 0; next < samples.size(); ++next) {
    if (blocks(samples[next], samples[node]) && find_cycle(samples, next, path, done)) return true;
  }
  path.pop_back();
  done[node] = true;
  return false;
}

std::string deadlock_in(const std::vector<Sample>& samples) {
  std::vector<bool> done(samples.size(), false);
  for (size_t start = 0; start < samples.size(); ++start) {
    std::vector<size_t> path;
    if (!find_cycle(samples, start, path, done)) continue;
    std::string text;
    for (size_t i = 0; i < path.size(); ++i) {
      if (i != 0) text += ", ";
      text += describe_edge(samples[path[i]], samples[path[(i + 1) % path.size()]]);
    }
    const bool real = std::all_of(path.begin(), path.end(),
                                  [&](size_t node) { return unchanged(samples[node]); });
    return real ? text : "";
  }
  return "";
}

CpuState state_of(const Sample& sample, const std::vector<Sample>& all) {
  CpuState state;
  state.cpu = sample.cpu;
  state.holds = sample.holds;
  state.changes = sample.epoch;
  state.waiting = sample.wanted.lock != nullptr;
  if (!state.waiting) return state;
  state.wants = lock_name(sample.wanted.lock_class, sample.wanted.instance);
  state.wants_mode = sample.wanted.mode;
  if (sleeps(sample)) state.condvar = sample.condvar;
  state.where = sample.where;
  state.waiting_ns = sample.waiting_ns;
  for (const Sample& other : all) {
    if (blocks(other, sample)) {
      state.owner = other.cpu;
      break;
    }
  }
  return state;
}

// Whether the CPU needs another one to act before it can go on: it sleeps and nobody has signalled,
// or it waits for a lock that a CPU has. To be called after all samples were taken.
bool needs_another(const Sample& sample, const std::vector<Sample>& all) {
  if (sample.wanted.lock == nullptr) return false;
  if (sleeps(sample)) return !Cpu::at(sample.cpu).wait().signalled.get();
  return std::any_of(all.begin(), all.end(),
                     [&](const Sample& other) { return blocks(other, sample); });
}

}  // namespace

std::vector<CpuState> cpu_states() {
  const std::vector<Sample> samples = read_all();
  std::vector<CpuState> states;
  for (const Sample& sample : samples) states.push_back(state_of(sample, samples));
  return states;
}

std::string find_deadlock() { return deadlock_in(read_all()); }

bool all_stuck(uint32_t threads) {
  const std::vector<Sample> samples = read_all();
  return threads != 0 && samples.size() == threads &&
         std::all_of(samples.begin(), samples.end(),
                     [&](const Sample& sample) { return needs_another(sample, samples); }) &&
         std::all_of(samples.begin(), samples.end(), unchanged);
}

std::string describe_stuck() {
  const std::vector<Sample> samples = read_all();
  std::string text = deadlock_in(samples);
  if (!text.empty()) text = "deadlock: " + text + "\n";
  for (const Sample& sample : samples) {
    const CpuState state = state_of(sample, samples);
    text += "cpu " + std::to_string(state.cpu) + " ";
    if (state.waiting) {
      text += describe_wait(sample);
      if (state.owner) text += ", blocked by cpu " + std::to_string(*state.owner);
      text += ", for " + std::to_string(state.waiting_ns / 1'000'000) + " ms at " +
              to_string(state.where) + "\n";
    } else {
      text += "runs\n";
    }
    for (const HeldLockState& held : state.holds) {
      text += "  holds " + held.lock + " since " + to_string(held.where) + "\n";
    }
  }
  return text;
}

#else  // not HATCHECK_OBSERVE

std::vector<CpuState> cpu_states() { return {}; }
std::string find_deadlock() { return {}; }
bool all_stuck(uint32_t) { return false; }
std::string describe_stuck() { return {}; }

#endif

}  // namespace hatcheck::inline HATCHECK_BACKEND
