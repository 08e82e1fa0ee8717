// The types a scenario uses: Mutex, RwLock, CondVar, Atomic<T>, Shared<T>, choose() and yield().
//
// Each operation but those of Shared is a step at which the engine may switch threads. Outside a
// running search, and in set-up and finish(), they work at once. Misuse ends the execution with a
// finding. The semantics are those of kernel locks: a mutex has an owner, a waiting writer keeps
// new readers out of an RwLock, signal() wakes any one sleeper.
//
// A Shared<T> is a plain variable whose accesses are checked for races by happens-before; an access
// is no step, so it costs no interleavings.
//
// Thread safety: the engine runs one thread at a time.
#ifndef HATCHECK_EXPLORER_SYNC_H_
#define HATCHECK_EXPLORER_SYNC_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "explorer/clock.h"
#include "explorer/engine.h"
#include "explorer/site.h"
#include "explorer/value.h"

namespace explorer {

// What the engine keeps in everything that takes part in steps.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  Clock all;      // of every step on it: dependence
  Clock writes;   // of every writing step
  Clock sync;     // what an acquiring step learns: happens-before
  Clock touched;  // by whom, up to which time: happens-before
  int32_t last_event = -1;

  // How the engine knows it: the same in all equivalent executions.
  uint32_t id() const {
    const uintptr_t p = reinterpret_cast<uintptr_t>(this);
    if (Arena::contains(this)) return static_cast<uint32_t>(p - Arena::kBase);
    return 0x80000000u | static_cast<uint32_t>(p & 0x7fffffffu);
  }
};

class Mutex : public Object {
 public:
  explicit Mutex(Name name = Name{"mutex"}) : name_(name) {}
  ~Mutex() { destroy(); }

  void lock(const Site& site = Site::here()) { Engine::active->lock(*this, site); }
  bool try_lock(const Site& site = Site::here()) { return Engine::active->try_lock(*this, site); }
  void unlock(const Site& site = Site::here()) { Engine::active->unlock(*this, site); }
  // Whether the calling thread owns it.
  bool held() const { return owner_ == Engine::active->self(); }
  const Name& name() const { return name_; }

 private:
  friend class Engine;

  void destroy();

  int8_t owner_ = -1;
  Name name_;
};

class CondVar : public Object {
 public:
  explicit CondVar(const char* name = "condition variable") : name_(name) {}
  ~CondVar();

  // The caller owns the mutex, which is released during the sleep.
  void wait(Mutex& mutex, const Site& site = Site::here()) {
    Engine::active->wait(*this, mutex, site);
  }
  void signal(const Site& site = Site::here()) { Engine::active->signal(*this, site); }
  void broadcast(const Site& site = Site::here()) { Engine::active->broadcast(*this, site); }
  const char* name() const { return name_; }

 private:
  friend class Engine;

  uint8_t sleepers_ = 0;  // bits of threads
  const char* name_;
};

class RwLock : public Object {
 public:
  explicit RwLock(Name name = Name{"rwlock"}) : name_(name) {}
  ~RwLock();

  void lock_shared(const Site& site = Site::here()) { Engine::active->enter_reader(*this, site); }
  void lock(const Site& site = Site::here()) { Engine::active->enter_writer(*this, site); }
  bool try_lock_shared(const Site& site = Site::here()) {
    return Engine::active->try_enter(*this, false, site);
  }
  bool try_lock(const Site& site = Site::here()) {
    return Engine::active->try_enter(*this, true, site);
  }
  // The only reader becomes the writer, unless a writer waits.
  bool try_upgrade(const Site& site = Site::here()) {
    return Engine::active->try_upgrade(*this, site);
  }
  void downgrade(const Site& site = Site::here()) { Engine::active->downgrade(*this, site); }
  void unlock(const Site& site = Site::here()) { Engine::active->exit(*this, site); }

  bool read_held() const { return (readers_ >> Engine::active->self() & 1) != 0; }
  bool write_held() const { return writer_ == Engine::active->self(); }
  const Name& name() const { return name_; }

 private:
  friend class Engine;

  bool free_for_reader() const { return writer_ < 0 && waiting_ == 0; }
  bool free_for_writer() const { return writer_ < 0 && readers_ == 0; }

  int8_t writer_ = -1;
  uint8_t readers_ = 0;  // bits of threads
  uint8_t waiting_ = 0;  // writers that wait, bits of threads
  Clock readers_sync_;   // what the readers that left knew
  Name name_;
};

// A word that is accessed without a lock on purpose. Values are sequentially consistent; the order
// decides what an access lets other threads know (happens-before).
template <class T>
class Atomic : public Object {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);

 public:
  Atomic(T value = T{}) : value_(value) {}  // NOLINT: like std::atomic
  ~Atomic() {
    if (!Engine::alone()) Engine::active->destroy(*this, Site{});
  }

  T load(std::memory_order order = std::memory_order_seq_cst,
         const Site& site = Site::here()) const {
    if (Engine::alone()) return value_;
    Object& object = const_cast<Atomic&>(*this);
    Engine::active->want_atomic(object, Op::kLoad, site);
    Engine::active->atomic_done(object, order, true, false, value_of(value_), {}, site);
    return value_;
  }

  void store(T value, std::memory_order order = std::memory_order_seq_cst,
             const Site& site = Site::here()) {
    if (!Engine::alone()) {
      Engine::active->want_atomic(*this, Op::kStore, site);
      Engine::active->atomic_done(*this, order, false, true, {}, value_of(value), site);
    }
    value_ = value;
  }

  T exchange(T value, std::memory_order order = std::memory_order_seq_cst,
             const Site& site = Site::here()) {
    return modify([value](T) { return value; }, order, site);
  }

  // True if the value was `expected` and is now `desired`; otherwise `expected` is what it was.
  bool compare_exchange(T& expected, T desired, std::memory_order success,
                        std::memory_order failure, const Site& site = Site::here()) {
    if (!Engine::alone()) Engine::active->want_atomic(*this, Op::kCas, site);
    const bool equal = std::memcmp(&value_, &expected, sizeof(T)) == 0;
    if (!Engine::alone()) {
      Engine::active->atomic_done(*this, equal ? success : failure, true, equal, value_of(value_),
                                  value_of(desired), site);
    }
    if (equal) {
      value_ = desired;
    } else {
      expected = value_;
    }
    return equal;
  }

  T fetch_add(T x, std::memory_order order = std::memory_order_seq_cst,
              const Site& site = Site::here()) {
    return modify([x](T v) { return static_cast<T>(v + x); }, order, site);
  }
  T fetch_sub(T x, std::memory_order order = std::memory_order_seq_cst,
              const Site& site = Site::here()) {
    return modify([x](T v) { return static_cast<T>(v - x); }, order, site);
  }
  T fetch_and(T x, std::memory_order order = std::memory_order_seq_cst,
              const Site& site = Site::here()) {
    return modify([x](T v) { return static_cast<T>(v & x); }, order, site);
  }
  T fetch_or(T x, std::memory_order order = std::memory_order_seq_cst,
             const Site& site = Site::here()) {
    return modify([x](T v) { return static_cast<T>(v | x); }, order, site);
  }
  T fetch_xor(T x, std::memory_order order = std::memory_order_seq_cst,
              const Site& site = Site::here()) {
    return modify([x](T v) { return static_cast<T>(v ^ x); }, order, site);
  }

 private:
  template <class F>
  T modify(F f, std::memory_order order, const Site& site) {
    if (!Engine::alone()) Engine::active->want_atomic(*this, Op::kRmw, site);
    const T before = value_;
    value_ = f(before);
    if (!Engine::alone()) {
      Engine::active->atomic_done(*this, order, true, true, value_of(before), value_of(value_),
                                  site);
    }
    return before;
  }

  T value_;
};

// Who read and wrote a plain variable last, by happens-before.
class Cell {
 public:
  static constexpr uint8_t kInitialised = 0x3c;
  static constexpr uint8_t kUninitialised = 0xc3;

  explicit Cell(uint8_t state) : state_(state) {}

 private:
  friend class Engine;

  int16_t reads_[kMaxThreads] = {};
  int16_t write_time_ = 0;
  uint8_t writer_ = 0;
  uint8_t state_;
};

// A plain variable. `Shared<int> x;` is uninitialised until it is written.
template <class T>
class Shared {
 public:
  Shared() : cell_(Cell::kUninitialised), value_{} {}
  explicit Shared(T value) : cell_(Cell::kInitialised), value_(std::move(value)) {}
  ~Shared() {
    if (!Engine::alone()) Engine::active->destroy(cell_, this, Site{});
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  T get(const Site& site = Site::here()) const {
    if (Engine::active != nullptr) Engine::active->read(cell_, this, value_of(value_), site);
    return value_;
  }
  void set(T value, const Site& site = Site::here()) {
    if (Engine::active != nullptr) Engine::active->write(cell_, this, value_of(value), site);
    value_ = std::move(value);
  }

 private:
  mutable Cell cell_;
  T value_;
};

// One of 0 .. n-1, every answer explored. Precondition: 0 < n <= 64.
inline uint32_t choose(uint32_t n, const Site& site = Site::here()) {
  return Engine::active->choose(n, site);
}

// "I wait for another thread": to be called in every loop that does.
inline void yield(const Site& site = Site::here()) { Engine::active->yield(site); }

// Says what reports call the `count` objects from `first` on: "page 7" for the name {"page", 5} and
// the third of them. What lies in one of them is called after it, "page 7.p_mapping"; if `part` is
// not 0 the objects are arrays of parts of that size, "frame 3[5]". Searches ignore it.
inline void describe(const void* first, size_t size, size_t count, Name name, size_t part = 0) {
  if (Engine::active == nullptr || Engine::active->recorder() == nullptr) return;
  const HostScope host;
  Engine::active->recorder()->object(first, size, count, name, part);
}

[[noreturn]] inline void fail(Kind kind, std::string message, const Site& site = Site::here()) {
  Engine::active->fail(kind, std::move(message), site);
}

inline void check(bool condition, const char* what, const Site& site = Site::here()) {
  if (!condition) fail(Kind::kAssertion, what, site);
}

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SYNC_H_
