// LockOrder: which lock was taken while which other was held, over all executions of a search.
//
// A cycle means that some timing could deadlock, if nothing else forbids it. A lock taken with a
// tryenter is no edge: it does not wait. Locks are known by name, so that the same lock of two
// executions is one.
#ifndef HATCHECK_EXPLORER_LOCK_ORDER_H_
#define HATCHECK_EXPLORER_LOCK_ORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "explorer/site.h"

namespace explorer {

class LockOrder {
 public:
  struct Edge {
    Name held;
    Name taken;
    int thread;
    Site site;
  };

  // A thread that holds `held` takes `taken`, waiting if need be.
  void add(const Name& held, const Name& taken, int thread, const Site& site);
  void add(const std::vector<Edge>& edges);

  // "outer[0] is taken before inner[0] at ..., inner[0] before outer[0] at ...", or empty.
  std::string cycle() const;

  // Edges in the order in which they were seen.
  const std::vector<Edge>& edges() const { return edges_; }

 private:
  bool path(const Name& from, const Name& to, std::vector<const Edge*>& edges,
            std::vector<const Edge*>& dead) const;

  std::vector<Edge> edges_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_LOCK_ORDER_H_
