#include "stress/maps.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hatcheck {
namespace {

constexpr uint64_t kPage = 4096;

// Takes fields off a line from left to right and remembers the column for messages.
class Fields {
 public:
  explicit Fields(const std::string& line) : line_(line) {}

  // The text up to the next `end` character, which is consumed. False if it does not occur.
  bool until(char end, std::string* out) {
    const size_t stop = line_.find(end, pos_);
    if (stop == std::string::npos) return false;
    *out = line_.substr(pos_, stop - pos_);
    pos_ = stop + 1;
    return true;
  }

  // The next word, with the blanks before it skipped. Empty at the end of the line.
  std::string word() {
    while (pos_ < line_.size() && line_[pos_] == ' ') ++pos_;
    const size_t start = pos_;
    while (pos_ < line_.size() && line_[pos_] != ' ') ++pos_;
    return line_.substr(start, pos_ - start);
  }

  std::string rest() const { return std::string(absl::StripAsciiWhitespace(line_.substr(pos_))); }

  size_t column() const { return pos_ + 1; }

 private:
  const std::string& line_;
  size_t pos_ = 0;
};

absl::Status expected(const Fields& fields, const char* what) {
  return absl::InvalidArgumentError(
      absl::StrFormat("expected %s before column %d", what, fields.column()));
}

bool hex(const std::string& text, uint64_t* value) {
  return !text.empty() && absl::SimpleHexAtoi(text, value);
}

absl::StatusOr<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return absl::NotFoundError(
        absl::StrFormat("cannot read %s: %s", path, std::generic_category().message(errno)));
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return absl::DataLossError(absl::StrFormat("cannot read %s to its end", path));
  return text.str();
}

// Names in a folder that `want` accepts, sorted.
template <class Predicate>
absl::StatusOr<std::vector<std::string>> names_in(const std::string& folder, Predicate want) {
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) {
    return absl::NotFoundError(absl::StrFormat("cannot read the folder %s: %s", folder,
                                               std::generic_category().message(errno)));
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir)) {
    if (want(std::string(entry->d_name))) names.emplace_back(entry->d_name);
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_number(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
}

}  // namespace

absl::StatusOr<MapsLine> parse_maps_line(const std::string& line) {
  Fields fields(line);
  MapsLine out;
  std::string start, end;
  if (!fields.until('-', &start) || !hex(start, &out.start)) {
    return expected(fields, "START-END in hexadecimal");
  }
  end = fields.word();
  if (!hex(end, &out.end)) return expected(fields, "the end address in hexadecimal");
  if (out.start % kPage != 0 || out.end % kPage != 0 || out.start >= out.end) {
    return expected(fields, "page-aligned addresses with START < END");
  }
  const std::string perms = fields.word();
  const bool well_formed = perms.size() == 4 && (perms[0] == 'r' || perms[0] == '-') &&
                           (perms[1] == 'w' || perms[1] == '-') &&
                           (perms[2] == 'x' || perms[2] == '-') &&
                           (perms[3] == 'p' || perms[3] == 's');
  if (!well_formed) return expected(fields, "permissions like r-xp");
  out.read = perms[0] == 'r';
  out.write = perms[1] == 'w';
  out.exec = perms[2] == 'x';
  out.shared = perms[3] == 's';
  if (!hex(fields.word(), &out.offset)) return expected(fields, "the file offset in hexadecimal");
  out.device = fields.word();
  if (out.device.find(':') == std::string::npos) return expected(fields, "a device like 08:01");
  if (!absl::SimpleAtoi(fields.word(), &out.inode)) return expected(fields, "an inode number");
  out.path = fields.rest();
  return out;
}

absl::StatusOr<ProcessMaps> parse_maps(const std::string& name, const std::string& text) {
  ProcessMaps out;
  out.name = name;
  std::istringstream in(text);
  std::string line;
  uint64_t previous_end = 0;
  for (int number = 1; std::getline(in, line); ++number) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<MapsLine> parsed = parse_maps_line(line);
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s:%d: %s", name, number, parsed.status().message()));
    }
    if (parsed->start < previous_end) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s:%d: overlaps the mapping before it (expected START >= %x)", name,
                          number, previous_end));
    }
    previous_end = parsed->end;
    out.lines.push_back(*std::move(parsed));
  }
  return out;
}

std::string format_maps(const ProcessMaps& maps) {
  std::string text;
  for (const MapsLine& line : maps.lines) {
    absl::StrAppendFormat(&text, "%x-%x %c%c%c%c %08x %s %d %s\n", line.start, line.end,
                          line.read ? 'r' : '-', line.write ? 'w' : '-', line.exec ? 'x' : '-',
                          line.shared ? 's' : 'p', line.offset, line.device, line.inode, line.path);
  }
  return text;
}

absl::StatusOr<std::vector<ProcessMaps>> read_live_maps() {
  absl::StatusOr<std::vector<std::string>> pids = names_in("/proc", is_number);
  if (!pids.ok()) return pids.status();
  std::vector<ProcessMaps> out;
  for (const std::string& pid : *pids) {
    const std::string path = absl::StrCat("/proc/", pid, "/maps");
    absl::StatusOr<std::string> text = read_file(path);
    if (!text.ok() || text->empty()) continue;  // gone, not ours, or a kernel thread
    absl::StatusOr<ProcessMaps> maps = parse_maps(path, *text);
    if (!maps.ok()) return maps.status();
    out.push_back(*std::move(maps));
  }
  if (out.empty()) {
    return absl::NotFoundError(
        "no process under /proc has readable maps; expected at least this one "
        "(or give a folder of saved maps files with --maps=DIR)");
  }
  return out;
}

absl::StatusOr<std::vector<ProcessMaps>> read_maps_folder(const std::string& folder) {
  absl::StatusOr<std::vector<std::string>> names =
      names_in(folder, [&folder](const std::string& name) {
        struct stat info;
        return stat(absl::StrCat(folder, "/", name).c_str(), &info) == 0 && S_ISREG(info.st_mode);
      });
  if (!names.ok()) return names.status();
  std::vector<ProcessMaps> out;
  for (const std::string& name : *names) {
    const std::string path = absl::StrCat(folder, "/", name);
    absl::StatusOr<std::string> text = read_file(path);
    if (!text.ok()) return text.status();
    absl::StatusOr<ProcessMaps> maps = parse_maps(path, *text);
    if (!maps.ok()) return maps.status();
    if (!maps->lines.empty()) out.push_back(*std::move(maps));
  }
  if (out.empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "no maps in the folder %s; expected files in the format of /proc/PID/maps", folder));
  }
  return out;
}

}  // namespace hatcheck
