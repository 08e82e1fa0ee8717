#include "stress/runner.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "platform/threads/run.h"
#include "stress/segmap_world.h"
#include "stress/signals.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr std::chrono::milliseconds kTick{50};
constexpr absl::Duration kShowEvery = absl::Milliseconds(250);
constexpr std::chrono::milliseconds kPageoutLook{2};
constexpr std::chrono::milliseconds kPageoutRest{64};
constexpr uint64_t kPageoutBatch = 64;

constexpr size_t kResults = 3;  // of OpResult

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// To be called by the only thread that writes the counter.
void add_one(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// The simulated hardware and the operations themselves are not what is tested.
std::vector<std::string> spared() {
  return {"machine/", "stress/op", "stress/oracle", "stress/world"};
}

const char* word(const OpLog::Entry& entry) {
  if (!entry.ended) return "(not ended)";
  switch (entry.result) {
    case OpResult::kDone:
      return "done";
    case OpResult::kNothingToDo:
      return "nothing to do";
    case OpResult::kRetry:
      return "gave way";
  }
  return "?";
}

AuditCounts larger(const AuditCounts& a, const AuditCounts& b) {
  AuditCounts most;
  most.hats = std::max(a.hats, b.hats);
  most.tables = std::max(a.tables, b.tables);
  most.mappings = std::max(a.mappings, b.mappings);
  most.embedded = std::max(a.embedded, b.embedded);
  most.hments = std::max(a.hments, b.hments);
  most.pages = std::max(a.pages, b.pages);
  most.tlb_entries = std::max(a.tlb_entries, b.tlb_entries);
  most.longest_list = std::max(a.longest_list, b.longest_list);
  return most;
}

}  // namespace

// What belongs to one thread. The atomics are written by it alone.
struct alignas(64) Runner::Thread {
  Thread(const Workload& workload, uint64_t seed, CpuId cpu)
      : stream(workload, seed, cpu), counts(op_table().size() * kResults) {
    worker.cpu = cpu;
  }

  OpStream stream;
  Worker worker;
  OpLog log;
  Pulse pulse;
  std::vector<std::atomic<uint64_t>> counts;  // by operation and result
  std::thread thread;
};

Runner::Runner(const Options& options, const Workload& workload, System& sys, World& world)
    : options_(options),
      workload_(workload),
      sys_(sys),
      world_(world),
      checkpoint_(options.threads) {
  std::vector<const Pulse*> pulses;
  for (CpuId cpu = 0; cpu <= options_.threads; ++cpu) {
    threads_.push_back(std::make_unique<Thread>(workload_, options_.seed, cpu));
    pulses.push_back(&threads_.back()->pulse);
  }
  watchdog_ = std::make_unique<Watchdog>(pulses, options_.stuck_after, [this](size_t i) {
    const CpuId cpu = static_cast<CpuId>(i);
    return absl::StrFormat("cpu %d, %s", cpu, current_operation(cpu));
  });
}

Runner::~Runner() = default;

// ---- Workers.

void Runner::work(Thread& thread) {
  const CpuBinding binding(thread.worker.cpu, options_.seed);
  const Pauses pauses(options_.pause_rate, options_.seed, spared());
  Worker& worker = thread.worker;
  const auto in_the_way = [&worker] {
    return worker.home != nullptr && worker.home->closing.load(std::memory_order_relaxed);
  };
  for (uint64_t n = 0; options_.ops == 0 || n < options_.ops; ++n) {
    if (checkpoint_.wanted()) {
      checkpoint_.park(in_the_way, [this, &worker] { world_.leave(worker); });
    }
    if (stop_.load(std::memory_order_relaxed)) break;
    perform(thread);
  }
  world_.leave(worker);
  checkpoint_.worker_ends();
}

void Runner::perform(Thread& thread) {
  const Draw draw = thread.stream.next();
  thread.pulse.begin();
  thread.log.begin(draw);
  const OpResult result = op_table()[draw.op].run(world_, thread.worker, draw);
  thread.log.end(result);
  if (Cpu::current().held_count() != 0) {
    panic(absl::StrCat("locks are held after ", to_string(draw), ":\n",
                       Cpu::current().describe_held()));
  }
  add_one(thread.counts[draw.op * kResults + static_cast<size_t>(result)]);
  world_.leave_if_closing(thread.worker);
  thread.pulse.end();
}

// ---- The pageout thread.

void Runner::page_out() {
  Thread& self = *threads_.back();
  const CpuBinding binding(self.worker.cpu, options_.seed);
  const Pauses pauses(options_.pause_rate, options_.seed, spared());
  const NoMemWait may_use_the_last_page(sys_.vm);
  const int64_t wanted_free = std::max<int64_t>(64, static_cast<int64_t>(sys_.vm.npages / 16));
  std::chrono::milliseconds pause = kPageoutLook;
  while (checkpoint_.pageout_waits(pause)) {
    self.pulse.begin();
    std::chrono::milliseconds next = kPageoutLook;
    if (freemem(sys_.vm) < wanted_free ||
        sys_.vm.freemem_waiters.load(std::memory_order_relaxed) > 0) {
      const uint64_t freed = world_.pageout(kPageoutBatch);
      paged_out_.fetch_add(freed, std::memory_order_relaxed);
      // As long as it helps, go on at once; if all pages are in use, leave their users some time,
      // and do not look busy if they all sleep.
      next = freed > 0 ? std::chrono::milliseconds{0}
                       : std::clamp(2 * pause, kPageoutLook, kPageoutRest);
    }
    pause = next;
    self.pulse.end();
  }
}

// ---- The coordinator.

absl::Duration Runner::elapsed() const {
  const int64_t started = started_ns_.load(std::memory_order_relaxed);
  if (started == 0) return absl::ZeroDuration();
  const int64_t ended = ended_ns_.load(std::memory_order_relaxed);
  return absl::Nanoseconds((ended != 0 ? ended : now_ns()) - started);
}

Progress Runner::progress() const {
  Progress p;
  p.elapsed = elapsed();
  p.left = std::max(options_.duration - p.elapsed, absl::ZeroDuration());
  p.share_done = absl::FDivDuration(p.elapsed, options_.duration);
  for (size_t i = 0; i + 1 < threads_.size(); ++i) {
    p.operations += threads_[i]->pulse.operations();
  }
  if (options_.ops != 0) {
    const double planned = static_cast<double>(options_.ops) * options_.threads;
    p.share_done = std::max(p.share_done, static_cast<double>(p.operations) / planned);
  }
  p.share_done = std::min(p.share_done, 1.0);
  const HatStatTotals stats = sys_.hatstat.sum();
  p.steals = stats.hs_steals + stats.hs_hm_steals;
  p.shootdowns = stats.hs_shootdowns;
  const std::unique_lock lock(audits_mutex_);
  p.audits = audits_.count;
  return p;
}

// What the coordinator does while it waits for others: reports who is stuck, shows progress, hears
// of a stop.
void Runner::look_after_all() {
  const absl::Duration now = elapsed();
  // First: what gets stuck may do so for that reason.
  check_lock_order(/*all=*/false);
  if (const std::optional<Stuck> stuck = watchdog_->look(now, processor_time(options_.threads))) {
    fail(stuck->kind, stuck->message);
  }
  if (world_.segmap != nullptr) {
    const std::optional<std::string> sleepers = world_.segmap->look_for_sleepers(now);
    if (sleepers) fail(Kind::kLostWakeup, *sleepers);
  }
  if (show_ != nullptr && now >= next_show_) {
    next_show_ = now + kShowEvery;
    show_(progress());
  }
  if (!stopping_) {
    interrupted_ = stop_wanted_ != nullptr && stop_wanted_();
    stopping_ = interrupted_ || now >= options_.duration;
  }
}

// Of the orders seen so far: those that were seen from both sides, or all.
void Runner::check_lock_order(bool all) {
  if (!lock_order().inverted()) return;
  const std::optional<Inversion> found = lock_order().inversion();
  if (found && (all || found->both)) fail(Kind::kLockOrder, found->message, found->where);
}

void Runner::audit(const char* when) {
  AuditCounts counts;
  absl::Status status = hat_audit(sys_, {}, &counts);
  if (status.ok()) status = world_.compare();
  if (!status.ok()) {
    audit_failed_.store(true, std::memory_order_release);
    panic(absl::StrCat("audit ", when, ": ", status.message()));
  }
  check_lock_order(/*all=*/true);
  const std::unique_lock lock(audits_mutex_);
  ++audits_.count;
  audits_.last = counts;
  audits_.most = larger(audits_.most, counts);
}

void Runner::audit_workers() {
  const absl::Duration start = elapsed();
  checkpoint_.request();
  while (!checkpoint_.wait_parked(kTick)) look_after_all();
  audit("during the run");
  // Who is to stop is told while it is parked, so that the last audit has seen the final state of a
  // run that was not asked to leave its processes yet.
  stop_.store(stopping_, std::memory_order_relaxed);
  checkpoint_.resume();
  const std::unique_lock lock(audits_mutex_);
  audits_.time += elapsed() - start;
}

void Runner::wait_for_workers() {
  absl::Duration next_audit = options_.audit_interval;
  while (!checkpoint_.wait_ended(kTick)) {
    look_after_all();
    const bool due = stopping_ || elapsed() >= next_audit;
    if (!due || stop_.load(std::memory_order_relaxed)) continue;
    audit_workers();
    // An interval of running in between, however long the audit took.
    next_audit = elapsed() + options_.audit_interval;
  }
}

RunResult Runner::run() {
  HAT_ASSERT(started_ns_.load(std::memory_order_relaxed) == 0, "a Runner runs once");
  reset();  // lock statistics: set-up is not part of the run
  started_ns_.store(now_ns(), std::memory_order_relaxed);
  {
    const InterruptsBlocked for_the_new_threads;
    threads_.back()->thread = std::thread([this] { page_out(); });
    for (size_t i = 0; i + 1 < threads_.size(); ++i) {
      threads_[i]->thread = std::thread([this, i] { work(*threads_[i]); });
    }
  }
  wait_for_workers();
  ended_ns_.store(now_ns(), std::memory_order_relaxed);
  checkpoint_.finish();
  for (auto& thread : threads_) thread->thread.join();
  audit("at the end");  // of empty TLBs: everybody has left
  return totals();
}

// ---- Results.

RunResult Runner::so_far() const {
  RunResult r;
  r.elapsed = elapsed();
  const auto ops = op_table();
  for (size_t op = 0; op < ops.size(); ++op) {
    OpTotals t{.name = ops[op].name};
    for (size_t i = 0; i + 1 < threads_.size(); ++i) {
      const auto count = [&](OpResult result) {
        return threads_[i]->counts[op * kResults + static_cast<size_t>(result)].load(
            std::memory_order_relaxed);
      };
      t.done += count(OpResult::kDone);
      t.nothing += count(OpResult::kNothingToDo);
      t.retries += count(OpResult::kRetry);
    }
    r.operations += t.total();
    if (t.total() > 0) r.ops.push_back(t);
  }
  r.hatstat = sys_.hatstat.sum();
  r.locks = snapshot();
  r.lock_edges = lock_order().edges();
  r.paged_out = paged_out_.load(std::memory_order_relaxed);
  const std::unique_lock lock(audits_mutex_);
  r.audits = audits_;
  return r;
}

// Nobody else runs any more.
RunResult Runner::totals() const {
  RunResult r = so_far();
  r.interrupted = interrupted_;
  r.complete = true;
  r.machine = sys_.machine.stats();
  r.memory.pages = static_cast<int64_t>(sys_.vm.npages);
  r.memory.freemem = freemem(sys_.vm);
  r.memory.availrmem = availrmem(sys_.vm);
  r.memory.page_tables = sys_.active_ptables.load(std::memory_order_relaxed);
  r.memory.htables_in_reserve = sys_.htable_reserve.count.load(std::memory_order_relaxed);
  r.memory.hments_in_reserve = sys_.hment_reserve.count.load(std::memory_order_relaxed);
  return r;
}

std::string Runner::current_operation(CpuId cpu) const {
  if (cpu == options_.threads) return "pageout thread";
  if (cpu > options_.threads) return "no thread";
  const Thread& thread = *threads_[cpu];
  const std::vector<OpLog::Entry> entries = thread.log.entries();
  if (entries.empty()) return "no operation yet";
  const OpLog::Entry& last = entries.back();
  return absl::StrFormat("%s (#%d, %s)", to_string(last.draw), last.number, word(last));
}

std::string Runner::recent_operations() const {
  std::string text;
  for (CpuId cpu = 0; cpu < options_.threads; ++cpu) {
    for (const OpLog::Entry& entry : threads_[cpu]->log.entries()) {
      absl::StrAppendFormat(&text, "cpu %d #%d %s  %s\n", cpu, entry.number, to_string(entry.draw),
                            word(entry));
    }
  }
  return text;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
