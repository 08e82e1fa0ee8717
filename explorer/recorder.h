// Recorder: is told everything that happens in an execution, for a report. Searches run without
// one.
//
// Its functions run while a scenario's thread is stopped inside the engine; an implementation that
// allocates opens a HostScope.
#ifndef HATCHECK_EXPLORER_RECORDER_H_
#define HATCHECK_EXPLORER_RECORDER_H_

#include <cstddef>

#include "explorer/finding.h"
#include "explorer/site.h"
#include "explorer/value.h"

namespace explorer {

class Engine;

class Recorder {
 public:
  virtual ~Recorder() = default;
  // The step at this place of the log is being made by the running thread.
  virtual void step(const Engine& engine, int index, const Site& site) = 0;
  // What the next step finds in its atomic, and what it leaves there; kNone if it does not.
  virtual void values(Value before, Value after) = 0;
  // The running thread reads a plain variable, writes or destroys it.
  enum class Access : uint8_t { kRead, kWrite, kDestroy };
  virtual void access(const Engine& engine, const void* address, Access access, Value value,
                      const Site& site) = 0;
  // The access before conflicts with one of the same variable by that thread.
  virtual void conflict(const void* address, int thread) = 0;
  // The running thread was about to use what has been freed.
  virtual void used_freed(const void* p) = 0;
  // An array is there now: see describe() in sync.h.
  virtual void object(const void* first, size_t size, size_t count, Name name, size_t part) = 0;
  // The running thread gives the block of memory that contains `p` back.
  virtual void freed(const Engine& engine, const void* p, const Site& site) = 0;
  // The execution begins anew; what was told so far does not count.
  virtual void restarted() = 0;
  virtual void finding(const Engine& engine, const Finding& finding) = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_RECORDER_H_
