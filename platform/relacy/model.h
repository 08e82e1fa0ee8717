// What the types of the seam call: the engine's side of each operation, without templates and
// without Relacy in sight. Included by the other headers of this folder only.
//
// An execution of a scenario has phases. Set-up, final check and destruction run alone (kAlone):
// an operation does what it says and looks for misuse and dead objects. While the bodies run
// (kThreads) each operation may also be a place where another thread goes on, orders what comes
// before and after it, and is compared with what other threads did to the same object. Outside
// of executions (kOutside) the types are plain single-threaded data.
#ifndef HATCHECK_PLATFORM_RELACY_MODEL_H_
#define HATCHECK_PLATFORM_RELACY_MODEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "platform/relacy/backend.h"
// backend.h names the namespace that the others open.
#include "platform/lock_class.h"
#include "platform/verdict.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class LockMode : uint8_t { kMutex, kReader, kWriter };

namespace model {

enum class Phase : uint8_t { kOutside, kAlone, kThreads };

// Read by every operation. `thread` is 0 outside kThreads: set-up and final check are on CPU 0.
struct Hot {
  Phase phase = Phase::kOutside;
  int8_t thread = 0;
};
extern constinit Hot hot;

inline bool modelled() { return hot.phase == Phase::kThreads; }
inline bool active() { return hot.phase != Phase::kOutside; }

// --- Guarded. Precondition: active().
void guarded_read(const void* field, const Where& where);
void guarded_write(void* field, const Where& where);

// --- Atomic. `size` is that of the word; values travel in the low bytes. Precondition: active().
enum class Rmw : uint8_t { kExchange, kAdd, kSub, kAnd, kOr, kXor };
uint64_t atomic_load(const void* word, size_t size, std::memory_order order, const Where& where);
void atomic_store(void* word, size_t size, uint64_t value, std::memory_order order,
                  const Where& where);
uint64_t atomic_rmw(void* word, size_t size, Rmw op, uint64_t operand, std::memory_order order,
                    const Where& where);
bool atomic_cas(void* word, size_t size, uint64_t& expected, uint64_t desired,
                std::memory_order success, std::memory_order failure, const Where& where);

// --- Locks. The state is in the lock, the engine keeps the rest.
struct LockState {
  const LockClass* lock_class;
  uint32_t instance;
  int8_t writer = -1;           // the owner of a mutex or the writer, or -1
  uint8_t readers = 0;          // bit i: thread i is a reader
  uint8_t writers_waiting = 0;  // the same for threads that wait to write
};
void mutex_enter(LockState& lock, const Where& where);
bool mutex_tryenter(LockState& lock, const Where& where);
void mutex_exit(LockState& lock, const Where& where);
void rw_enter(LockState& lock, bool write, const Where& where);
bool rw_tryenter(LockState& lock, bool write, const Where& where);
bool rw_tryupgrade(LockState& lock, const Where& where);
void rw_downgrade(LockState& lock, const Where& where);
void rw_exit(LockState& lock, const Where& where);
void lock_destroyed(const LockState& lock);
[[noreturn]] void lock_not_held(const LockState& lock, const char* how, const Where& where);

// --- CondVar.
void condvar_wait(const void* condvar, const char* name, LockState& mutex, const Where& where);
void condvar_wake(const void* condvar, const char* name, bool all, const Where& where);
void condvar_destroyed(const void* condvar, const char* name);

// --- ObjectCache.
void* cache_take(const void* cache, const char* name, size_t size, size_t alignment,
                 const Where& where);
// Whatever is wrong with freeing the object is reported here; the object is still whole.
void cache_check_free(const void* cache, const char* name, const void* object, const Where& where);
void cache_give(const void* cache, const void* object, size_t size, const Where& where);
void cache_alloc_failed(const char* name, const Where& where);
[[noreturn]] void cache_leak(const void* cache, const char* name, int64_t count);

}  // namespace model
}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_MODEL_H_
