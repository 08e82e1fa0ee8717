// SearchState: a whole search as parts, each of them open, under way or done.
//
// What a checkpoint holds, and what the processes of a search share out among them.
//
// Thread safety: plain data.
#ifndef HATCHECK_EXPLORER_SEARCH_STATE_H_
#define HATCHECK_EXPLORER_SEARCH_STATE_H_

#include <string>
#include <vector>

#include "explorer/lock_order.h"
#include "explorer/part_search.h"

namespace explorer {

struct SearchState {
  struct Item {
    Task task;
    bool done = false;
    std::string saved;  // PartSearch::save(), of a part that is under way
    double progress = 0;
  };

  std::vector<Item> items;
  size_t of_all = 1;  // parts in all shards
  bool watch_states = false;
  bool bound_met = false;  // some part met the bound on preemptions
  Result done;             // of the parts that are done
  std::vector<LockOrder::Edge> edges;

  // The counts of everything so far, saved parts included.
  Result total() const;
  double progress() const;
  std::string save() const;
  bool load(const std::string& text);
};

void save_edges(Writer& to, const std::vector<LockOrder::Edge>& edges);
std::vector<LockOrder::Edge> load_edges(Reader& from);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SEARCH_STATE_H_
