#include "explorer/wakeup_tree.h"

#include <algorithm>

namespace explorer {

bool Sequence::empty() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.gone; });
}

int Sequence::first_of(int thread) const {
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (!steps_[i].gone && steps_[i].label.thread == thread) return static_cast<int>(i);
  }
  return -1;
}

bool Sequence::before(const Step& a, const Step& b) const {
  if (b.event != nullptr) return b.event->clock[a.label.thread] >= a.time;
  return base_[a.label.thread] >= a.time || dependent(a.label, b.label);
}

bool Sequence::is_initial(int index) const {
  for (int i = 0; i < index; ++i) {
    if (!steps_[i].gone && before(steps_[i], steps_[index])) return false;
  }
  return true;
}

bool Sequence::independent_of(const Label& label) const {
  for (const Step& step : steps_) {
    if (!step.gone && dependent(label, step.label)) return false;
  }
  return true;
}

uint32_t WakeupTree::make(const Label& label) {
  uint32_t at = free_;
  if (at != 0) {
    free_ = nodes_[at].next;
  } else {
    at = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
  }
  nodes_[at] = Node{label, 0, 0};
  ++used_;
  peak_ = std::max(peak_, used_);
  return at;
}

void WakeupTree::append_rest(uint32_t& root, const Sequence& sequence) {
  uint32_t parent = 0;  // 0: the root
  for (const Sequence::Step& step : sequence.steps()) {
    if (step.gone) continue;
    const uint32_t made = make(step.label);
    if (parent == 0) {
      uint32_t* link = &root;
      while (*link != 0) link = &nodes_[*link].next;
      *link = made;
    } else {
      uint32_t* link = &nodes_[parent].child;
      while (*link != 0) link = &nodes_[*link].next;
      *link = made;
    }
    parent = made;
  }
}

void WakeupTree::insert(uint32_t& root, Sequence& sequence) {
  uint32_t parent = 0;
  uint32_t at = root;
  while (at != 0) {
    const Label& label = nodes_[at].label;
    const int first = sequence.first_of(label.thread);
    const bool into =
        first >= 0 ? same_step(sequence.steps()[first].label, label) && sequence.is_initial(first)
                   : sequence.independent_of(label);
    if (!into) {
      at = nodes_[at].next;
      continue;
    }
    if (first >= 0) sequence.remove(first);
    // A leaf leads into everything from there on.
    if (nodes_[at].child == 0 || sequence.empty()) return;
    parent = at;
    at = nodes_[at].child;
  }
  if (parent == 0) {
    append_rest(root, sequence);
  } else {
    // make() may move the pool, so the link is copied out and back.
    uint32_t child = nodes_[parent].child;
    append_rest(child, sequence);
    nodes_[parent].child = child;
  }
}

uint32_t WakeupTree::push(uint32_t& root, const Label& label, uint32_t child) {
  const uint32_t at = make(label);
  nodes_[at].child = child;
  nodes_[at].next = root;
  root = at;
  return at;
}

uint32_t WakeupTree::pop(uint32_t& root) {
  const uint32_t at = root;
  const uint32_t child = nodes_[at].child;
  root = nodes_[at].next;
  nodes_[at].next = free_;
  free_ = at;
  --used_;
  return child;
}

void WakeupTree::save(Writer& to, uint32_t root) const {
  uint64_t roots = 0;
  for (uint32_t at = root; at != 0; at = nodes_[at].next) ++roots;
  to.put(roots);
  for (uint32_t at = root; at != 0; at = nodes_[at].next) {
    const Label& label = nodes_[at].label;
    to.put(label.object);
    to.put(label.object2);
    to.put(label.thread);
    to.put(label.op);
    to.put(label.access);
    to.put(label.choice);
    save(to, nodes_[at].child);
  }
}

uint32_t WakeupTree::load(Reader& from) {
  uint32_t root = 0;
  uint32_t last = 0;
  for (size_t roots = from.count(); roots > 0; --roots) {
    Label label;
    label.object = from.get<uint32_t>();
    label.object2 = from.get<uint32_t>();
    label.thread = from.get<uint8_t>();
    label.op = from.get<Op>();
    label.access = from.get<uint8_t>();
    label.choice = from.get<uint16_t>();
    const uint32_t at = make(label);
    const uint32_t child = load(from);
    nodes_[at].child = child;
    if (last == 0) {
      root = at;
    } else {
      nodes_[last].next = at;
    }
    last = at;
  }
  return root;
}

void WakeupTree::clear(uint32_t& root) {
  while (root != 0) {
    uint32_t child = pop(root);
    clear(child);
  }
}

}  // namespace explorer
