#include "explorer/search_state.h"

namespace explorer {

Result SearchState::total() const {
  Result total = done;
  for (const Item& item : items) {
    if (!item.done && !item.saved.empty()) {
      add_result(total, PartSearch::summary(item.saved).result);
    }
  }
  return total;
}

double SearchState::progress() const {
  double sum = 0;
  for (const Item& item : items) sum += item.done ? 1 : item.progress;
  return items.empty() ? 1 : sum / static_cast<double>(items.size());
}

std::string SearchState::save() const {
  Writer to;
  to.put(watch_states);
  to.put(bound_met);
  save_result(to, done);
  save_edges(to, edges);
  to.put(static_cast<uint64_t>(of_all));
  to.put(static_cast<uint64_t>(items.size()));
  for (const Item& item : items) {
    to.put(item.done);
    to.put(item.progress);
    to.put(item.saved);
    to.put(item.task.slice.first);
    to.put(item.task.slice.stride);
    to.put(item.task.steps);
    to.put(static_cast<uint64_t>(item.task.part.limits.size()));
    for (const Limit& limit : item.task.part.limits) {
      to.put(limit.object);
      to.put(static_cast<uint64_t>(limit.turns.size()));
      for (const uint8_t turn : limit.turns) to.put(turn);
    }
  }
  return to.text();
}

bool SearchState::load(const std::string& text) {
  Reader from(text);
  watch_states = from.get<bool>();
  bound_met = from.get<bool>();
  done = load_result(from);
  edges = load_edges(from);
  of_all = from.get<uint64_t>();
  items.assign(from.count(), Item{});
  for (Item& item : items) {
    item.done = from.get<bool>();
    item.progress = from.get<double>();
    item.saved = from.text();
    item.task.slice.first = from.get<uint64_t>();
    item.task.slice.stride = from.get<uint64_t>();
    item.task.steps = from.get<int>();
    item.task.part.limits.resize(from.count());
    if (item.task.part.limits.size() > kMaxLimits) return false;
    for (Limit& limit : item.task.part.limits) {
      limit.object = from.get<uint32_t>();
      limit.turns.resize(from.count());
      for (uint8_t& turn : limit.turns) turn = from.get<uint8_t>();
    }
  }
  return from.ok() && from.at_end();
}

void save_edges(Writer& to, const std::vector<LockOrder::Edge>& edges) {
  to.put(static_cast<uint64_t>(edges.size()));
  const auto put = [&to](const LockOrder::Lock& lock) {
    to.put(std::string_view(lock.name.family));
    to.put(lock.name.number);
    to.put(lock.site);
    to.put(lock.tried);
  };
  for (const LockOrder::Edge& edge : edges) {
    put(edge.held);
    put(edge.taken);
    to.put(edge.thread);
    to.put(static_cast<uint64_t>(edge.holds.size()));
    for (const LockOrder::Lock& lock : edge.holds) put(lock);
  }
}

std::vector<LockOrder::Edge> load_edges(Reader& from) {
  const auto get = [&from] {
    LockOrder::Lock lock;
    lock.name.family = kept(from.text());
    lock.name.number = from.get<uint32_t>();
    lock.site = from.site();
    lock.tried = from.get<bool>();
    return lock;
  };
  std::vector<LockOrder::Edge> edges(from.count());
  for (LockOrder::Edge& edge : edges) {
    edge.held = get();
    edge.taken = get();
    edge.thread = from.get<int>();
    edge.holds.resize(from.count());
    for (LockOrder::Lock& lock : edge.holds) lock = get();
  }
  return edges;
}

}  // namespace explorer
