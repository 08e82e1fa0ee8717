// Simulator: what the engine takes from Relacy, without Relacy's headers.
//
// - fibers and the loop that runs execution after execution (rl::context_impl), for a scenario of
//   1 to kMaxThreads threads;
// - the vector clocks of the threads;
// - the C++ memory model: which stores a load may read, and what it orders.
// What Relacy asks of its scheduler (which thread next, which of n) goes to the engine.
//
// Thread safety: none. One Simulator at a time; the free functions are for code inside its run().
#ifndef HATCHECK_PLATFORM_RELACY_SIMULATOR_H_
#define HATCHECK_PLATFORM_RELACY_SIMULATOR_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "platform/relacy/backend.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

// What the engine does when Relacy calls.
class SimulatorClient {
 public:
  virtual ~SimulatorClient() = default;
  virtual void execution_begin() = 0;
  virtual void create() = 0;  // in the fiber of thread 0, alone
  virtual void body(int thread) = 0;
  virtual void after() = 0;               // in some thread's fiber, alone
  virtual void destroy() = 0;             // the same
  virtual int next_thread() = 0;          // who goes on
  virtual uint32_t pick(uint32_t n) = 0;  // one of 0 .. n-1, for the memory model
  // After an execution that ran to its end; true if it was the last.
  virtual bool execution_end() = 0;
};

class Simulator {
 public:
  static std::unique_ptr<Simulator> make(int threads, SimulatorClient& client);
  virtual ~Simulator() = default;

  // Runs executions until execution_end() returns true or one of them calls abandon(). After
  // abandon() the simulator is of no further use.
  virtual void run() = 0;

  // A word of the memory model, with an initial value that all threads have seen.
  virtual void* new_atomic() = 0;
  virtual void delete_atomic(void* atomic) = 0;
};

// Runs next_thread() instead of the caller, until the caller is the next thread again.
void switch_thread();
// The same, and what the caller has read so far counts as old: it will not read older values again.
void switch_thread_and_refresh();
// Ends the execution and run(), from anywhere inside.
[[noreturn]] void abandon();

// The vector clock of the running thread. Its own entry counts its operations.
uint64_t* clock();

// Each returns the number of the slot (of 3) that the value read is in or the value written goes
// to. kNoSlot: there is nothing to read.
inline constexpr uint32_t kSlots = 3;
inline constexpr uint32_t kNoSlot = ~0u;
uint32_t load_slot(void* atomic, std::memory_order order);
// The newest, as the failing half of a compare-and-swap reads it.
void load_newest(void* atomic, std::memory_order order);
uint32_t store_slot(void* atomic, std::memory_order order);
uint32_t rmw_slot(void* atomic, std::memory_order order);

// The slot of the initial value.
inline constexpr uint32_t kFirstSlot = 1;

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

#endif  // HATCHECK_PLATFORM_RELACY_SIMULATOR_H_
