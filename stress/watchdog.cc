#include "stress/watchdog.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "platform/observe.h"
#include "stress/signals.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A longer pause between two looks means that the watchdog was not run.
constexpr absl::Duration kLongestStep = absl::Seconds(1);
constexpr absl::Duration kDeadlockSearch = absl::Milliseconds(500);

// Where the sleepers among these CPUs sleep; nothing if one of them does not.
std::vector<std::string> all_sleeping(const std::vector<size_t>& cpus) {
  std::vector<std::string> where;
  const std::vector<CpuState> states = cpu_states();
  for (const size_t cpu : cpus) {
    const auto state = std::find_if(states.begin(), states.end(),
                                    [cpu](const CpuState& s) { return s.cpu == cpu; });
    if (state == states.end() || state->condvar.empty()) return {};
    where.push_back(absl::StrCat("cpu ", cpu, " sleeps on '", state->condvar, "' at ",
                                 to_string(state->where)));
  }
  return where;
}

}  // namespace

Watchdog::Watchdog(std::vector<const Pulse*> pulses, absl::Duration limit,
                   std::function<std::string(size_t)> name)
    : pulses_(std::move(pulses)), limit_(limit), name_(std::move(name)), seen_(pulses_.size()) {}

std::optional<Stuck> Watchdog::look(absl::Duration now, absl::Duration had) {
  if (last_look_) {
    absl::Duration passed = std::clamp(now - *last_look_, absl::ZeroDuration(), kLongestStep);
    // Who is in want of a processor gets one now and then, so this little is nobody's want.
    const absl::Duration used = had - last_had_;
    if (used > passed / 20) passed = std::min(passed, used);
    watched_ += passed;
  }
  last_look_ = now;
  last_had_ = had;
  if (watched_ >= next_deadlock_search_) {
    next_deadlock_search_ = watched_ + kDeadlockSearch;
    const std::string cycle = find_deadlock();
    if (!cycle.empty()) return Stuck{Kind::kDeadlock, cycle};
  }
  std::vector<size_t> late;
  size_t busy = 0;
  absl::Duration longest;
  for (size_t i = 0; i < pulses_.size(); ++i) {
    const uint64_t beats = pulses_[i]->beats();
    Seen& seen = seen_[i];
    const bool idle = beats % 2 == 0;
    if (beats != seen.beats || idle) seen = {beats, watched_};
    busy += idle ? 0 : 1;
    if (watched_ - seen.since >= limit_) late.push_back(i);
    longest = std::max(longest, watched_ - seen.since);
  }
  if (late.empty()) return std::nullopt;
  // Others may be in an operation for this moment only: a few more looks tell.
  if (late.size() < busy && longest < limit_ * 1.25) return std::nullopt;
  return judge(late, busy);
}

Stuck Watchdog::judge(const std::vector<size_t>& late, size_t busy) const {
  constexpr size_t kNamed = 4;
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(late.size(), kNamed); ++i) names.push_back(name_(late[i]));
  if (late.size() > kNamed) names.push_back(absl::StrCat(late.size() - kNamed, " more"));
  const std::string who = absl::StrJoin(names, ", ");
  const std::string how_long = absl::FormatDuration(limit_);
  if (late.size() < busy) {
    return {Kind::kNoProgress, absl::StrCat("stuck: ", who, " in one operation for ", how_long,
                                            " while others go on")};
  }
  const std::vector<std::string> sleeping = all_sleeping(late);
  if (!sleeping.empty()) {
    return {Kind::kLostWakeup, absl::StrCat("stuck: no operation has ended for ", how_long,
                                            ", and all sleep: ", absl::StrJoin(sleeping, ", "))};
  }
  return {Kind::kNoProgress,
          absl::StrCat("stuck: no operation has ended for ", how_long, ": ", who)};
}

absl::Duration processor_time(uint32_t threads) {
  timespec used = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  const uint32_t processors = std::max(1u, std::min(threads, std::thread::hardware_concurrency()));
  return absl::DurationFromTimespec(used) / processors;
}

TimeLimit::TimeLimit(std::string what, absl::Duration limit) {
  // A clock cannot count to the end of time.
  limit = std::min(limit, absl::Hours(24 * 365));
  const InterruptsBlocked for_the_new_thread;
  thread_ = std::thread([this, what = std::move(what), limit] {
    std::unique_lock lock(mutex_);
    if (!done_cv_.wait_for(lock, absl::ToChronoMilliseconds(limit), [this] { return done_; })) {
      fail(Kind::kNoProgress, absl::StrCat("stuck: ", what, " has taken ",
                                           absl::FormatDuration(limit), " and goes on"));
    }
  });
}

TimeLimit::~TimeLimit() {
  {
    const std::unique_lock lock(mutex_);
    done_ = true;
  }
  done_cv_.notify_all();
  thread_.join();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
