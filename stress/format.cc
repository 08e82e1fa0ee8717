#include "stress/format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hatcheck {
namespace {

// Three significant digits of a number below 1000.
std::string three_digits(double n) {
  if (n >= 99.95) return absl::StrFormat("%.0f", n);
  if (n >= 9.995) return absl::StrFormat("%.1f", n);
  return absl::StrFormat("%.2f", n);
}

template <size_t N>
std::string scaled(double n, const std::array<const char*, N>& units) {
  size_t i = 0;
  // 999.5 would be printed as 1000.
  while (n >= 999.5 && i + 1 < N) {
    n /= 1000;
    ++i;
  }
  const bool whole = i == 0 && n == std::floor(n);
  return absl::StrCat(whole ? absl::StrFormat("%.0f", n) : three_digits(n), units[i]);
}

}  // namespace

std::string grouped(uint64_t n) {
  std::string text = absl::StrCat(n);
  for (size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string grouped(int64_t n) {
  if (n >= 0) return grouped(static_cast<uint64_t>(n));
  return absl::StrCat("-", grouped(uint64_t{0} - static_cast<uint64_t>(n)));
}

std::string rounded(double n) {
  return scaled(n, std::array<const char*, 5>{"", " k", " M", " G", " T"});
}

std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  // Not "0.0%": a little is not nothing.
  if (part != 0 && static_cast<double>(part) / static_cast<double>(whole) < 0.0005) return "<0.1%";
  return absl::StrFormat("%.1f%%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string nanoseconds(uint64_t ns) {
  return scaled(static_cast<double>(ns), std::array<const char*, 4>{" ns", " us", " ms", " s"});
}

std::string seconds(absl::Duration d) {
  if (d == absl::InfiniteDuration()) return "for ever";
  const double s = absl::ToDoubleSeconds(d);
  if (s < 9.95) return absl::StrFormat("%.1f s", s);
  const int64_t whole = static_cast<int64_t>(std::llround(s));
  if (whole < 120) return absl::StrCat(whole, " s");
  return absl::StrCat(grouped(whole / 60), " min ", whole % 60, " s");
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& cells : rows_) {
    widths.resize(std::max(widths.size(), cells.size()));
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  std::string out;
  for (size_t r = 0; r < rows_.size(); ++r) {
    std::string line;
    for (size_t i = 0; i < rows_[r].size(); ++i) {
      const std::string& cell = rows_[r][i];
      const std::string fill(widths[i] - cell.size(), ' ');
      absl::StrAppend(&line, "  ", i == 0 ? absl::StrCat(cell, fill) : absl::StrCat(fill, cell));
    }
    absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
    if (r != 0) continue;
    for (const size_t width : widths) absl::StrAppend(&out, "  ", std::string(width, '-'));
    out += "\n";
  }
  return out;
}

}  // namespace hatcheck
