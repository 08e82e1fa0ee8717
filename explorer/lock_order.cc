#include "explorer/lock_order.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace explorer {
namespace {

bool same(const Name& a, const Name& b) {
  return a.number == b.number && (a.family == b.family || std::strcmp(a.family, b.family) == 0);
}

bool same(const LockOrder::Lock& a, const LockOrder::Lock& b) {
  return same(a.name, b.name) && a.tried == b.tried && a.site.line == b.site.line &&
         a.site.column == b.site.column &&
         (a.site.file == b.site.file || std::strcmp(a.site.file, b.site.file) == 0);
}

// Whether the edge can be part of a cycle. Two objects of one name are not told apart: there is no
// order between them.
bool waits(const LockOrder::Edge& edge) {
  return !edge.taken.tried && !same(edge.held.name, edge.taken.name);
}

}  // namespace

void LockOrder::add(Edge edge) {
  const uint64_t print = fingerprint(edge.held, edge.taken);
  const bool there = std::any_of(edges_.begin(), edges_.end(), [&](const Edge& other) {
    return same(other.held, edge.held) && same(other.taken, edge.taken);
  });
  if (!there) edges_.push_back(std::move(edge));
  remember(print);
}

void LockOrder::add(const std::vector<Edge>& edges) {
  for (const Edge& edge : edges) add(edge);
}

void LockOrder::remember(uint64_t print) {
  if (2 * ++in_table_ > table_.size()) {
    std::vector<uint64_t> old(2 * table_.size());
    old.swap(table_);
    in_table_ = 0;
    for (const uint64_t each : old) {
      if (each != 0) remember(each);
    }
    ++in_table_;
  }
  size_t i = print & (table_.size() - 1);
  for (; table_[i] != 0; i = (i + 1) & (table_.size() - 1)) {
    if (table_[i] == print) {
      --in_table_;
      return;
    }
  }
  table_[i] = print;
}

bool LockOrder::path(const Name& from, const Name& to, std::vector<const Edge*>& edges,
                     std::vector<const Edge*>& dead) const {
  for (const Edge& edge : edges_) {
    if (!waits(edge) || !same(edge.held.name, from)) continue;
    if (std::find(dead.begin(), dead.end(), &edge) != dead.end()) continue;
    dead.push_back(&edge);
    edges.push_back(&edge);
    if (same(edge.taken.name, to) || path(edge.taken.name, to, edges, dead)) return true;
    edges.pop_back();
  }
  return false;
}

std::string LockOrder::cycle() const {
  for (const Edge& edge : edges_) {
    if (!waits(edge)) continue;
    std::vector<const Edge*> edges{&edge};
    std::vector<const Edge*> dead;
    if (!path(edge.taken.name, edge.held.name, edges, dead)) continue;
    std::string text;
    for (const Edge* e : edges) {
      text += (text.empty() ? "" : ", ") + to_string(e->taken.name) + " is taken with " +
              to_string(e->held.name) + " held by thread " + std::to_string(e->thread) + " at " +
              to_string(e->taken.site);
    }
    return text;
  }
  return "";
}

}  // namespace explorer
