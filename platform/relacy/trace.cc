#include "platform/relacy/trace.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

constexpr size_t kColumn = 52;

// "hat/hment.cc:120" of a path that may be absolute or from a build folder.
std::string place(const Where& where) { return absl::StrCat(where.file, ":", where.line); }

std::string padded(std::string text) {
  if (text.size() + 1 > kColumn) {
    text.resize(kColumn - 2);
    text += "~";
  }
  text.resize(kColumn, ' ');
  return text;
}

void append_row(std::string& text, size_t number, int threads, int thread, const std::string& cell,
                const Where* where) {
  std::string line = number == 0 ? std::string(6, ' ') : absl::StrFormat("%5d ", number);
  for (int i = 0; i < threads; ++i) line += padded(i == thread ? cell : "");
  if (where != nullptr && where->line != 0) {
    absl::StrAppend(&line, " ", place(*where), " (", where->function, ")");
  }
  line.erase(line.find_last_not_of(' ') + 1);
  absl::StrAppend(&text, line, "\n");
}

}  // namespace

std::string Trace::columns(int threads, size_t limit) const {
  const void* last_field = events_.empty() ? nullptr : events_.back().field;
  std::vector<const Event*> shown;
  for (const Event& event : events_) {
    if (event.field == nullptr || event.field == last_field) shown.push_back(&event);
  }
  const size_t skip = shown.size() > limit ? shown.size() - limit : 0;
  std::string text;
  std::string header(6, ' ');
  for (int i = 0; i < threads; ++i) header += padded(absl::StrCat("cpu ", i));
  absl::StrAppend(&text, header, " place\n");
  if (skip != 0) absl::StrAppend(&text, "      (", skip, " earlier events are left out)\n");
  for (size_t i = skip; i < shown.size(); ++i) {
    const Event& event = *shown[i];
    append_row(text, i + 1, threads, event.thread, event.text, &event.where);
  }
  return text;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model
