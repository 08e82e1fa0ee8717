// segcat: streams files to standard output through segmap's windows, as `cat` does through the
// kernel's. The smallest useful user: a file system's read path, with a window per MAXBSIZE bytes.
//
//   segcat [--slots=N] [--kpm] FILE...
//
// Exit codes: 0 all was written, 1 a file could not be read or the output not written, 2 bad usage.
// At the end of its reader (a closed pipe) it ends like any other filter, by SIGPIPE.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/system.h"
#include "platform/platform.h"
#include "segmap/segmap.h"
#include "segmap/segmap_copy.h"
#include "vm/file_backing.h"
#include "vm/vnode.h"

ABSL_FLAG(uint32_t, slots, 64, "windows of 8192 bytes, 1 to 2048");
ABSL_FLAG(bool, kpm, false, "pages as large as windows, and no translations of windows");

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kMostSlots = 2048;
// What a pipe takes at a time is about this much.
constexpr size_t kOutputBytes = 128 << 10;

std::string error_text(int error) { return std::generic_category().message(error); }

// One CPU, and memory for a few hundred windows: pages go round.
SystemConfig small_system(bool kpm) {
  SystemConfig config;
  config.machine.ncpus = 1;
  config.machine.nframes = 1024;
  config.hment_num_hash = 1024;
  config.mlist_num_lock = config.hash_num_lock = 64;
  if (kpm) {
    config.machine.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 10, .max_page_level = 1};
    config.kpm = KpmDesign::kOnDemand;
  }
  const uint64_t span = config.machine.mmu.level_size(1);
  config.kmap_bytes = (uint64_t{kMostSlots} * MAXBSIZE + span - 1) / span * span;
  config.kernelheap_bytes = 16 * span;
  return config;
}

// Standard output, filled in large pieces.
class Output {
 public:
  Output() { buffer_.reserve(kOutputBytes); }

  // Room for the next `bytes` bytes, to be filled by the caller; empty after an error.
  absl::Span<uint8_t> room(size_t bytes) {
    if (buffer_.size() + bytes > kOutputBytes && !flush()) return {};
    buffer_.resize(buffer_.size() + bytes);
    return absl::MakeSpan(buffer_).last(bytes);
  }

  bool flush() {
    for (size_t done = 0; done < buffer_.size();) {
      const ssize_t n = ::write(STDOUT_FILENO, buffer_.data() + done, buffer_.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        error_ = errno;
        return false;
      }
      done += static_cast<size_t>(n);
    }
    buffer_.clear();
    return true;
  }

  int error() const { return error_; }

 private:
  std::vector<uint8_t> buffer_;
  int error_ = 0;
};

// 0, or the errno value of reading. The output's own error is in it.
int stream(Segmap& seg, vnode_t* vp, Output& out) {
  const uint64_t size = vp->v_backing->size();
  for (uint64_t off = 0; off < size && out.error() == 0; off += seg.maxbsize) {
    const size_t len = std::min<uint64_t>(seg.maxbsize, size - off);
    const absl::Span<uint8_t> to = out.room(len);
    if (to.empty()) break;
    const uintptr_t addr = segmap_getmapflt(seg, vp, off, len, SM_FAULT, S_READ);
    size_t done;
    const int error = segmap_copy_from(seg, addr, to, &done);
    // Read once, never wanted again.
    segmap_release(seg, addr, SM_FREE | SM_ASYNC | SM_DONTNEED);
    if (error != 0) return error;
  }
  return 0;
}

int cat(const std::vector<char*>& names, uint32_t slots, bool kpm) {
  System sys(small_system(kpm));
  SegmapConfig config;
  config.kpm = kpm;
  const auto seg = segmap_create(sys, sys.kmap_addr, uint64_t{slots} * MAXBSIZE, config);
  if (!seg.ok()) {
    absl::FPrintF(stderr, "segcat: %s\n", seg.status().message());
    return kExitInternal;
  }
  Output out;
  int result = kExitClean;
  uint64_t id = 0;
  std::deque<vnode_t> files;
  for (const char* name : names) {
    absl::StatusOr<std::unique_ptr<FileBacking>> backing = FileBacking::open(name, O_RDONLY);
    if (!backing.ok()) {
      absl::FPrintF(stderr, "segcat: %s\n", backing.status().message());
      result = kExitViolated;
      continue;
    }
    vnode_t& file = files.emplace_back(name, ++id, 0, *std::move(backing));
    const int error = stream(**seg, &file, out);
    if (error != 0) {
      absl::FPrintF(stderr, "segcat: cannot read %s: %s\n", name, error_text(error));
      result = kExitViolated;
    }
    vn_recycle(sys.vm, &file);
  }
  if (!out.flush() || out.error() != 0) {
    absl::FPrintF(stderr, "segcat: cannot write: %s\n", error_text(out.error()));
    result = kExitViolated;
  }
  return result;
}

int segcat_main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "streams files to standard output through segmap: segcat [flags] FILE...");
  std::vector<char*> names = absl::ParseCommandLine(argc, argv);
  names.erase(names.begin());
  const uint32_t slots = absl::GetFlag(FLAGS_slots);
  if (names.empty()) {
    absl::FPrintF(stderr, "segcat: expected the name of a file, as in: segcat FILE\n");
    return kExitUsage;
  }
  if (slots == 0 || slots > kMostSlots) {
    absl::FPrintF(stderr, "segcat: --slots=%d: expected 1 to %d, nearest: %d\n", slots, kMostSlots,
                  std::clamp(slots, 1u, kMostSlots));
    return kExitUsage;
  }
  return cat(names, slots, absl::GetFlag(FLAGS_kpm));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND

int main(int argc, char** argv) { return hatcheck::segcat_main(argc, argv); }
