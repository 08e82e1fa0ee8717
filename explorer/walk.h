// Walk: a strategy that leads from execution to execution, and can be saved in between.
//
// Thread safety: one real thread.
#ifndef HATCHECK_EXPLORER_WALK_H_
#define HATCHECK_EXPLORER_WALK_H_

#include <vector>

#include "explorer/checkpoint.h"
#include "explorer/engine.h"

namespace explorer {

class Walk : public Strategy {
 public:
  // An execution is about to start.
  virtual void begin(const Engine&) {}
  // The execution has ended: moves on to the next one, false if there is none.
  virtual bool next(const Engine& engine, End end) = 0;
  // How the next one begins.
  virtual const std::vector<Decision>& plan() const = 0;
  // How many steps of the plan the execution before made, too.
  virtual int known() const = 0;
  // The share of the whole that is done, 0 to 1: an estimate.
  virtual double progress() const = 0;

  // Memory that it took at most, in nodes.
  virtual uint64_t peak_tree() const { return 0; }

  // To be called between next() and the next execution. What load() brings back goes on in
  // another engine, of which no step is known.
  virtual void save(Writer& to) const = 0;
  virtual void load(Reader& from) = 0;
};

inline void save_plan(Writer& to, const std::vector<Decision>& plan) {
  to.put(static_cast<uint64_t>(plan.size()));
  for (const Decision& decision : plan) {
    to.put(decision.thread);
    to.put(decision.choice);
  }
}

inline std::vector<Decision> load_plan(Reader& from) {
  std::vector<Decision> plan(from.count());
  for (Decision& decision : plan) {
    decision.thread = from.get<uint8_t>();
    decision.choice = from.get<uint16_t>();
  }
  return plan;
}

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_WALK_H_
