// Faults that fail, that bring several pages, or that somebody else has on the same page.
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The page cannot be read at first. Both want to keep it locked.
class ReadThatFails : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_faults_of_which_one_fails";
  static constexpr const char* kClaim = "one is told of the error, the other has the page";

  ReadThatFails() : window_(segmap_getmapflt(seg(), &bad_file_, 0, slotsize(), 0, S_READ)) {}
  ~ReadThatFails() override { end_with(bad_file_); }
  void thread(int index) {
    error_[index] =
        segmap_fault(seg(), sys.kas_hat(), window_, pagesize(), F_SOFTLOCK, S_READ) != 0;
    if (error_[index]()) return;
    HAT_ASSERT(read_word(window_) == 7, "a page that nobody has read");
    segmap_fault(seg(), sys.kas_hat(), window_, pagesize(), F_SOFTUNLOCK, S_READ);
  }
  void check() override {
    HAT_ASSERT(error_[0]() != error_[1]());
    HAT_ASSERT(!PAGE_LOCKED(page_exists(sys.vm, &bad_file_, 0)), "a fault has kept the page");
    put(window_);
  }

 private:
  static std::unique_ptr<VnodeBacking> numbered(uint64_t bytes) {
    auto backing = std::make_unique<MemoryBacking>(bytes, bytes);
    const uint8_t seven[] = {7};
    backing->write(0, seven);
    return backing;
  }
  static std::unique_ptr<VnodeBacking> failing_once(uint64_t bytes) {
    return std::make_unique<FaultyBacking>(
        numbered(bytes), [reads = 0](FaultyBacking::Op op, uint64_t, uint64_t) mutable {
          const bool fails = op == FaultyBacking::Op::kRead && reads++ == 0;
          return fails ? FaultyBacking::Fault::kEio : FaultyBacking::Fault::kNone;
        });
  }

  vnode_t bad_file_{"bad", 2, 0, failing_once(pagesize())};
  const uintptr_t window_;
  std::array<Guarded<bool>, 2> error_;
};

// One fault brings all pages of the slot, each to its place.
class FaultOfTwoPages : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/fault_of_two_pages_against_pageout";
  static constexpr const char* kClaim = "every page of a window is at its place";

  FaultOfTwoPages() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {}
  void thread(int index) {
    if (index == 1) {
      vop_putpage(sys.vm, &file, pagesize(), pagesize(), B_FREE | B_ASYNC);
      return;
    }
    const uintptr_t addr = get(0, S_READ, SM_FAULT);
    for (uint64_t page = 0; page < 2; ++page) {
      const uint64_t seen = read_word(addr + page * pagesize());
      HAT_ASSERT(seen == page + 1, "page " + std::to_string(page) + ": " + std::to_string(seen));
    }
    put(addr);
  }
};

// Read ahead brings the page in, and lets go of it.
class ReadAheadAgainstFault : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/read_ahead_against_fault";
  static constexpr const char* kClaim = "the page is read once, and nobody keeps it";

  ReadAheadAgainstFault() : window_(get(0)) {}
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(segmap_faulta(seg(), window_) == 0);
    } else {
      HAT_ASSERT(read_word(window_) == 1);
    }
  }
  void check() override {
    HAT_ASSERT(!PAGE_LOCKED(page_at(0)));
    put(window_);
  }

 private:
  const uintptr_t window_;
};

// A process maps the page and writes to it, while it is written out to be freed. Nobody marks the
// page when it is mapped: that a CPU has written is in its PTE alone.
class UserMappingAgainstPageout : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/write_by_a_process_against_pageout";
  static constexpr const char* kClaim = "what is written while the page goes away is in the file";

  UserMappingAgainstPageout() {
    {
      WriterGuard guard(process_.a_lock);
      process_.a_hat = hat_alloc(sys, &process_);
    }
    write_piece(0, 33);
  }
  ~UserMappingAgainstPageout() override {
    WriterGuard guard(process_.a_lock);
    hat_free_start(sys, process_.a_hat);
    hat_unload(sys, process_.a_hat, 0, pagesize(), HAT_UNLOAD_UNMAP);
    hat_free_end(sys, process_.a_hat);
  }
  void thread(int index) {
    if (index == 0) {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
      return;
    }
    page_t* pp = nullptr;
    HAT_ASSERT(vop_getpage(sys.vm, &file, 0, S_WRITE, &pp) == 0);
    {
      ReaderGuard guard(process_.a_lock);
      hat_memload(sys, process_.a_hat, 0, pp, PROT_READ_ATTR | PROT_WRITE_ATTR | PROT_USER_ATTR,
                  HAT_LOAD);
    }
    unlock_page(pp);
    hat_switch(sys, process_.a_hat);
    written_ = sys.machine.access(1, 0, AccessKind::kWrite, Privilege::kUser, 34).ok;
    hat_switch(sys, sys.kas_hat());
  }
  void check() override {
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, pagesize(), 0) == 0);
    HAT_ASSERT(on_disk(0) == (written_() ? 34 : 33), "on disk: " + std::to_string(on_disk(0)));
  }

 private:
  as_t process_{1};
  Guarded<bool> written_{false};
};

// A created page is modified from the start, and the vnode knows it: the creator writes without a
// fault.
class PagecreateOfASortedVnode : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/pagecreate_on_a_sorted_vnode";
  static constexpr const char* kClaim = "what was written into a new page is in the file";

  PagecreateOfASortedVnode() : SegmapModel({.slots = 1, .vnode_flag = VMODSORT}) {}
  void thread(int) {
    const uintptr_t addr = get(0, S_WRITE);
    segmap_pagecreate(seg(), addr, pagesize(), false);
    write_word(addr, 66);
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, B_ASYNC) == 0);
    segmap_pageunlock(seg(), addr, pagesize(), S_OTHER);
    put(addr);
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0 && on_disk(0) == 66);
  }
};

// What a device has written into a soft locked page nobody but the caller knows.
class DeviceWrite : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/device_write_into_a_soft_locked_page";
  static constexpr const char* kClaim = "a page unlocked for writing is modified";

  DeviceWrite() : window_(get(0)) {}
  void thread(int index) {
    if (index == 1) {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
      return;
    }
    hat_t* const kas = sys.kas_hat();
    HAT_ASSERT(segmap_fault(seg(), kas, window_, pagesize(), F_SOFTLOCK, S_WRITE) == 0);
    sys.machine.mem().word(hat_getpfnum(sys, kas, window_), 0).store(68, std::memory_order_relaxed);
    segmap_fault(seg(), kas, window_, pagesize(), F_SOFTUNLOCK, S_WRITE);
  }
  void check() override { HAT_ASSERT(put(window_, SM_WRITE) == 0 && on_disk(0) == 68); }

 private:
  const uintptr_t window_;
};

}  // namespace

std::vector<AnyScenario> segmap_fault_scenarios() {
  return scenario_list<ReadThatFails, FaultOfTwoPages, ReadAheadAgainstFault,
                       UserMappingAgainstPageout, PagecreateOfASortedVnode, DeviceWrite>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
