// See vm/file_backing.h.
#include "vm/file_backing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hatcheck::inline HATCHECK_BACKEND {

absl::StatusOr<std::unique_ptr<FileBacking>> FileBacking::open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  return std::unique_ptr<FileBacking>(new FileBacking(fd));
}

FileBacking::~FileBacking() { ::close(fd_); }

int FileBacking::read(uint64_t off, absl::Span<uint8_t> to) {
  while (!to.empty()) {
    const ssize_t n = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(off));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;  // the end of the file
    off += static_cast<uint64_t>(n);
    to.remove_prefix(static_cast<size_t>(n));
  }
  std::fill(to.begin(), to.end(), uint8_t{0});
  return 0;
}

int FileBacking::write(uint64_t off, absl::Span<const uint8_t> from) {
  while (!from.empty()) {
    const ssize_t n = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(off));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;  // no progress and no reason
    off += static_cast<uint64_t>(n);
    from.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

uint64_t FileBacking::size() {
  struct stat st;
  // Fails only for a descriptor that is not one, which the constructor excludes.
  return ::fstat(fd_, &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

int FileBacking::resize(uint64_t bytes) {
  return ::ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

int FileBacking::sync() { return ::fsync(fd_) == 0 ? 0 : errno; }

}  // namespace hatcheck::inline HATCHECK_BACKEND
