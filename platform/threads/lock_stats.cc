// Statistics per lock class, sharded by CPU; the reading side of them is in observe.h.
#include "platform/threads/lock_stats.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>

#include "platform/observe.h"

namespace hatcheck::inline HATCHECK_BACKEND {

uint64_t percentile_ns(const TimeHistogram& histogram, double share) {
  uint64_t total = 0;
  for (uint64_t count : histogram) total += count;
  if (total == 0) return 0;
  const double wanted = std::max(1.0, std::ceil(share * static_cast<double>(total)));
  uint64_t seen = 0;
  size_t bucket = 0;
  for (; bucket + 1 < histogram.size(); ++bucket) {
    seen += histogram[bucket];
    if (static_cast<double>(seen) >= wanted) break;
  }
  return (uint64_t{2} << bucket) - 1;
}

LockOrder& lock_order() {
  // Leaked on purpose: locks may be taken while static objects are destroyed.
  static LockOrder* const order = new LockOrder;
  return *order;
}

#ifdef HATCHECK_OBSERVE

namespace {

constinit std::atomic<bool> g_records_lock_order{true};

using Counter = std::atomic<uint64_t>;

struct ClassCounters {
  Counter acquisitions{0};
  Counter contended{0};
  Counter failed_tryenters{0};
  Counter wait_ns{0};
  Counter hold_ns{0};
  Counter wait_times[std::tuple_size_v<TimeHistogram>] = {};
  Counter hold_times[std::tuple_size_v<TimeHistogram>] = {};
};

// One per CPU, so that counting causes no traffic between CPUs; the last one for unbound threads.
struct alignas(64) Shard {
  ClassCounters classes[kMaxLockClasses];
};

constinit Shard g_shards[kMaxCpus + 1] = {};
constinit std::atomic<const LockClass*> g_classes[kMaxLockClasses] = {};

// reset() moves the zero line instead of writing to counters that other threads count in.
std::mutex g_baseline_mutex;
std::array<LockClassReport, kMaxLockClasses> g_baseline;

ClassCounters& counters(const Cpu& cpu, const LockClass* lock_class) {
  return g_shards[cpu.bound() ? cpu.id() : kMaxCpus].classes[lock_class->place];
}

void add(const Cpu& cpu, Counter& counter, uint64_t amount) {
  if (cpu.bound()) {
    // The only writer, so no locked instruction.
    counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  } else {
    counter.fetch_add(amount, std::memory_order_relaxed);
  }
}

void add_time(const Cpu& cpu, Counter (&times)[std::tuple_size_v<TimeHistogram>], uint64_t ns) {
  const size_t bucket = ns == 0 ? 0 : std::bit_width(ns) - 1;
  add(cpu, times[std::min(bucket, std::size(times) - 1)], 1);
}

uint64_t clock_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

#ifdef __x86_64__
uint64_t raw_ticks() { return __builtin_ia32_rdtsc(); }

// Nanoseconds per tick of the CPU's clock, from a millisecond of comparison at start-up.
double calibrate() {
  const uint64_t ns_start = clock_ns();
  const uint64_t ticks_start = raw_ticks();
  uint64_t ns = 0;
  do {
    ns = clock_ns() - ns_start;
  } while (ns < 1'000'000);
  return static_cast<double>(ns) / static_cast<double>(raw_ticks() - ticks_start);
}
#else
uint64_t raw_ticks() { return clock_ns(); }
double calibrate() { return 1.0; }
#endif

const double g_ns_per_tick = calibrate();

LockClassReport read_class(int place) {
  LockClassReport report;
  const LockClass* lock_class = g_classes[place].load(std::memory_order_acquire);
  if (lock_class == nullptr) return report;
  report.name = lock_class->name;
  report.place = place;
  for (const Shard& shard : g_shards) {
    const ClassCounters& from = shard.classes[place];
    report.acquisitions += from.acquisitions.load(std::memory_order_relaxed);
    report.contended += from.contended.load(std::memory_order_relaxed);
    report.failed_tryenters += from.failed_tryenters.load(std::memory_order_relaxed);
    report.wait_ns += from.wait_ns.load(std::memory_order_relaxed);
    report.hold_ns += from.hold_ns.load(std::memory_order_relaxed);
    for (size_t i = 0; i < report.wait_times.size(); ++i) {
      report.wait_times[i] += from.wait_times[i].load(std::memory_order_relaxed);
      report.hold_times[i] += from.hold_times[i].load(std::memory_order_relaxed);
    }
  }
  return report;
}

void subtract(LockClassReport& report, const LockClassReport& baseline) {
  report.acquisitions -= baseline.acquisitions;
  report.contended -= baseline.contended;
  report.failed_tryenters -= baseline.failed_tryenters;
  report.wait_ns -= baseline.wait_ns;
  report.hold_ns -= baseline.hold_ns;
  for (size_t i = 0; i < report.wait_times.size(); ++i) {
    report.wait_times[i] -= baseline.wait_times[i];
    report.hold_times[i] -= baseline.hold_times[i];
  }
}

}  // namespace

void stats_register(const LockClass& lock_class) {
  if (lock_class.place < 0 || lock_class.place >= kMaxLockClasses) {
    panic(std::string("lock class ") + lock_class.name + " has place " +
          std::to_string(lock_class.place) + ", which is not in 0 to 63");
  }
  std::atomic<const LockClass*>& slot = g_classes[lock_class.place];
  const LockClass* known = slot.load(std::memory_order_acquire);
  if (known == &lock_class) return;
  if (known == nullptr && slot.compare_exchange_strong(known, &lock_class)) return;
  if (std::strcmp(known->name, lock_class.name) != 0) {
    panic(std::string("lock classes ") + known->name + " and " + lock_class.name +
          " both have place " + std::to_string(lock_class.place));
  }
}

uint64_t stats_ticks() { return raw_ticks(); }

uint64_t stats_to_ns(uint64_t ticks) {
  return static_cast<uint64_t>(static_cast<double>(ticks) * g_ns_per_tick);
}

void stats_wait_begin(Cpu& cpu, const LockId& id, const Where& where) {
  cpu.wait_begin(id, nullptr, nullptr, where);
}

void stats_sleep_begin(Cpu& cpu, const LockId& id, const char* name, const void* condvar,
                       const Where& where) {
  cpu.wait_begin(id, name, condvar, where);
}

void stats_signalled(const void* condvar) {
  for (CpuId id = 0; id < Cpu::limit(); ++id) Cpu::at(id).mark_signalled(condvar);
}

void stats_wait_end(Cpu& cpu) { cpu.wait_end(); }

void record_lock_order(bool on) { g_records_lock_order.store(on, std::memory_order_relaxed); }

void stats_taking(const Cpu& cpu, const LockId& id, bool by_try, const Where& where) {
  const uint32_t count = cpu.held_count();
  if (count == 0 || !g_records_lock_order.load(std::memory_order_relaxed)) return;
  const auto held = [&cpu](uint32_t i) {
    const HeldLock& lock = cpu.held(i);
    const LockId id = lock.id.get();
    return LockUse{id.lock_class, id.instance, lock.by_try.get(), lock.where.get()};
  };
  lock_order().taking(count, held, LockUse{id.lock_class, id.instance, by_try, where}, cpu.id());
}

void stats_acquired(Cpu& cpu, const LockId& id, bool contended, uint64_t wait_ticks) {
  Cpu::count(cpu.lock_acquisitions);
  ClassCounters& to = counters(cpu, id.lock_class);
  add(cpu, to.acquisitions, 1);
  if (contended) {
    const uint64_t ns = stats_to_ns(wait_ticks);
    add(cpu, to.contended, 1);
    add(cpu, to.wait_ns, ns);
    add_time(cpu, to.wait_times, ns);
  }
  cpu.held_since(raw_ticks());
}

void stats_acquired_by_try(Cpu& cpu, const LockId& id) {
  stats_acquired(cpu, id, false, 0);
  cpu.held_by_try();
}

void stats_releasing(Cpu& cpu, const LockId& id) {
  const uint64_t since = cpu.find(id.lock)->since.get();
  const uint64_t now = raw_ticks();
  // A hair backwards is possible when the operating system moves the thread.
  const uint64_t ns = stats_to_ns(now - std::min(now, since));
  ClassCounters& to = counters(cpu, id.lock_class);
  add(cpu, to.hold_ns, ns);
  add_time(cpu, to.hold_times, ns);
}

void stats_failed_tryenter(Cpu& cpu, const LockId& id) {
  add(cpu, counters(cpu, id.lock_class).failed_tryenters, 1);
}

void stats_cas() { Cpu::count(Cpu::current().cas_operations); }

void stats_rmw() { Cpu::count(Cpu::current().rmw_operations); }

LockReport snapshot() {
  const std::lock_guard<std::mutex> guard(g_baseline_mutex);
  LockReport reports;
  for (int place = 0; place < kMaxLockClasses; ++place) {
    LockClassReport report = read_class(place);
    subtract(report, g_baseline[place]);
    if (report.acquisitions != 0 || report.failed_tryenters != 0) reports.push_back(report);
  }
  return reports;
}

void reset() {
  const std::lock_guard<std::mutex> guard(g_baseline_mutex);
  for (int place = 0; place < kMaxLockClasses; ++place) g_baseline[place] = read_class(place);
}

PathCounts path_counts() {
  const Cpu& cpu = Cpu::current();
  return PathCounts{cpu.lock_acquisitions.get(), cpu.cas_operations.get(),
                    cpu.rmw_operations.get()};
}

#else  // not HATCHECK_OBSERVE

LockReport snapshot() { return {}; }
void reset() {}
void record_lock_order(bool) {}
PathCounts path_counts() { return {}; }

#endif

}  // namespace hatcheck::inline HATCHECK_BACKEND
