// Trace: what the threads of one execution did, and how it is shown: one column per thread.
//
// Recorded only while a violation is replayed. Thread safety: none.
#ifndef HATCHECK_PLATFORM_RELACY_TRACE_H_
#define HATCHECK_PLATFORM_RELACY_TRACE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

class Trace {
 public:
  struct Event {
    int thread = 0;
    std::string text;
    Where where;
    const void* field = nullptr;  // of an access to a Guarded field, else null
  };

  void add(Event event) { events_.push_back(std::move(event)); }
  void clear() { events_.clear(); }
  const std::vector<Event>& events() const { return events_; }

  // The last `limit` events. Accesses to fields are left out, except to those that are accessed
  // last, which is what a data race is about.
  std::string columns(int threads, size_t limit) const;

 private:
  std::vector<Event> events_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

#endif  // HATCHECK_PLATFORM_RELACY_TRACE_H_
