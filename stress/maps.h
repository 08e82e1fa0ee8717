// Memory maps of processes, in the format of /proc/PID/maps: the real input of the `maps` workload.
#ifndef HATCHECK_STRESS_MAPS_H_
#define HATCHECK_STRESS_MAPS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hatcheck {

// One line: start-end perms offset dev inode [path].
struct MapsLine {
  uint64_t start = 0, end = 0;  // bytes, page aligned, start < end
  bool read = false, write = false, exec = false, shared = false;
  uint64_t offset = 0;
  std::string device;
  uint64_t inode = 0;
  std::string path;  // may be empty (anonymous) or like [heap]
  bool is_file() const { return inode != 0; }
};

struct ProcessMaps {
  std::string name;  // where it came from: "/proc/12/maps" or the saved file
  std::vector<MapsLine> lines;
};

// Parses one line; the message says what was expected at which column.
absl::StatusOr<MapsLine> parse_maps_line(const std::string& line);

// Parses a whole file's text; a bad line is "NAME:LINE: message". Lines must not overlap.
absl::StatusOr<ProcessMaps> parse_maps(const std::string& name, const std::string& text);

// The text that parse_maps reads back as the same lines.
std::string format_maps(const ProcessMaps& maps);

// All processes of the running machine whose maps can be read (those that vanish or are not ours
// are skipped; kernel threads have none). Fails if not one can be read.
absl::StatusOr<std::vector<ProcessMaps>> read_live_maps();

// All regular files of a folder, in name order, as saved maps files. A file that cannot be read or
// parsed is an error.
absl::StatusOr<std::vector<ProcessMaps>> read_maps_folder(const std::string& folder);

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_MAPS_H_
