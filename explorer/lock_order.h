// LockOrder: which lock was taken while which other was held, over all executions of a search.
//
// An acquisition is an edge from the innermost lock that its thread holds. If that was had by
// tryenter, which waits for nobody, the next one outwards gives an edge as well, and so on. Locks
// further out are connected through those between. An edge is known by the two names, the two
// places in the source and whether it was by tryenter.
//
// A cycle of edges that are not by tryenter means that some timing could deadlock, if nothing else
// forbids it. Locks are known by name, so that the same lock of two executions is one.
//
// Thread safety: one real thread.
#ifndef HATCHECK_EXPLORER_LOCK_ORDER_H_
#define HATCHECK_EXPLORER_LOCK_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "explorer/site.h"

namespace explorer {

class LockOrder {
 public:
  struct Lock {
    Name name;
    Site site;           // where it was taken
    bool tried = false;  // by tryenter
  };
  struct Edge {
    Lock held;
    Lock taken;
    int thread = 0;
    std::vector<Lock> holds;  // all that the thread held at the first sight, outermost first
  };

  LockOrder() : table_(kSmallest) {}

  // Whether the edge needs no adding. Allocates nothing. It may say no to an edge that came from
  // another process.
  bool knows(const Lock& held, const Lock& taken) const {
    const uint64_t print = fingerprint(held, taken);
    for (size_t i = print & (table_.size() - 1);; i = (i + 1) & (table_.size() - 1)) {
      if (table_[i] == print) return true;
      if (table_[i] == 0) return false;
    }
  }
  // Nothing if it is there already.
  void add(Edge edge);
  void add(const std::vector<Edge>& edges);

  // "inner[0] is taken with outer[0] held by thread 0 at ..., outer[0] is taken ...", or empty.
  std::string cycle() const;

  // Edges in the order in which they were seen.
  const std::vector<Edge>& edges() const { return edges_; }

 private:
  static constexpr size_t kSmallest = 256;

  static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
  }
  static uint64_t mixed(uint64_t hash, const Lock& lock) {
    hash = mix(hash, reinterpret_cast<uintptr_t>(lock.name.family) ^
                         static_cast<uint64_t>(lock.name.number) << 32);
    return mix(hash, reinterpret_cast<uintptr_t>(lock.site.file) ^
                         static_cast<uint64_t>(lock.site.line) << 36 ^
                         static_cast<uint64_t>(lock.site.column) << 52 ^
                         static_cast<uint64_t>(lock.tried) << 63);
  }
  static uint64_t fingerprint(const Lock& held, const Lock& taken) {
    return mixed(mixed(0, held), taken) | 1;
  }

  void remember(uint64_t print);
  bool path(const Name& from, const Name& to, std::vector<const Edge*>& edges,
            std::vector<const Edge*>& dead) const;

  std::vector<Edge> edges_;
  // Fingerprints of known edges, 0 for none: open addressing, never more than half full.
  std::vector<uint64_t> table_;
  size_t in_table_ = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_LOCK_ORDER_H_
