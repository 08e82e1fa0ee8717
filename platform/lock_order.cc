#include "platform/lock_order.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

namespace hatcheck {
namespace {

bool same_place(const Where& a, const Where& b) {
  return a.line == b.line && a.column == b.column &&
         (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

bool same_edge(const LockEdge& a, const LockEdge& b) {
  return a.outer.lock_class == b.outer.lock_class && a.inner.lock_class == b.inner.lock_class &&
         a.inner.by_try == b.inner.by_try && same_place(a.outer.where, b.outer.where) &&
         same_place(a.inner.where, b.inner.where);
}

bool one_class(const LockEdge& edge) { return edge.outer.lock_class == edge.inner.lock_class; }

// Whether two locks of one class are taken in an order that the class allows.
bool nests_well(const LockUse& outer, const LockUse& inner) {
  return outer.lock_class->nests == Nests::kLargerNumberFirst && outer.instance > inner.instance;
}

// What an edge that waits may not be.
bool against_declaration(const LockEdge& edge) {
  if (one_class(edge)) return !nests_well(edge.outer, edge.inner);
  return edge.outer.lock_class->place >= edge.inner.lock_class->place;
}

// "hat/hment.cc:12 (f)", without what a build puts before it.
std::string source(const Where& where) {
  std::string text = to_string(where);
  const size_t bin = text.find("/bin/");
  if (text.starts_with("bazel-out/") && bin != std::string::npos) text.erase(0, bin + 5);
  if (text.starts_with("./")) text.erase(0, 2);
  return text;
}

std::string name(const LockUse& use) { return lock_name(use.lock_class, use.instance); }

std::string named_with_place(const LockUse& use) {
  return name(use) + " (place " + std::to_string(use.lock_class->place) + ")";
}

std::string headline(const LockEdge& edge) {
  return name(edge.inner) + " is entered with " + name(edge.outer) + " held, at " +
         source(edge.inner.where) + ", held since " + source(edge.outer.where);
}

std::string chain(const LockEdge& edge) {
  std::string text = "\n  cpu " + std::to_string(edge.cpu) + " takes " +
                     named_with_place(edge.inner) + " at " + source(edge.inner.where);
  for (const LockUse& use : edge.holds) {
    text += "\n    holds " + named_with_place(use) + (use.by_try ? " by tryenter" : "") +
            " since " + source(use.where);
  }
  return text;
}

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

uint64_t word(const void* p) { return reinterpret_cast<uintptr_t>(p); }

uint64_t word(const Where& where) {
  return word(where.file) ^ static_cast<uint64_t>(where.line) << 40 ^
         static_cast<uint64_t>(where.column) << 56;
}

}  // namespace

std::string to_string(const LockEdge& edge) {
  return source(edge.inner.where) + " takes " + name(edge.inner) +
         (edge.inner.by_try ? " by tryenter" : "") + " with " + name(edge.outer) + " held since " +
         source(edge.outer.where);
}

std::string lock_edges_json(const std::vector<LockEdge>& edges) {
  const auto lock = [](const LockUse& use) {
    return std::string("{\"class\": \"") + use.lock_class->name +
           "\", \"place\": " + std::to_string(use.lock_class->place) +
           ", \"number\": " + std::to_string(use.instance) +
           ", \"by_try\": " + (use.by_try ? "true" : "false") + ", \"at\": \"" + source(use.where) +
           "\"}";
  };
  std::string text = "[";
  for (const LockEdge& edge : edges) {
    text += text.size() > 1 ? ",\n" : "";
    text += "{\"outer\": " + lock(edge.outer) + ", \"inner\": " + lock(edge.inner) + "}";
  }
  return text + "]";
}

LockOrder::LockOrder() : table_(new std::atomic<uint64_t>[kSlots]()) {}

uint64_t LockOrder::fingerprint(const LockUse& outer, const LockUse& inner) {
  uint64_t hash = mix(word(outer.lock_class), word(outer.where));
  hash = mix(hash, word(inner.lock_class));
  hash = mix(hash, word(inner.where) * 2 + (inner.by_try ? 1 : 0));
  return hash | 1;
}

bool LockOrder::known(const LockUse& outer, const LockUse& inner) const {
  // Which one is taken first tells whether it is right, not only where.
  if (outer.lock_class == inner.lock_class && !inner.by_try && !nests_well(outer, inner)) {
    return false;
  }
  const uint64_t print = fingerprint(outer, inner);
  for (uint32_t i = 0; i < kProbes; ++i) {
    // Release and acquire: who finds the edge here and then reads edges() sees it there.
    const uint64_t found = table_[(print + i) % kSlots].load(std::memory_order_acquire);
    if (found == print) return true;
    if (found == 0) return false;
  }
  return false;
}

const LockEdge* LockOrder::seen(const LockEdge& edge) const {
  const bool bad = !edge.inner.by_try && against_declaration(edge);
  for (const auto& other : edges_) {
    if (!same_edge(*other, edge)) continue;
    // The same places may take two locks of one class in either order.
    if ((!other->inner.by_try && against_declaration(*other)) == bad) return other.get();
  }
  return nullptr;
}

void LockOrder::add(LockEdge edge) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (seen(edge) == nullptr) {
    edges_.push_back(std::make_unique<LockEdge>(edge));
    const LockEdge* const added = edges_.back().get();
    if (!edge.inner.by_try && (against_declaration(edge) ||
                               !path(edge.inner.lock_class, edge.outer.lock_class).empty())) {
      against_.push_back(added);
      inverted_.store(true, std::memory_order_release);
    }
  }
  const uint64_t print = fingerprint(edge.outer, edge.inner);
  for (uint32_t i = 0; i < kProbes; ++i) {
    std::atomic<uint64_t>& slot = table_[(print + i) % kSlots];
    const uint64_t found = slot.load(std::memory_order_relaxed);
    if (found == print) return;
    if (found == 0) {
      slot.store(print, std::memory_order_release);
      return;
    }
  }
  // The neighbourhood is full: this edge is looked up under the mutex each time.
}

std::vector<const LockEdge*> LockOrder::path(const LockClass* from, const LockClass* to) const {
  // The edge by which each class was reached first; the search goes on from the oldest.
  std::vector<std::pair<const LockClass*, const LockEdge*>> reached{{from, nullptr}};
  const auto find = [&](const LockClass* lock_class) {
    return std::find_if(reached.begin(), reached.end(),
                        [&](const auto& entry) { return entry.first == lock_class; });
  };
  for (size_t i = 0; i < reached.size() && find(to) == reached.end(); ++i) {
    for (const auto& edge : edges_) {
      if (edge->outer.lock_class != reached[i].first || edge->inner.by_try) continue;
      if (find(edge->inner.lock_class) == reached.end()) {
        reached.emplace_back(edge->inner.lock_class, edge.get());
      }
    }
  }
  std::vector<const LockEdge*> way;
  for (auto at = find(to); at != reached.end() && at->second != nullptr;
       at = find(at->second->outer.lock_class)) {
    way.insert(way.begin(), at->second);
  }
  return way;
}

Inversion LockOrder::describe(const LockEdge& late) const {
  std::vector<const LockEdge*> others;
  Inversion found;
  found.where = late.inner.where;
  found.message = headline(late);
  if (one_class(late)) {
    found.both = true;  // one is enough: who holds a lock may be any thread
    found.message += late.outer.lock_class->nests == Nests::kNever
                         ? ": two locks of a class that does not nest"
                         : ": the one with the larger number comes first";
    for (const auto& edge : edges_) {
      if (edge->outer.lock_class == late.outer.lock_class && one_class(*edge) &&
          !edge->inner.by_try && !against_declaration(*edge)) {
        others.push_back(edge.get());
        break;
      }
    }
  } else {
    others = path(late.inner.lock_class, late.outer.lock_class);
    found.both = !others.empty();
  }
  for (const LockEdge* other : others) found.message += "; elsewhere " + headline(*other);
  if (!found.both) found.message += "; the other order was not seen, but is declared by the places";
  found.message += chain(late);
  for (const LockEdge* other : others) found.message += chain(*other);
  return found;
}

std::vector<LockEdge> LockOrder::edges() const {
  std::vector<LockEdge> edges;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    for (const auto& edge : edges_) edges.push_back(*edge);
  }
  const auto key = [](const LockEdge& e) {
    return std::make_tuple(e.outer.lock_class->place, e.inner.lock_class->place, e.inner.by_try,
                           std::string(e.outer.where.file), e.outer.where.line,
                           std::string(e.inner.where.file), e.inner.where.line);
  };
  std::sort(edges.begin(), edges.end(),
            [&](const LockEdge& a, const LockEdge& b) { return key(a) < key(b); });
  return edges;
}

std::optional<Inversion> LockOrder::inversion() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  std::optional<Inversion> first;
  for (const LockEdge* edge : against_) {
    Inversion found = describe(*edge);
    if (found.both) return found;
    if (!first) first = std::move(found);
  }
  return first;
}

void LockOrder::clear() {
  const std::lock_guard<std::mutex> guard(mutex_);
  for (uint32_t i = 0; i < kSlots; ++i) table_[i].store(0, std::memory_order_relaxed);
  edges_.clear();
  against_.clear();
  inverted_.store(false, std::memory_order_relaxed);
}

}  // namespace hatcheck
