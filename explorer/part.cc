#include "explorer/part.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace explorer {
namespace {

struct Orders {
  double logarithm;  // of in how many orders the turns can be taken
  uint32_t object;
};

std::vector<Orders> by_orders(const Turns& turns) {
  std::vector<Orders> all;
  for (const auto& [object, counts] : turns) {
    double sum = 0;
    double logarithm = 0;
    for (const int count : counts) {
      sum += count;
      logarithm -= std::lgamma(count + 1);
    }
    logarithm += std::lgamma(sum + 1);
    if (logarithm > 0.1) all.push_back(Orders{logarithm, object});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Orders& a, const Orders& b) { return a.logarithm > b.logarithm; });
  return all;
}

// A part while it is being divided by one object.
struct Branch {
  Part part;
  std::array<int, kMaxThreads> left{};  // turns that each thread is expected to take
  bool open = true;
};

// One more turn: a branch for each thread that is expected, one for all others together.
void divide(const Branch& branch, int threads, std::vector<Branch>& out) {
  uint8_t others = static_cast<uint8_t>((1 << threads) - 1);
  const auto add = [&](uint8_t mask, int thread) {
    Branch next = branch;
    next.part.limits.back().turns.push_back(mask);
    next.open = thread >= 0;
    if (thread >= 0) --next.left[thread];
    out.push_back(std::move(next));
  };
  for (int t = 0; t < threads; ++t) {
    if (branch.left[t] <= 0) continue;
    add(static_cast<uint8_t>(1 << t), t);
    others &= static_cast<uint8_t>(~(1 << t));
  }
  if (others != 0) add(others, -1);
}

bool undecided(const Branch& branch) {
  return branch.open &&
         std::count_if(branch.left.begin(), branch.left.end(), [](int n) { return n > 0; }) > 1;
}

}  // namespace

bool Limit::ends_here(size_t taken) const {
  return std::all_of(turns.begin() + static_cast<std::ptrdiff_t>(std::min(taken, turns.size())),
                     turns.end(), [](uint8_t mask) { return (mask & 1) != 0; });
}

std::vector<uint32_t> fought_over(const Turns& turns) {
  std::vector<uint32_t> objects;
  for (const Orders& orders : by_orders(turns)) objects.push_back(orders.object);
  return objects;
}

std::vector<Part> parts_of(const Turns& turns, int threads, size_t count) {
  std::vector<Part> parts(1);
  for (const Orders& orders : by_orders(turns)) {
    if (parts.size() >= count || parts[0].limits.size() == kMaxLimits) break;
    std::vector<Branch> branches;
    for (Part& part : parts) {
      part.limits.push_back(Limit{orders.object, {}});
      branches.push_back(Branch{std::move(part), turns.at(orders.object), true});
    }
    while (branches.size() < count && std::any_of(branches.begin(), branches.end(), undecided)) {
      std::vector<Branch> next;
      for (Branch& branch : branches) {
        if (undecided(branch)) {
          divide(branch, threads, next);
        } else {
          next.push_back(std::move(branch));
        }
      }
      branches = std::move(next);
    }
    parts.clear();
    for (Branch& branch : branches) parts.push_back(std::move(branch.part));
  }
  return parts;
}

}  // namespace explorer
