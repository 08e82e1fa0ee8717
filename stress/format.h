// Numbers and tables for people.
#ifndef HATCHECK_STRESS_FORMAT_H_
#define HATCHECK_STRESS_FORMAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace hatcheck {

// 1234567 -> "1,234,567"
std::string grouped(uint64_t n);
std::string grouped(int64_t n);

// Three digits and a unit: 999 -> "999", 12345 -> "12.3 k", 12345678 -> "12.3 M".
std::string rounded(double n);

// A share of 0 to 1: "37.5%"; "-" if there is no whole to have a share of.
std::string percent(uint64_t part, uint64_t whole);

// 850 -> "850 ns", 12345 -> "12.3 us", ...
std::string nanoseconds(uint64_t ns);

// "0.5 s", "60 s", "12 min 30 s", "for ever".
std::string seconds(absl::Duration d);

// Columns wide enough for what is in them; the first to the left, the others to the right. The
// first row is the heading, and is underlined.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) { rows_.push_back(std::move(heading)); }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_FORMAT_H_
