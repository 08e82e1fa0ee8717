#include "explorer/report.h"

#include <algorithm>
#include <vector>

namespace explorer {
namespace {

constexpr size_t kWidest = 44;  // of a column; what is longer runs over

std::string body(const Line& line) {
  return line.value.empty() ? line.what : line.what + " = " + line.value;
}

void pad_to(std::string& row, size_t width) {
  if (row.size() < width) {
    row.resize(width, ' ');
  } else {
    row += "  ";
  }
}

std::string mark(const Line& line) {
  if (line.critical && line.conflict) return ">*";
  return line.critical ? "**" : line.conflict ? ">>" : "  ";
}

std::string rows(const Counterexample& example) {
  std::vector<size_t> widths(static_cast<size_t>(example.threads), 10);
  for (const Line& line : example.lines) {
    size_t& width = widths[static_cast<size_t>(line.thread)];
    width = std::max(width, std::min(body(line).size(), kWidest) + 2);
  }
  constexpr size_t kMargin = 9;
  const auto left_of = [&](int thread) {
    size_t left = kMargin;
    for (int i = 0; i < thread; ++i) left += widths[static_cast<size_t>(i)];
    return left;
  };
  const size_t right = left_of(example.threads);
  std::string text;
  std::string head;
  for (int i = 0; i < example.threads; ++i) {
    pad_to(head, left_of(i));
    head += "thread " + std::to_string(i);
  }
  text += head + "\n";
  for (const Line& line : example.lines) {
    std::string row = "  " + mark(line);
    const std::string number = line.step < 0 ? "" : std::to_string(line.step + 1);
    row += std::string(4 - std::min<size_t>(number.size(), 4), ' ') + number;
    pad_to(row, left_of(line.thread));
    row += body(line);
    if (line.site.file[0] != '\0') {
      pad_to(row, right);
      row += to_string(line.site);
    }
    for (size_t i = 0; i < line.holds.size(); ++i) {
      row += (i == 0 ? "  holds " : " ") + line.holds[i];
    }
    text += row + "\n";
  }
  return text;
}

}  // namespace

std::string to_text(const Counterexample& example) {
  std::string text = example.finding.message;
  if (example.finding.site.file[0] != '\0') text += "\n  at " + to_string(example.finding.site);
  for (const std::string& known :
       {about_preemptions(example.shrunk), about_critical_step(example.shrunk), example.problem}) {
    if (!known.empty()) text += "\n  " + known;
  }
  if (example.lines.empty()) return text;
  return text + "\n" + rows(example);
}

std::string explain(Program& program, const Options& options, const Result& result) {
  return to_text(counterexample(program, options, result, Effort{}));
}

}  // namespace explorer
