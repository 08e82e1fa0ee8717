#include "platform/threads/cpu.h"

#include <atomic>
#include <functional>
#include <string>

#include "platform/threads/lock_stats.h"
#include "platform/threads/random_stream.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

Cpu g_cpus[kMaxCpus];

// Who is on each CPU. Acquire and release hand the entry from one thread to the next.
constinit std::atomic<bool> g_taken[kMaxCpus];

constinit std::atomic<CpuId> g_limit{0};

thread_local constinit Cpu t_unbound;

}  // namespace

thread_local constinit Cpu* Cpu::current_ = nullptr;

Cpu& Cpu::attach_unbound() {
  current_ = &t_unbound;
  return t_unbound;
}

Cpu& Cpu::at(CpuId id) { return g_cpus[id]; }

CpuId Cpu::limit() { return g_limit.load(std::memory_order_acquire); }

std::string Cpu::describe(const Cpu* cpu) {
  const std::less<const Cpu*> before;
  if (before(cpu, g_cpus) || !before(cpu, g_cpus + kMaxCpus)) return "a thread on no cpu";
  return "cpu " + std::to_string(cpu - g_cpus);
}

void Cpu::bind(CpuId id, RandomStream* random, Where where) {
  Cpu& before = current();
  if (before.bound()) {
    panic("cpu " + std::to_string(id) + " cannot be bound: this thread is on cpu " +
              std::to_string(before.id()),
          where);
  }
  // Its locks know the owner by the entry that is about to be left.
  if (before.held_count() != 0) {
    panic("cpu " + std::to_string(id) + " cannot be bound by a thread that holds locks", where);
  }
  if (id >= kMaxCpus) {
    panic("cpu " + std::to_string(id) + " is out of range: there are " + std::to_string(kMaxCpus) +
              " CPUs",
          where);
  }
  if (g_taken[id].exchange(true, std::memory_order_acquire)) {
    panic("cpu " + std::to_string(id) + " already runs another thread", where);
  }
  CpuId limit = g_limit.load(std::memory_order_relaxed);
  while (limit <= id && !g_limit.compare_exchange_weak(limit, id + 1)) {
  }
  Cpu& cpu = g_cpus[id];
  cpu.id_.set(id);
  cpu.random_ = random;
#ifdef HATCHECK_OBSERVE
  cpu.lock_acquisitions.set(0);
  cpu.cas_operations.set(0);
  cpu.rmw_operations.set(0);
#endif
  cpu.bound_.set(true);
  current_ = &cpu;
}

void Cpu::unbind() {
  Cpu& cpu = current();
  if (cpu.held_count() != 0) {
    const HeldLock& held = cpu.held(cpu.held_count() - 1);
    const LockId id = held.id.get();
    fail(Kind::kHeldAtThreadEnd,
         lock_name(id.lock_class, id.instance) + " is held at the end of its thread",
         held.where.get());
  }
  cpu.bound_.set(false);
  cpu.random_ = nullptr;
  current_ = nullptr;
  g_taken[cpu.id()].store(false, std::memory_order_release);
}

RandomStream& Cpu::random() {
  if (random_ != nullptr) return *random_;
  thread_local RandomStream t_unbound_random({0x68617463, 0x6865636b});
  return t_unbound_random;
}

bool Cpu::released(const void* lock) {
  const uint32_t n = held_count_.get();
  for (uint32_t i = n; i-- > 0;) {
    if (held_[i].id.lock() != lock) continue;
    change_begin();
    // Mostly the newest is released first and nothing moves.
    for (uint32_t j = i; j + 1 < n; ++j) {
      held_[j].id.set(held_[j + 1].id.get());
      held_[j].where.set(held_[j + 1].where.get());
#ifdef HATCHECK_OBSERVE
      held_[j].since.set(held_[j + 1].since.get());
      held_[j].by_try.set(held_[j + 1].by_try.get());
#endif
    }
    held_count_.set(n - 1);
    change_end();
    return true;
  }
  return false;
}

const HeldLock* Cpu::find(const void* lock) const {
  for (uint32_t i = held_count_.get(); i-- > 0;) {
    if (held_[i].id.lock() == lock) return &held_[i];
  }
  return nullptr;
}

std::string Cpu::describe_held() const {
  std::string text;
  for (uint32_t i = 0; i < held_count_.get(); ++i) {
    const LockId id = held_[i].id.get();
    text += "  holds " + lock_name(id.lock_class, id.instance);
    if (id.mode == LockMode::kReader) text += " as a reader";
    if (id.mode == LockMode::kWriter) text += " as the writer";
    text += " since " + to_string(held_[i].where.get()) + "\n";
  }
  return text;
}

void Cpu::too_many_locks(const LockId& id, const Where& where) {
  panic("more than " + std::to_string(kMaxHeldLocks) + " locks held by one thread at " +
            lock_name(id.lock_class, id.instance),
        where);
}

#ifdef HATCHECK_OBSERVE
void Cpu::wait_begin(const LockId& id, const char* condvar, const void* condvar_id,
                     const Where& where) {
  change_begin();
  wait_.id.set(id);
  wait_.signalled.set(false);
  wait_.condvar_id.set(condvar_id);
  wait_.condvar.set(condvar);
  wait_.where.set(where);
  wait_.since.set(stats_ticks());
  change_end();
}

void Cpu::wait_end() {
  change_begin();
  wait_.id.set(LockId{});
  wait_.condvar.set(nullptr);
  wait_.condvar_id.set(nullptr);
  change_end();
}
#endif

}  // namespace hatcheck::inline HATCHECK_BACKEND
