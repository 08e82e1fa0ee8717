#include "stress/segmap_world.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "platform/observe.h"
#include "stress/world.h"
#include "vm/file_backing.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// How long threads may sleep beside a free slot before that counts as for ever.
constexpr absl::Duration kForEver = absl::Seconds(3);
// The offset in a file's vnode number that keeps it apart from the numbers of World.
constexpr uint64_t kFirstVnodeId = 1000000;

std::string folder_of(const SegmapSetup& setup) {
  if (!setup.folder.empty()) return setup.folder;
  const char* const tmp = std::getenv("TMPDIR");
  return tmp != nullptr && *tmp != '\0' ? tmp : "/tmp";
}

}  // namespace

void configure_system(const SegmapSetup& setup, SystemConfig* config) {
  if (setup.kpm) {
    // Pages as large as slots.
    config->machine.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 10, .max_page_level = 1};
    config->kpm = KpmDesign::kOnDemand;
  }
  const uint64_t span = config->machine.mmu.level_size(1);
  config->kmap_bytes = (uint64_t{setup.slots} * MAXBSIZE + span - 1) / span * span;
  config->kernelheap_bytes = std::max(config->kernelheap_bytes, 4 * span);
}

SegmapWorld::SegmapWorld(System& sys, const SegmapSetup& setup) : sys_(sys), setup_(setup) {}

absl::StatusOr<std::unique_ptr<SegmapWorld>> SegmapWorld::create(System& sys,
                                                                 const SegmapSetup& setup,
                                                                 uint64_t seed) {
  std::unique_ptr<SegmapWorld> world(new SegmapWorld(sys, setup));
  SegmapConfig config;
  config.nfreelist = setup.free_lists;
  config.kpm = setup.kpm;
  config.waiting = setup.waiting;
  auto segmap = segmap_create(sys, sys.kmap_addr, uint64_t{setup.slots} * MAXBSIZE, config);
  if (!segmap.ok()) return segmap.status();
  world->segmap_ = *std::move(segmap);
  const absl::Status status = world->make_files(seed);
  if (!status.ok()) return status;
  world->inject_ = true;
  return world;
}

absl::Status SegmapWorld::make_files(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (uint32_t i = 0; i < setup_.files; ++i) {
    auto file = std::make_unique<SegFile>();
    std::string name = absl::StrCat(folder_of(setup_), "/hatstress-segmap.XXXXXX");
    const int fd = ::mkstemp(name.data());
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", name));
    ::close(fd);
    file->path = name;
    auto real = FileBacking::open(name, O_RDWR);
    if (!real.ok()) return real.status();
    file->bytes.resize(setup_.file_bytes);
    file->size = setup_.file_bytes / 2 + random() % (setup_.file_bytes / 2);
    for (uint64_t at = 0; at < file->size; ++at) {
      file->bytes[at] = static_cast<uint8_t>(random());
    }
    const int error = (*real)->write(0, absl::MakeConstSpan(file->bytes).first(file->size));
    if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", name));
    const auto rate = static_cast<uint32_t>(setup_.io_errors * 1e6);
    auto faulty = std::make_unique<FaultyBacking>(
        *std::move(real), [this, rate](FaultyBacking::Op op, uint64_t off, uint64_t) {
          if (op == FaultyBacking::Op::kWrite && discarding_[this_cpu()]) {
            report_violation(absl::StrFormat("SM_DESTROY writes offset 0x%x of a file", off));
          }
          if (!inject_.load(std::memory_order_relaxed) || !chance(rate)) {
            return FaultyBacking::Fault::kNone;
          }
          injected_.fetch_add(1, std::memory_order_relaxed);
          return choose(2) == 0 ? FaultyBacking::Fault::kEio : FaultyBacking::Fault::kShort;
        });
    // Every other file keeps its modified pages sorted.
    file->vnode = std::make_unique<vnode_t>(name, kFirstVnodeId + i, i % 2 == 0 ? 0 : VMODSORT,
                                            std::move(faulty));
    files_.push_back(std::move(file));
  }
  return absl::OkStatus();
}

SegmapWorld::~SegmapWorld() {
  inject_ = false;
  for (const auto& file : files_) {
    if (file->vnode == nullptr) continue;
    const int error = vop_putpage(sys_.vm, file->vnode.get(), 0, 0, 0);
    if (error != 0) met_error(*file, "writing back at the end", error);
    compare_on_disk(*file);
  }
  segmap_.reset();
  for (const auto& file : files_) {
    if (file->vnode != nullptr) vn_recycle(sys_.vm, file->vnode.get());
    ::unlink(file->path.c_str());
  }
}

void SegmapWorld::compare_on_disk(const SegFile& file) {
  const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<uint8_t> seen(file.size + 1);
  size_t done = 0;
  for (ssize_t n = 1; fd >= 0 && n > 0; done += static_cast<size_t>(std::max<ssize_t>(n, 0))) {
    n = ::pread(fd, seen.data() + done, seen.size() - done, static_cast<off_t>(done));
  }
  if (fd >= 0) ::close(fd);
  if (done != file.size) {
    report_violation(
        absl::StrFormat("data: %s has %d bytes on disk, expected %d", file.path, done, file.size));
  }
  seen.resize(file.size);
  expect_equal(file, 0, seen, "on disk");
}

void SegmapWorld::expect_equal(const SegFile& file, uint64_t off, const std::vector<uint8_t>& seen,
                               const char* where) {
  const auto wanted = file.bytes.begin() + static_cast<std::ptrdiff_t>(off);
  const auto [a, b] = std::mismatch(seen.begin(), seen.end(), wanted);
  if (a == seen.end()) return;
  const uint64_t at = off + static_cast<uint64_t>(a - seen.begin());
  size_t wrong = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    wrong += seen[i] != file.bytes[off + i] ? 1 : 0;
  }
  report_violation(absl::StrFormat(
      "data: byte %d of %s is 0x%02x %s, written was 0x%02x; %d of the %d bytes from %d on differ",
      at, file.path, *a, where, *b, wrong, seen.size(), off));
}

OpResult SegmapWorld::met_error(const SegFile& file, const char* what, int error) {
  // G4.
  if (error == EIO && setup_.io_errors > 0) return OpResult::kRetry;
  report_violation(absl::StrFormat("data: %s: %s gave error %d", file.path, what, error));
}

absl::Status SegmapWorld::audit() { return segmap_audit(*segmap_); }

std::optional<std::string> SegmapWorld::look_for_sleepers(absl::Duration now) {
  std::vector<std::string> who, key;
  for (const CpuState& state : cpu_states()) {
    if (state.condvar != "sm_free_cv") continue;
    who.push_back(absl::StrCat("cpu ", state.cpu));
    key.push_back(absl::StrCat(state.cpu, "@", state.changes));
  }
  const std::string free = who.empty() ? "" : segmap_explain_waiting(*segmap_);
  const std::string sleepers = free.empty() ? "" : absl::StrJoin(key, " ");
  if (sleepers.empty() || sleepers != sleepers_) {
    sleepers_ = sleepers;
    sleeping_since_ = now;
    return std::nullopt;
  }
  if (now - sleeping_since_ < kForEver) return std::nullopt;
  return absl::StrCat("invariant 61: ", absl::StrJoin(who, ", "),
                      who.size() == 1 ? " sleeps" : " sleep",
                      " on 'sm_free_cv' beside a free slot: ", free);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
