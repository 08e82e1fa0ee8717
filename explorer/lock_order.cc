#include "explorer/lock_order.h"

#include <algorithm>
#include <cstring>

namespace explorer {
namespace {

bool same(const Name& a, const Name& b) {
  return a.number == b.number && (a.family == b.family || std::strcmp(a.family, b.family) == 0);
}

}  // namespace

void LockOrder::add(const Name& held, const Name& taken, int thread, const Site& site) {
  for (const Edge& edge : edges_) {
    if (same(edge.taken, taken) && same(edge.held, held)) return;
  }
  // Two objects of one name are not told apart: no order between them.
  if (!same(held, taken)) edges_.push_back(Edge{held, taken, thread, site});
}

void LockOrder::add(const std::vector<Edge>& edges) {
  for (const Edge& edge : edges) add(edge.held, edge.taken, edge.thread, edge.site);
}

bool LockOrder::path(const Name& from, const Name& to, std::vector<const Edge*>& edges,
                     std::vector<const Edge*>& dead) const {
  for (const Edge& edge : edges_) {
    if (!same(edge.held, from)) continue;
    if (std::find(dead.begin(), dead.end(), &edge) != dead.end()) continue;
    dead.push_back(&edge);
    edges.push_back(&edge);
    if (same(edge.taken, to) || path(edge.taken, to, edges, dead)) return true;
    edges.pop_back();
  }
  return false;
}

std::string LockOrder::cycle() const {
  for (const Edge& edge : edges_) {
    std::vector<const Edge*> edges{&edge};
    std::vector<const Edge*> dead;
    if (!path(edge.taken, edge.held, edges, dead)) continue;
    std::string text;
    for (const Edge* e : edges) {
      text += (text.empty() ? "" : ", ") + to_string(e->taken) + " is taken with " +
              to_string(e->held) + " held by thread " + std::to_string(e->thread) + " at " +
              to_string(e->site);
    }
    return text;
  }
  return "";
}

}  // namespace explorer
