// Cpu: what one thread of the backend knows about itself. Which virtual CPU it is on, which locks
// it holds, its stream of random choices and, in the observed build, what it waits for.
//
// A bound thread (CpuBinding, run.h) uses the entry of its CPU in one global table; an unbound
// thread has a private entry that says CPU 0. The address of the entry is the identity that
// lock owners are compared by.
//
// Thread safety: an entry is written by its thread alone. In the observed build its fields are
// atomic, so that a watchdog can read them at any time; `epoch` is odd while a change is under way
// and grows with each, so a reader can tell that two reads saw the same state. In the plain build
// the fields are ordinary memory that nobody else reads.
#ifndef HATCHECK_PLATFORM_THREADS_CPU_H_
#define HATCHECK_PLATFORM_THREADS_CPU_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "platform/threads/backend.h"
// backend.h names the namespace that the others open.
#include "platform/check.h"
#include "platform/lock_class.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class RandomStream;

inline constexpr uint32_t kMaxCpus = 256;
inline constexpr uint32_t kMaxHeldLocks = 128;

#ifdef HATCHECK_OBSERVE
// A field that its thread writes and others may read. Release and acquire keep a field and the
// epoch written before it in order.
template <class T>
class Published {
 public:
  constexpr Published(T v = T{}) : value_(v) {}
  T get() const { return value_.load(std::memory_order_acquire); }
  void set(T v) { value_.store(v, std::memory_order_release); }

 private:
  std::atomic<T> value_;
};
#else
template <class T>
class Published {
 public:
  constexpr Published(T v = T{}) : value_(v) {}
  T get() const { return value_; }
  void set(T v) { value_ = v; }

 private:
  T value_;
};
#endif

class PublishedWhere {
 public:
  Where get() const {
    const char* file = file_.get();
    return file == nullptr ? Where{} : Where{file, function_.get(), line_.get()};
  }
  void set(const Where& where) {
    file_.set(where.file);
    function_.set(where.function);
    line_.set(where.line);
  }

 private:
  Published<const char*> file_{nullptr};  // all zero, so that the table of CPUs is in .bss
  Published<const char*> function_{nullptr};
  Published<int> line_{0};
};

enum class LockMode : uint8_t { kMutex, kReader, kWriter };

// Which lock, for a report. The address is only compared, never followed: the lock may be gone.
struct LockId {
  const void* lock = nullptr;
  const LockClass* lock_class = nullptr;
  uint32_t instance = 0;
  LockMode mode = LockMode::kMutex;
};

class PublishedLockId {
 public:
  LockId get() const { return LockId{lock_.get(), class_.get(), instance_.get(), mode_.get()}; }
  const void* lock() const { return lock_.get(); }
  LockMode mode() const { return mode_.get(); }
  void set(const LockId& id) {
    lock_.set(id.lock);
    class_.set(id.lock_class);
    instance_.set(id.instance);
    mode_.set(id.mode);
  }
  void set_mode(LockMode mode) { mode_.set(mode); }

 private:
  Published<const void*> lock_{nullptr};
  Published<const LockClass*> class_{nullptr};
  Published<uint32_t> instance_{0};
  Published<LockMode> mode_{LockMode::kMutex};
};

struct HeldLock {
  PublishedLockId id;
  PublishedWhere where;
#ifdef HATCHECK_OBSERVE
  Published<uint64_t> since{0};   // clock ticks at acquisition
  Published<bool> by_try{false};  // acquired by tryenter
#endif
};

class alignas(64) Cpu {
 public:
  constexpr Cpu() = default;
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  // The entry of the calling thread.
  static Cpu& current() {
    Cpu* cpu = current_;
    return cpu != nullptr ? *cpu : attach_unbound();
  }

  // The entry of a CPU. Precondition: id < kMaxCpus.
  static Cpu& at(CpuId id);

  // One more than the largest CPU that was ever bound.
  static CpuId limit();

  // "cpu 3" or "a thread on no cpu", for an entry that may be gone: it is not read.
  static std::string describe(const Cpu* cpu);

  // Makes the calling thread run on `id`, or (unbind) on no CPU. bind fails if another thread is
  // on the CPU, if this one is already on one, or if it holds locks; unbind reports "lock held at
  // thread end".
  static void bind(CpuId id, RandomStream* random, Where where);
  static void unbind();

  CpuId id() const { return id_.get(); }
  bool bound() const { return bound_.get(); }
  RandomStream& random();

  // The stack of held locks.
  void acquired(const LockId& id, const Where& where) {
    const uint32_t n = held_count_.get();
    if (n == kMaxHeldLocks) [[unlikely]]
      too_many_locks(id, where);
    change_begin();
    held_[n].id.set(id);
    held_[n].where.set(where);
#ifdef HATCHECK_OBSERVE
    held_[n].by_try.set(false);
#endif
    held_count_.set(n + 1);
    change_end();
  }
  // Forgets the newest entry of the lock; false if there is none.
  bool released(const void* lock);
  const HeldLock* find(const void* lock) const;
  HeldLock* find(const void* lock) {
    return const_cast<HeldLock*>(static_cast<const Cpu*>(this)->find(lock));
  }
  void set_mode(HeldLock& held, LockMode mode) {
    change_begin();
    held.id.set_mode(mode);
    change_end();
  }
  uint32_t held_count() const { return held_count_.get(); }
  const HeldLock& held(uint32_t i) const { return held_[i]; }  // 0 is the outermost

  // One line per held lock, "  holds mlist[3] since hat/hment.cc:12 (hment_insert)\n".
  std::string describe_held() const;

#ifdef HATCHECK_OBSERVE
  // What the thread waits for; `lock` is null if it does not wait. A sleeper on a condition
  // variable names the variable and the mutex that it must get back.
  struct Wait {
    PublishedLockId id;
    Published<const char*> condvar{nullptr};
    Published<const void*> condvar_id{nullptr};  // its address, only compared
    // Set by who signals, after the sleeper may have been woken: the only field that other threads
    // write. While it is clear the sleeper is asleep for certain.
    Published<bool> signalled{false};
    PublishedWhere where;
    Published<uint64_t> since{0};
  };
  // Says when the newest lock was acquired, and that it was by tryenter.
  void held_since(uint64_t ticks) { held_[held_count_.get() - 1].since.set(ticks); }
  void held_by_try() { held_[held_count_.get() - 1].by_try.set(true); }

  void wait_begin(const LockId& id, const char* condvar, const void* condvar_id,
                  const Where& where);
  void wait_end();
  const Wait& wait() const { return wait_; }
  // Marks a sleeper on the condition variable, if this CPU is one.
  void mark_signalled(const void* condvar_id) {
    if (wait_.condvar_id.get() == condvar_id) wait_.signalled.set(true);
  }
  uint64_t epoch() const { return epoch_.get(); }

  // Operations of this thread since it started, for the cost of a path.
  Published<uint64_t> lock_acquisitions{0};
  Published<uint64_t> cas_operations{0};
  Published<uint64_t> rmw_operations{0};

  template <class Counter>
  static void count(Counter& counter) {
    counter.set(counter.get() + 1);
  }
#endif

 private:
  static Cpu& attach_unbound();
  [[noreturn]] void too_many_locks(const LockId& id, const Where& where);

#ifdef HATCHECK_OBSERVE
  void change_begin() { epoch_.set(epoch_.get() + 1); }
  void change_end() { epoch_.set(epoch_.get() + 1); }
  Published<uint64_t> epoch_{0};
  Wait wait_;
#else
  void change_begin() {}
  void change_end() {}
#endif

  // initial-exec: one load instead of a call, also from a shared library.
  static thread_local constinit Cpu* current_ __attribute__((tls_model("initial-exec")));

  Published<CpuId> id_{0};
  Published<bool> bound_{false};
  RandomStream* random_ = nullptr;
  Published<uint32_t> held_count_{0};
  HeldLock held_[kMaxHeldLocks] = {};
};

// The virtual CPU of the calling thread; 0 for a thread that is bound to none.
inline CpuId this_cpu() { return Cpu::current().id(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_CPU_H_
