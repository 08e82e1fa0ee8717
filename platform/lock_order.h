// LockOrder: which class of locks was taken while which other was held, and whether that is
// allowed.
//
// Every acquisition is an edge from the innermost lock that the thread holds to the one it takes.
// If that innermost lock was had by tryenter, the next one outwards gives an edge as well, and so
// on: a tryenter waits for nobody, so what lies outside of it is connected in no other way. Locks
// further out are connected through the locks between.
//
// An edge is known by the two classes, by whether it was by tryenter, and by the two places in the
// source; the locks held and their numbers are those of its first sight. Edges by tryenter count
// for no inversion. The others are inversions
//   - if they complete a cycle of classes, also if nobody deadlocked;
//   - if they go against the places of their LockClasses, or from a place to the same place;
//   - if they join two locks of one class and the class does not say so (Nests), or in the other
//     order.
//
// Thread safety: any thread, any time; `taking` costs a look into a table for each edge that is
// known. Only new edges, and readers, take the mutex. Independent of the backend.
#ifndef HATCHECK_PLATFORM_LOCK_ORDER_H_
#define HATCHECK_PLATFORM_LOCK_ORDER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "platform/lock_class.h"
#include "platform/where.h"

namespace hatcheck {

// A lock that a thread holds or takes.
struct LockUse {
  const LockClass* lock_class = nullptr;
  uint32_t instance = 0;
  bool by_try = false;
  Where where;
};

struct LockEdge {
  LockUse outer;
  LockUse inner;               // inner.by_try says how the edge came about
  CpuId cpu = 0;               // who took the inner lock
  std::vector<LockUse> holds;  // what that one held then, outermost first
};

struct Inversion {
  std::string message;  // one line with both orders, then the chains
  Where where;          // of the later acquisition
  bool both = false;    // both orders were seen; otherwise one only, against what is declared
};

class LockOrder {
 public:
  LockOrder();
  LockOrder(const LockOrder&) = delete;
  LockOrder& operator=(const LockOrder&) = delete;

  // A thread that holds `count` locks takes another one, or is about to wait for it. held(i) is a
  // LockUse, 0 being the outermost.
  template <class Held>
  void taking(uint32_t count, const Held& held, const LockUse& taken, CpuId cpu) {
    for (uint32_t i = count; i-- > 0;) {
      const LockUse outer = held(i);
      if (!known(outer, taken)) {
        std::vector<LockUse> holds;
        for (uint32_t k = 0; k < count; ++k) holds.push_back(held(k));
        add(LockEdge{outer, taken, cpu, std::move(holds)});
      }
      if (!outer.by_try) break;
    }
  }

  // An edge from elsewhere; nothing if it is known.
  void add(LockEdge edge);

  // By classes and places in the source.
  std::vector<LockEdge> edges() const;

  // Whether some inversion was seen, without a lock, for those who ask often.
  bool inverted() const { return inverted_.load(std::memory_order_acquire); }
  // The first inversion of which both orders were seen; if there is none, the first one.
  std::optional<Inversion> inversion() const;

  // Forgets everything. No other thread uses it meanwhile.
  void clear();

 private:
  static constexpr uint32_t kSlots = 1 << 13;
  static constexpr uint32_t kProbes = 32;

  static uint64_t fingerprint(const LockUse& outer, const LockUse& inner);
  bool known(const LockUse& outer, const LockUse& inner) const;
  const LockEdge* seen(const LockEdge& edge) const;
  // The fewest edges that lead from one class to another and are not by tryenter; none if there are
  // none.
  std::vector<const LockEdge*> path(const LockClass* from, const LockClass* to) const;
  Inversion describe(const LockEdge& late) const;

  // Fingerprints of known edges, 0 for none: open addressing, nothing is ever taken out.
  std::unique_ptr<std::atomic<uint64_t>[]> table_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<LockEdge>> edges_;  // in the order of first sight; under mutex_
  std::vector<const LockEdge*> against_;          // of these, the inversions; under mutex_
  std::atomic<bool> inverted_{false};
};

// [{"outer": {"class": "mlist", "place": 10, "number": 3, "by_try": false, "at": "hat/hment.cc:12
// (f)"}, "inner": {...}}, ...], the places in the source without what a build puts before them.
std::string lock_edges_json(const std::vector<LockEdge>& edges);

// "a.cc:12 (f) takes inner[3] by tryenter with outer[1] held since b.cc:7 (g)"
std::string to_string(const LockEdge& edge);

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_LOCK_ORDER_H_
