#include "explorer/division.h"

#include <algorithm>
#include <utility>

#include "explorer/part_search.h"
#include "explorer/strategies.h"

namespace explorer {
namespace {

constexpr uint64_t kTriedExecutions = 12;  // of each part
constexpr size_t kTriedObjects = 8;
constexpr uint64_t kTriedSteps = 2'000'000;  // in all: about a second
constexpr double kLittleWaste = 0.1;

}  // namespace

Division::Division(Engine& engine, const Options& options) : engine_(engine), options_(options) {
  options_.observer = nullptr;
  options_.judge_lock_order = nullptr;
  options_.keep_going = true;
}

int Division::probe() {
  Exhaustive first(engine_.options().max_steps, 0);
  engine_.set_part(nullptr);
  engine_.run(first, {}, 0);
  turns_.clear();
  for (int i = 0; i < engine_.steps(); ++i) {
    const Event& event = engine_.event(i);
    if (takes_turn(event.label, event.outcome)) ++turns_[event.label.object][event.label.thread];
  }
  return engine_.steps();
}

Division::Piece Division::tried(Part part, Pieces& sums) {
  Piece piece;
  piece.part = std::move(part);
  const Task task{piece.part, {}, 1};
  PartSearch search(engine_, options_, task);
  uint64_t runs = 0;
  search.run([&] { return ++runs < kTriedExecutions && steps_ < kTriedSteps; });
  const Result& result = search.result();
  steps_ += result.events;
  piece.progress = search.progress();
  piece.finished = search.status() == PartSearch::Status::kFinished;
  piece.state = search.save();
  const auto all = static_cast<double>(result.executions + result.cut_short);
  piece.size = piece.finished ? 0 : all / std::max(piece.progress, 1e-9);
  if (!piece.finished) ++sums.open;
  // What finds nothing is a small part, and cut short once. What is found is found again, as it
  // would be without a trial.
  if (!piece.finished) sums.waste += std::max(0.0, static_cast<double>(result.cut_short) - 1) / all;
  if (result.findings > 0) {
    piece.finished = false;
    piece.state.clear();
  }
  return piece;
}

Division::Pieces Division::tried(const Turns& objects, size_t wanted, double most_waste) {
  Pieces pieces;
  std::vector<Part> parts = parts_of(objects, engine_.threads(), wanted);
  for (Part& part : parts) {
    pieces.all.push_back(tried(std::move(part), pieces));
    if (engine_.wants_restart()) return {};
    // Whatever the others are like.
    if (pieces.waste > most_waste * static_cast<double>(parts.size())) return {{}, 1, 0};
  }
  pieces.waste /= static_cast<double>(std::max<size_t>(pieces.open, 1));
  if (pieces.waste > most_waste) return {{}, 1, 0};
  return pieces;
}

// Those that do well on their own, as long as they do together.
Division::Pieces Division::by_chosen_objects(size_t wanted, double most_waste) {
  std::vector<uint32_t> objects = fought_over(turns_);
  if (objects.size() > kTriedObjects) objects.resize(kTriedObjects);
  struct Alone {
    uint32_t object;
    Pieces pieces;
  };
  std::vector<Alone> alone;
  for (const uint32_t object : objects) {
    if (steps_ >= kTriedSteps) break;
    Pieces pieces = tried({{object, turns_.at(object)}}, wanted, most_waste);
    if (engine_.wants_restart()) return {};
    if (!pieces.all.empty()) alone.push_back(Alone{object, std::move(pieces)});
  }
  std::stable_sort(alone.begin(), alone.end(),
                   [](const Alone& a, const Alone& b) { return a.pieces.waste < b.pieces.waste; });
  Pieces best;
  chosen_.clear();
  for (Alone& next : alone) {
    Turns more = chosen_;
    more[next.object] = turns_.at(next.object);
    Pieces pieces = chosen_.empty() ? std::move(next.pieces) : tried(more, wanted, kLittleWaste);
    if (engine_.wants_restart()) return {};
    // The first one in any case, others as long as they cost little.
    if (pieces.all.empty()) break;
    best = std::move(pieces);
    chosen_ = std::move(more);
    if (best.all.size() >= wanted || chosen_.size() == kMaxLimits) break;
  }
  return best;
}

// More parts by the same objects, where many are done already.
Division::Pieces Division::finer(size_t wanted, Pieces coarse) {
  for (size_t more = 2 * wanted; coarse.open < wanted && more <= 8 * wanted; more *= 2) {
    const size_t count = parts_of(chosen_, engine_.threads(), more).size();
    if (count == coarse.all.size() || steps_ >= kTriedSteps) break;
    Pieces fine = tried(chosen_, more, kLittleWaste);
    if (engine_.wants_restart()) return {};
    if (fine.open <= coarse.open) break;
    coarse = std::move(fine);
  }
  return coarse;
}

// By all objects if that does well, by some that do, or by what does least badly.
Division::Pieces Division::well_divided(size_t wanted) {
  chosen_ = turns_;
  // Other searches waste nothing that they would not without parts.
  const double little = options_.method == Method::kDpor ? kLittleWaste : 1;
  Pieces pieces = tried(turns_, wanted, little);
  if (!pieces.all.empty() || engine_.wants_restart()) return pieces;
  pieces = by_chosen_objects(wanted, kLittleWaste);
  if (!pieces.all.empty() || engine_.wants_restart()) return pieces;
  pieces = by_chosen_objects(wanted, 1);
  if (engine_.wants_restart()) return {};
  Pieces by_all = tried(turns_, wanted, pieces.all.empty() ? 1 : pieces.waste);
  if (by_all.all.empty()) return pieces;
  chosen_ = turns_;
  return by_all;
}

std::vector<Division::Piece> Division::divide(size_t wanted) {
  probe();
  if (engine_.wants_restart()) return {};
  Pieces pieces = well_divided(wanted);
  if (engine_.wants_restart()) return {};
  pieces = finer(wanted, std::move(pieces));
  std::stable_sort(pieces.all.begin(), pieces.all.end(),
                   [](const Piece& a, const Piece& b) { return a.size > b.size; });
  return std::move(pieces.all);
}

}  // namespace explorer
