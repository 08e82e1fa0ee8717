// The world of the segmap workload: real files, the file system that reads and writes them through
// segmap's windows, and a copy of what each of them must contain.
//
// In the manner of fsx, operations write, read, overwrite, extend, truncate and sync; after each
// the copy says what every byte of the file must be. What is read through a window is compared with
// it at once, and at the end of the run the files are compared with it on disk, read by other
// means. What makes this more than a test of one thread: ranges of one file that share a slot, a
// page or even a word are used at the same time, while slots are recycled, pages are paged out and
// I/O fails.
//
// Rules that keep the world legal (the file system's part of the contract):
//   G1  Who changes bytes has their range exclusively, who reads them shared (RangeLock). Who
//   changes
//       the size has all of the file.
//   G2  A page that reaches beyond the end of the file holds zeroes there.
//   G3  An operation holds one window at a time, and no page but what its window locks.
//   G4  An error is EIO, and only while errors are injected. What had been copied by then is in the
//       file, what had not is not. Nothing else is lost.
//
// Thread safety: the operations are for workers, on their CPUs. The rest says so.
#ifndef HATCHECK_STRESS_SEGMAP_WORLD_H_
#define HATCHECK_STRESS_SEGMAP_WORLD_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "platform/threads/cpu.h"
#include "segmap/audit.h"
#include "segmap/segmap.h"
#include "stress/ops.h"
#include "stress/range_lock.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct SegmapSetup {
  uint32_t files = 4;
  uint64_t file_bytes = 256 << 10;  // largest size of a file
  uint32_t slots = 16;
  uint32_t free_lists = 0;  // 0: segmap's own choice
  bool kpm = false;
  WaitingDesign waiting = WaitingDesign::kCounted;
  double io_errors = 0.002;  // share of transfers that fail
  std::string folder;        // where the files are made; empty: TMPDIR or /tmp
};

// The machine and the windows that a setup needs.
void configure_system(const SegmapSetup& setup, SystemConfig* config);

// One file under test.
struct SegFile {
  std::string path;
  std::unique_ptr<vnode_t> vnode;
  RangeLock ranges;
  // What the file contains, [0, size) of it, and the size; protected by `ranges`.
  std::vector<uint8_t> bytes;
  uint64_t size = 0;
};

class SegmapWorld {
 public:
  // Makes the files, with random contents. An error says what could not be made.
  static absl::StatusOr<std::unique_ptr<SegmapWorld>> create(System& sys, const SegmapSetup& setup,
                                                             uint64_t seed);
  // Writes everything back, compares the files on disk and removes them; a difference is a
  // violation. Nobody is at work any more.
  ~SegmapWorld();

  // ---- Operations (ops_segmap.cc says which words of the draw are what).
  OpResult read(const Draw& d);
  OpResult write(const Draw& d);
  OpResult create_pages(const Draw& d);
  OpResult fbread(const Draw& d);
  OpResult fbzero(const Draw& d);
  OpResult device_write(const Draw& d);
  OpResult read_ahead(const Draw& d);
  OpResult truncate(const Draw& d);
  OpResult extend(const Draw& d);
  OpResult sync(const Draw& d);
  OpResult discard(const Draw& d);
  OpResult recycle(const Draw& d);
  OpResult page_out(const Draw& d);
  OpResult statistics(const Draw& d);

  // Quiescent: segmap's invariants.
  absl::Status audit();

  // For the coordinator, a few times a second with the time: a message if threads have slept for a
  // slot beside a free one for longer than any wake-up takes. Takes no lock that it has to wait
  // for.
  std::optional<std::string> look_for_sleepers(absl::Duration now);

  Segmap& segmap() { return *segmap_; }
  uint64_t injected_errors() const { return injected_.load(std::memory_order_relaxed); }

 private:
  SegmapWorld(System& sys, const SegmapSetup& setup);
  absl::Status make_files(uint64_t seed);
  SegFile& pick_file(const Draw& d) { return *files_[d.r[0] % files_.size()]; }
  uint64_t pagesize() const { return sys_.vm.pagesize; }
  // An error that an operation met: a retry if errors are injected, else a violation.
  OpResult met_error(const SegFile& file, const char* what, int error);
  // Reads [off, off + len) of a window and compares; 0 or an errno value.
  int compare_window(const SegFile& file, uintptr_t addr, uint64_t off, size_t len);
  // Writes new bytes into a window and, as far as that went, into the copy.
  int fill_window(SegFile& file, uintptr_t addr, uint64_t off, size_t len, uint64_t value);
  void expect_told(const SegFile& file, uintptr_t addr, uint64_t off);
  void expect_kept(const SegFile& file, uintptr_t addr, uint64_t off);
  void expect_equal(const SegFile& file, uint64_t off, const std::vector<uint8_t>& seen,
                    const char* where);
  // Zeroes from the end of the data to the end of its page; 0 or an errno value.
  int zero_tail(SegFile& file, uint64_t from);
  // What is on disk, against the copy.
  void compare_on_disk(const SegFile& file);
  void release(const SegFile& file, uintptr_t addr, uint32_t flags, int* error);

  System& sys_;
  const SegmapSetup setup_;
  std::atomic<bool> inject_{false};
  std::atomic<uint64_t> injected_{0};
  // CPUs that throw pages away, and so must not write any. Each is read and written by its thread.
  std::array<std::atomic<bool>, kMaxCpus> discarding_{};
  std::vector<std::unique_ptr<SegFile>> files_;
  std::unique_ptr<Segmap> segmap_;

  // look_for_sleepers: who slept where the last time, and since when.
  std::string sleepers_;
  absl::Duration sleeping_since_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_SEGMAP_WORLD_H_
