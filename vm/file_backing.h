// FileBacking: a vnode's bytes in a real file, through pread and pwrite. The guarantees are those
// of vm/vnode_backing.h.
#ifndef HATCHECK_VM_FILE_BACKING_H_
#define HATCHECK_VM_FILE_BACKING_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "platform/platform.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class FileBacking : public VnodeBacking {
 public:
  // flags: as for open(2), such as O_RDWR | O_CREAT; new files get mode 0600.
  static absl::StatusOr<std::unique_ptr<FileBacking>> open(const std::string& path, int flags);
  ~FileBacking() override;
  FileBacking(const FileBacking&) = delete;
  FileBacking& operator=(const FileBacking&) = delete;

  int read(uint64_t off, absl::Span<uint8_t> to) override;
  int write(uint64_t off, absl::Span<const uint8_t> from) override;
  uint64_t size() override;
  int resize(uint64_t bytes) override;
  int sync() override;

 private:
  explicit FileBacking(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_FILE_BACKING_H_
