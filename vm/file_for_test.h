// Common to the tests of vm/ that move bytes: a scratch file, and reading a backing.
#ifndef HATCHECK_VM_FILE_FOR_TEST_H_
#define HATCHECK_VM_FILE_FOR_TEST_H_

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "vm/file_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

using Bytes = std::vector<uint8_t>;

inline Bytes read_back(VnodeBacking& backing, uint64_t off, size_t size) {
  Bytes bytes(size, 0xee);
  EXPECT_EQ(backing.read(off, absl::MakeSpan(bytes)), 0);
  return bytes;
}

// A file in the test's scratch folder, gone at the end.
class TempFile {
 public:
  TempFile() {
    const char* folder = std::getenv("TEST_TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/vnode_test.XXXXXX";
    const int fd = ::mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
  }
  ~TempFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }
  std::string contents() const {
    std::ifstream in(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

 private:
  std::string path_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_FILE_FOR_TEST_H_
