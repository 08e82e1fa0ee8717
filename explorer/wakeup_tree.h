// WakeupTree: the sequences that must still be explored from a prefix, as an ordered tree.
//
// After "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction" (Abdulla, Aronis,
// Jonsson, Sagonas, JACM 2017), section 6. A sequence is inserted only as far as no sequence that
// is there already leads into the same traces. All trees live in one pool; a tree is known by the
// place of its first root, 0 if it is empty.
#ifndef HATCHECK_EXPLORER_WAKEUP_TREE_H_
#define HATCHECK_EXPLORER_WAKEUP_TREE_H_

#include <cstdint>
#include <vector>

#include "explorer/checkpoint.h"
#include "explorer/clock.h"
#include "explorer/event.h"

namespace explorer {

// A sequence of steps that can be made after some prefix: steps of the execution at hand, and as
// the last one a step that has not happened there.
class Sequence {
 public:
  struct Step {
    Label label;
    int16_t time;        // of its thread
    const Event* event;  // null for the last one
    bool gone;           // matched already
  };

  void clear() { steps_.clear(); }
  void add(const Event& event) { steps_.push_back(Step{event.label, event.time, &event, false}); }
  // The step that has not happened; its thread knows `base` before it.
  void add_last(const Label& label, const Clock& base) {
    steps_.push_back(Step{label, static_cast<int16_t>(base[label.thread] + 1), nullptr, false});
    base_ = base;
  }

  const std::vector<Step>& steps() const { return steps_; }
  void remove(int index) { steps_[index].gone = true; }
  bool empty() const;

  // The first step of the thread, or -1.
  int first_of(int thread) const;
  // Whether the step at the index could be the first one: none before it happens before it.
  bool is_initial(int index) const;
  // Whether a step of a thread that has none here commutes with all.
  bool independent_of(const Label& label) const;

 private:
  bool before(const Step& a, const Step& b) const;

  std::vector<Step> steps_;
  Clock base_;
};

class WakeupTree {
 public:
  struct Node {
    Label label;
    uint32_t child = 0;
    uint32_t next = 0;
  };

  WakeupTree() : nodes_(1) {}

  const Node& node(uint32_t at) const { return nodes_[at]; }

  // Inserts the rest of the sequence (which it uses up) behind what is there.
  void insert(uint32_t& root, Sequence& sequence);
  // Puts one step in front; returns its place.
  uint32_t push(uint32_t& root, const Label& label, uint32_t child);
  // Removes the first root; returns its children.
  uint32_t pop(uint32_t& root);
  void clear(uint32_t& root);

  void save(Writer& to, uint32_t root) const;
  uint32_t load(Reader& from);

  uint64_t size() const { return used_; }
  uint64_t peak() const { return peak_; }

 private:
  uint32_t make(const Label& label);
  void append_rest(uint32_t& root, const Sequence& sequence);

  std::vector<Node> nodes_;
  uint32_t free_ = 0;
  uint64_t used_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_WAKEUP_TREE_H_
