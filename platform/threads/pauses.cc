#include "platform/threads/pauses.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "platform/check.h"
#include "platform/threads/cpu.h"
#include "platform/threads/lock_stats.h"

namespace hatcheck::inline HATCHECK_BACKEND {

thread_local constinit Pauses* Pauses::current_ = nullptr;
constinit Pauses::Watch Pauses::watches_[kWatches];

#ifdef HATCHECK_OBSERVE

namespace {

uint64_t ticks_per_second() {
  // stats_to_ns is linear.
  constexpr uint64_t kTicks = 1'000'000'000'000;
  return static_cast<uint64_t>(static_cast<double>(kTicks) /
                               (static_cast<double>(stats_to_ns(kTicks)) / 1e9));
}

}  // namespace

Pauses::Pauses(uint32_t per_second, uint64_t seed, std::vector<std::string> spared)
    : ticks_between_(per_second == 0 ? 0 : ticks_per_second() / per_second),
      spared_(std::move(spared)),
      random_(seed * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u * (this_cpu() + 1)),
      sites_(per_second == 0 ? nullptr : std::make_unique<Site[]>(kSites)) {
  if (per_second != 0) current_ = this;
}

Pauses::~Pauses() {
  if (current_ == this) current_ = nullptr;
}

void Pauses::pause_at(const Where& where, const void* field, FieldAccess access) {
  if (!take_turn(site_of(where), where)) return;
  if (field == nullptr) {
    pause();
    return;
  }
  Watch& watch = watch_of(field);
  uint64_t free = 0;
  if (!watch.field.compare_exchange_strong(free, kBusy, std::memory_order_acquire)) {
    pause();  // somebody else watches a field of the same slot
    return;
  }
  watch.file.store(where.file, std::memory_order_relaxed);
  watch.function.store(where.function, std::memory_order_relaxed);
  watch.line.store(where.line, std::memory_order_relaxed);
  watch.cpu.store(this_cpu(), std::memory_order_relaxed);
  uint64_t mine =
      reinterpret_cast<uintptr_t>(field) | (access == FieldAccess::kWrite ? kWrites : 0);
  watch.field.store(mine, std::memory_order_release);
  pause();
  if (watch.field.compare_exchange_strong(mine, 0, std::memory_order_release)) return;
  // Somebody was caught, and reports it. The access would only disturb.
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void Pauses::look_at_watch(const void* field, FieldAccess access, const Where& where,
                           uint64_t watched) {
  if ((watched & ~kWrites) != reinterpret_cast<uintptr_t>(field)) return;
  const bool writes = access == FieldAccess::kWrite, other_writes = (watched & kWrites) != 0;
  if (!writes && !other_writes) return;
  Watch& watch = watch_of(field);
  if (!watch.field.compare_exchange_strong(watched, kBusy, std::memory_order_acquire)) return;
  const Where other{watch.file.load(std::memory_order_relaxed),
                    watch.function.load(std::memory_order_relaxed),
                    watch.line.load(std::memory_order_relaxed)};
  const auto what = [](bool write) { return std::string(write ? "writes" : "reads"); };
  fail(Kind::kDataRace,
       "this thread " + what(writes) + " a field that cpu " +
           std::to_string(watch.cpu.load(std::memory_order_relaxed)) + " " + what(other_writes) +
           " at the same time at " + to_string(other),
       where);
}

bool Pauses::take_turn(Site& site, const Where& where) {
  constexpr double kMostVisits = 1 << 24;
  const uint64_t now = stats_ticks();
  if (now < not_before_) return false;  // stays due
  const std::string_view file = where.file;
  for (const std::string& prefix : spared_) {
    if (!file.starts_with(prefix)) continue;
    site.left = std::numeric_limits<int32_t>::max();
    return false;
  }
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  not_before_ = now + (random_ >> 33) % (ticks_between_ + 1);
  double visits = 1;  // until the next time, on average
  if (site.paused == 0) {
    ++places_;
  } else {
    const double passed = static_cast<double>(std::max<uint64_t>(now - site.paused, 1));
    const double wanted = static_cast<double>(ticks_between_ * places_);
    visits = std::clamp((site.planned - site.left) * wanted / passed, 1.0, kMostVisits);
  }
  site.paused = now;
  site.planned = static_cast<int32_t>((random_ >> 21) % static_cast<uint64_t>(2 * visits));
  site.left = site.planned;
  return true;
}

void Pauses::pause() {
  // In microseconds; powers of two, so that short and long pauses both are frequent.
  constexpr uint64_t kShortest = 8, kDoublings = 9, kYields = 2;
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  const uint64_t drawn = (random_ >> 33) % (kDoublings + kYields);
  if (drawn < kDoublings) {
    std::this_thread::sleep_for(std::chrono::microseconds(kShortest << drawn));
  } else {
    sched_yield();  // others run for as long as the operating system lets them
  }
}

#else  // not HATCHECK_OBSERVE

Pauses::Pauses(uint32_t, uint64_t, std::vector<std::string>) : ticks_between_(0), random_(0) {}
Pauses::~Pauses() = default;

#endif

}  // namespace hatcheck::inline HATCHECK_BACKEND
