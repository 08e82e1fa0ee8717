// Threads that cannot go on, and how their state is shown.
#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "platform/relacy/engine.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

constexpr ThreadSet only(size_t thread) { return ThreadSet{1} << thread; }

std::string name_of(const LockState& lock) { return lock_name(lock.lock_class, lock.instance); }

const char* suffix(LockMode mode) {
  switch (mode) {
    case LockMode::kMutex:
      return "";
    case LockMode::kReader:
      return " as a reader";
    case LockMode::kWriter:
      return " as the writer";
  }
  return "";
}

}  // namespace

// Those that keep a thread from going on.
ThreadSet Engine::blockers(size_t thread) const {
  const Thread& t = threads_[thread];
  if (t.finished || t.lock == nullptr || can_go_on(t)) return 0;
  if (t.wait != Wait::kMutex && t.wait != Wait::kReader && t.wait != Wait::kWriter) return 0;
  ThreadSet set = t.lock->readers;
  if (t.lock->writer >= 0) set |= only(static_cast<size_t>(t.lock->writer));
  if (t.wait == Wait::kReader) set |= t.lock->writers_waiting;
  return set & ~only(thread);
}

std::string Engine::find_cycle() const {
  for (size_t start = 0; start < static_cast<size_t>(scenario_.threads); ++start) {
    // Depth first along the blockers; with so few threads, all paths without repetition.
    std::vector<std::vector<size_t>> paths{{start}};
    while (!paths.empty()) {
      const std::vector<size_t> path = paths.back();
      paths.pop_back();
      for (ThreadSet rest = blockers(path.back()); rest != 0; rest &= rest - 1) {
        const auto next = static_cast<size_t>(std::countr_zero(rest));
        if (next == start) {
          std::string text;
          for (size_t i = 0; i < path.size(); ++i) {
            absl::StrAppend(&text, i == 0 ? "" : ", ", "cpu ", path[i], " waits for ",
                            name_of(*threads_[path[i]].lock), " held by cpu ",
                            path[(i + 1) % path.size()]);
          }
          return text;
        }
        if (std::find(path.begin(), path.end(), next) != path.end()) continue;
        paths.push_back(path);
        paths.back().push_back(next);
      }
    }
  }
  return {};
}

void Engine::stuck() {
  const std::string cycle = find_cycle();
  if (!cycle.empty()) violated(Kind::kDeadlock, cycle, me().where);
  for (int i = 0; i < scenario_.threads; ++i) {
    const Thread& thread = threads_[static_cast<size_t>(i)];
    if (!thread.finished && thread.wait == Wait::kSleep) {
      violated(Kind::kLostWakeup,
               absl::StrCat("cpu ", i, " sleeps on condition variable '", thread.condvar,
                            "' and nobody is left to wake it"),
               thread.where);
    }
  }
  violated(Kind::kDeadlock, "nobody can go on", me().where);
}

std::string Engine::describe_threads() const {
  std::string text;
  for (int i = 0; i < scenario_.threads; ++i) {
    const Thread& thread = threads_[static_cast<size_t>(i)];
    absl::StrAppend(&text, "  cpu ", i);
    if (thread.finished) {
      absl::StrAppend(&text, " has ended");
    } else if (thread.wait == Wait::kSleep) {
      absl::StrAppend(&text, " sleeps on condition variable '", thread.condvar, "'");
    } else if (thread.wait == Wait::kYield) {
      absl::StrAppend(&text, " yields");
    } else if (thread.wait != Wait::kNo) {
      absl::StrAppend(&text, can_go_on(thread) ? " is about to enter " : " waits for ",
                      name_of(*thread.lock));
    } else {
      absl::StrAppend(&text, " runs");
    }
    if (!thread.finished && thread.where.line != 0) {
      absl::StrAppend(&text, " at ", to_string(thread.where));
    }
    absl::StrAppend(&text, "\n");
    for (const HeldLock& held : thread.held) {
      absl::StrAppend(&text, "    holds ", name_of(*held.lock), suffix(held.mode), " since ",
                      to_string(held.where), "\n");
    }
  }
  return text;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model
