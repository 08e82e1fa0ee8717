// Recorder: is told everything that happens in an execution, for a report. Searches run without
// one.
//
// Its functions run while a scenario's thread is stopped inside the engine; an implementation that
// allocates opens a HostScope.
#ifndef HATCHECK_EXPLORER_RECORDER_H_
#define HATCHECK_EXPLORER_RECORDER_H_

#include <cstdint>

#include "explorer/finding.h"
#include "explorer/site.h"

namespace explorer {

class Engine;

class Recorder {
 public:
  virtual ~Recorder() = default;
  // The step at this place of the log is being made by the running thread.
  virtual void step(const Engine& engine, int index, const Site& site) = 0;
  // The value that the next step leaves in its atomic.
  virtual void value(uint64_t value) = 0;
  // The running thread accesses a plain variable.
  virtual void access(const Engine& engine, const void* address, bool writes, const Site& site) = 0;
  // The access before conflicts with one of the same variable by that thread.
  virtual void conflict(const void* address, int thread) = 0;
  // The execution begins anew; what was told so far does not count.
  virtual void restarted() = 0;
  virtual void finding(const Engine& engine, const Finding& finding) = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_RECORDER_H_
