#include "stress/evidence.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hatcheck {
namespace {

absl::Status problem(const std::string& what, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::generic_category().message(errno)));
}

// From the root, so that the printed commands work in every folder.
std::string absolute(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;
  std::string text = resolved;
  free(resolved);
  return text;
}

}  // namespace

absl::StatusOr<Evidence> Evidence::create(const std::string& wanted) {
  std::string folder = wanted;
  for (int n = 2; mkdir(folder.c_str(), 0777) != 0; ++n) {
    if (errno != EEXIST) return problem("make the folder", folder);
    folder = absl::StrCat(wanted, "-", n);
  }
  return Evidence(absolute(folder));
}

absl::Status Evidence::add(const std::string& name, const std::string& text) const {
  const std::string path = absl::StrCat(folder_, "/", name);
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return problem("write", path);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) return problem("write", path);
  return absl::OkStatus();
}

absl::Status Evidence::add_maps(const std::vector<ProcessMaps>& maps) const {
  const std::string folder = absl::StrCat(folder_, "/maps");
  if (mkdir(folder.c_str(), 0777) != 0) return problem("make the folder", folder);
  // A folder is read in name order, so the number comes first.
  for (size_t i = 0; i < maps.size(); ++i) {
    const absl::Status status = add(absl::StrFormat("maps/%06d.maps", i), format_maps(maps[i]));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace hatcheck
