#include "platform/nearest.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hatcheck {

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest(const std::string& word, const std::vector<std::string>& choices) {
  const auto closest = std::min_element(choices.begin(), choices.end(),
                                        [&word](const std::string& a, const std::string& b) {
                                          return edit_distance(word, a) < edit_distance(word, b);
                                        });
  return closest == choices.end() ? std::string() : *closest;
}

std::string unknown_choice(const std::string& what, const std::string& word,
                           const std::vector<std::string>& choices) {
  return absl::StrCat("unknown ", what, " '", word, "'; expected one of ",
                      absl::StrJoin(choices, ", "), "; nearest: ", nearest(word, choices));
}

}  // namespace hatcheck
