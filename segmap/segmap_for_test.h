// Common to the tests of segmap: a small system, files in memory with known bytes, a segment, and
// an audit at the end of every test.
#ifndef HATCHECK_SEGMAP_SEGMAP_FOR_TEST_H_
#define HATCHECK_SEGMAP_SEGMAP_FOR_TEST_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hat/audit.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "segmap/audit.h"
#include "segmap/segmap.h"
#include "segmap/segmap_copy.h"
#include "segmap/smap_freelist.h"
#include "segmap/smap_hash.h"
#include "vm/page_alloc.h"
#include "vm/page_cache.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Pages of 32 bytes and slots of two, or with kpm pages and slots of 64.
inline SystemConfig segmap_system(bool kpm = false) {
  SystemConfig config = SystemConfig::tiny();
  config.machine.mmu = kpm ? MmuGeometry{.num_level = 3, .bits_per_level = 3, .max_page_level = 1}
                           : MmuGeometry{.num_level = 3, .bits_per_level = 2, .max_page_level = 1};
  config.machine.nframes = 128;
  config.machine.ncpus = 4;
  config.htable_reserve_amount = 4;
  config.hment_reserve_amount = 4;
  config.hat_num_hash = 4;
  config.kmap_bytes = 512;
  config.kernelheap_bytes = 2 * config.machine.mmu.level_size(1);
  config.map_kpm = kpm;
  config.kpm = kpm ? KpmDesign::kOnDemand : KpmDesign::kLinear;
  return config;
}

inline SegmapConfig toy_segmap(bool kpm = false) {
  SegmapConfig config;
  config.maxbsize = 64;
  config.nfreelist = 1;
  config.kpm = kpm;
  return config;
}

// A backing that fails while it is told to.
class FailingBacking final : public VnodeBacking {
 public:
  explicit FailingBacking(uint64_t bytes) : bytes_(2 * bytes, bytes) {}
  int read(uint64_t off, absl::Span<uint8_t> to) override {
    ++reads;
    return fail_reads ? EIO : bytes_.read(off, to);
  }
  int write(uint64_t off, absl::Span<const uint8_t> from) override {
    ++writes;
    return fail_writes ? EIO : bytes_.write(off, from);
  }
  uint64_t size() override { return bytes_.size(); }
  int resize(uint64_t bytes) override { return bytes_.resize(bytes); }

  bool fail_reads = false;
  bool fail_writes = false;
  int reads = 0;
  int writes = 0;

 private:
  MemoryBacking bytes_;
};

class SegmapTest : public ::testing::Test {
 protected:
  explicit SegmapTest(const SegmapConfig& config = toy_segmap(), uint32_t slots = 4,
                      const SystemConfig& system = segmap_system())
      : sys(system) {
    auto created = segmap_create(sys, sys.kmap_addr, uint64_t{slots} * config.maxbsize, config);
    HAT_ASSERT(created.ok(), std::string(created.status().message()));
    segment_ = *std::move(created);
  }
  ~SegmapTest() override {
    segment_.reset();
    for (vnode_t& file : files_) vn_recycle(sys.vm, &file);
  }

  void TearDown() override {
    if (!HasFailure()) expect_sound();
  }
  void expect_sound(const SegmapAuditOptions& options = {}) {
    EXPECT_EQ(hat_audit(sys), absl::OkStatus());
    EXPECT_EQ(segmap_audit(seg(), options), absl::OkStatus());
  }

  Segmap& seg() { return *segment_; }
  uint64_t pagesize() const { return sys.vm.pagesize; }
  uint64_t slotsize() { return seg().maxbsize; }
  SegmapStatTotals stats() {
    SegmapStatTotals totals;
    EXPECT_EQ(segmap_kstat_update(seg(), &totals, KstatRw::kRead), 0);
    return totals;
  }

  // A file of so many slots whose byte at off is byte_at(its number, off).
  vnode_t* new_file(uint32_t slots = 8, uint32_t flag = 0) {
    const uint64_t id = files_.size() + 1;
    auto backing = std::make_unique<FailingBacking>(slots * slotsize());
    std::vector<uint8_t> bytes;
    for (uint64_t i = 0; i < slots * slotsize(); ++i) bytes.push_back(byte_at(id, i));
    backing->write(0, bytes);
    backing->writes = 0;
    return &files_.emplace_back(absl::StrCat("file", id), id, flag, std::move(backing));
  }
  static uint8_t byte_at(uint64_t id, uint64_t off) {
    return static_cast<uint8_t>(id * 37 + off * 11 + off / 64);
  }
  static FailingBacking& backing(vnode_t* vp) {
    return static_cast<FailingBacking&>(*vp->v_backing);
  }
  std::vector<uint8_t> expected(const vnode_t* vp, uint64_t off, size_t len) {
    std::vector<uint8_t> bytes;
    for (uint64_t i = 0; i < len; ++i) bytes.push_back(byte_at(vp->v_id, off + i));
    return bytes;
  }
  std::vector<uint8_t> on_disk(vnode_t* vp, uint64_t off, size_t len) {
    std::vector<uint8_t> bytes(len);
    EXPECT_EQ(vp->v_backing->read(off, absl::MakeSpan(bytes)), 0);
    return bytes;
  }

  // --- windows
  uintptr_t get(vnode_t* vp, uint64_t off, seg_rw rw = S_READ, int forcefault = SM_FAULT) {
    return segmap_getmapflt(seg(), vp, off, slotsize() - off % slotsize(), forcefault, rw);
  }
  int put(uintptr_t addr, uint32_t flags = 0) { return segmap_release(seg(), addr, flags); }
  std::vector<uint8_t> look(uintptr_t addr, size_t len) {
    std::vector<uint8_t> bytes(len);
    size_t done;
    EXPECT_EQ(segmap_copy_from(seg(), addr, absl::MakeSpan(bytes), &done), 0);
    EXPECT_EQ(done, len);
    return bytes;
  }
  void fill(uintptr_t addr, size_t len, uint8_t value) {
    const std::vector<uint8_t> bytes(len, value);
    size_t done;
    EXPECT_EQ(segmap_copy_to(seg(), addr, bytes, &done), 0);
    EXPECT_EQ(done, len);
  }
  // Gets, compares and releases a whole window.
  void expect_reads(vnode_t* vp, uint64_t off) {
    const uintptr_t addr = get(vp, off);
    EXPECT_EQ(look(addr, slotsize()), expected(vp, off, slotsize()));
    EXPECT_EQ(put(addr), 0);
  }

  // --- a look inside
  smap* slot_of(vnode_t* vp, uint64_t off) { return smap_find(seg(), vp, off); }
  bool mapped(uintptr_t addr) { return hat_probe(sys, sys.kas_hat(), addr); }
  page_t* page_at(vnode_t* vp, uint64_t off) { return page_exists(sys.vm, vp, off); }
  static int32_t selock(const page_t* pp) { return pp->p_selock.load(std::memory_order_relaxed); }
  static uint32_t nrm(const page_t* pp) { return pp->p_nrm.load(std::memory_order_relaxed); }
  // Slot numbers on a queue of list 0, from the head.
  std::vector<uint32_t> queue(uint32_t q, uint32_t list = 0) {
    std::vector<uint32_t> slots;
    smap* const first = seg().smd_free[list].sm_freeq[q].smq_free();
    for (smap* s = first; s != nullptr; s = s->sm_next.load(std::memory_order_relaxed)) {
      if (s == first && !slots.empty()) break;
      slots.push_back(s->sm_index);
    }
    return slots;
  }

  System sys;

 private:
  std::deque<vnode_t> files_;
  std::unique_ptr<Segmap> segment_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_FOR_TEST_H_
