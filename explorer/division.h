// Division: how a search is divided into parts.
//
// One execution shows what there is to divide by. Then a few executions of each part tell whether
// many of them are cut short: turns that are taken late, or with locks held that others need to
// come to theirs, make parts that mostly lead nowhere, so then a few objects are chosen that do
// better. What those executions did need not be done again: it is the part's state.
//
// All processes come to the same parts without a word between them.
//
// Thread safety: one real thread; one at a time per engine.
#ifndef HATCHECK_EXPLORER_DIVISION_H_
#define HATCHECK_EXPLORER_DIVISION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "explorer/engine.h"
#include "explorer/part.h"
#include "explorer/search.h"

namespace explorer {

class Division {
 public:
  struct Piece {
    Part part;
    std::string state;      // PartSearch::save(), or empty if it must start anew
    bool finished = false;  // the state is that of the end
    double progress = 0;
    double size = 0;  // how many executions it seems to have
  };

  Division(Engine& engine, const Options& options);

  // At least `wanted` parts, if there is enough to divide by; what seems largest in front. None if
  // the search must begin anew (Engine::wants_restart).
  std::vector<Piece> divide(size_t wanted);

  // Makes one execution, to see what there is to divide by; returns its length.
  int probe();

 private:
  struct Pieces {
    std::vector<Piece> all;
    double waste = 0;  // the share of executions that are cut short
    size_t open = 0;   // pieces that have more to do
  };

  // None, if their waste is more than that.
  Pieces tried(const Turns& objects, size_t wanted, double most_waste);
  Piece tried(Part part, Pieces& sums);
  Pieces by_chosen_objects(size_t wanted, double most_waste);
  Pieces well_divided(size_t wanted);
  Pieces finer(size_t wanted, Pieces coarse);

  Engine& engine_;
  Options options_;  // of the trials
  Turns turns_;
  Turns chosen_;
  uint64_t steps_ = 0;  // that were tried
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_DIVISION_H_
