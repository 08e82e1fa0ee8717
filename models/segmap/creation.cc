// Windows and pages that are asked for in unusual ways: parts of a slot, several pages at once,
// soft locked, of a file without an end, by colour.
#include <cerrno>

#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A part of a window is asked for.
class PartOfAWindow : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/getmap_of_a_part_of_a_window";
  static constexpr const char* kClaim =
      "what was asked for is mapped, new slot or not, and no more";

  PartOfAWindow() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {}
  void thread(int) {
    const uintptr_t slot = get_bytes(pagesize(), pagesize());
    expect(slot, false, true);
    // The slot is there, and the part that is looked at first is mapped already.
    HAT_ASSERT(get_bytes(0, 8) == slot);
    expect(slot, true, true);
    put(slot);
    put(slot);
    hat_unload(sys, sys.kas_hat(), slot, slotsize(), HAT_UNLOAD);
    HAT_ASSERT(get_bytes(8, pagesize() - 8) == slot);
    expect(slot, true, false);
    // What precedes it in the slot is mapped.
    HAT_ASSERT(get_bytes(pagesize() + 8, 8) == slot);
    expect(slot, true, true);
    put(slot);
    put(slot);
    hat_unload(sys, sys.kas_hat(), slot, slotsize(), HAT_UNLOAD);
    // From within the first to within the second page.
    HAT_ASSERT(get_bytes(8, pagesize()) == slot);
    expect(slot, true, true);
    put(slot);
  }

 private:
  uintptr_t get_bytes(uint64_t off, size_t len) {
    return segmap_getmapflt(seg(), &file, off, len, SM_FAULT, S_READ);
  }
  void expect(uintptr_t slot, bool first, bool second) {
    HAT_ASSERT(mapped(slot) == first && mapped(slot + pagesize()) == second);
  }
};

// One of two pages is there already, and somebody else reads it.
class CreationOfTwoPages : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/pagecreate_of_two_pages_of_which_one_is_there";
  static constexpr const char* kClaim = "it is told of the new one, and the other keeps its data";

  CreationOfTwoPages() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {
    window_ = segmap_getmapflt(seg(), &file, pagesize(), pagesize(), SM_FAULT, S_READ);
    get(0);
  }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(read_word(window_ + pagesize()) == 2);
      return;
    }
    // From within the first to within the second page.
    HAT_ASSERT(segmap_pagecreate(seg(), window_ + 8, pagesize(), false) == 1, "a page is new");
    page_t* const made = page_at(0);
    HAT_ASSERT(made != nullptr && PAGE_EXCL(made), "the new page is not kept from others");
    sys.machine.mem().word(made->p_pagenum, 0).store(71, std::memory_order_relaxed);
    segmap_pageunlock(seg(), window_ + 8, pagesize(), S_WRITE);
  }
  void check() override {
    for (uint64_t page = 0; page < 2; ++page) {
      HAT_ASSERT(!PAGE_LOCKED(page_at(page)));
    }
    put(window_, SM_WRITE);
    HAT_ASSERT(on_disk(0) == 71, "what a device has written is not written back");
    HAT_ASSERT(on_disk(1) == 2);
    put(window_);
  }

 private:
  uintptr_t window_ = 0;
};

// A file system is about to clear a piece, and keeps its pages until it has: the new one from all
// others, the old one from pageout.
class SoftLockedCreation : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/soft_locked_creation_against_pageout";
  static constexpr const char* kClaim =
      "all its pages stay until F_SOFTUNLOCK, and are locked once";

  SoftLockedCreation() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {
    window_ = segmap_getmapflt(seg(), &file, pagesize(), pagesize(), SM_FAULT, S_READ);
  }
  void thread(int index) {
    if (index == 1) {
      vop_putpage(sys.vm, &file, 0, 2 * pagesize(), B_FREE | B_ASYNC);
      return;
    }
    HAT_ASSERT(segmap_pagecreate(seg(), window_, slotsize(), true) == 1);
    for (uint64_t at = 0; at < slotsize(); at += 8) {
      HAT_ASSERT(sys.machine.access(0, window_ + at, AccessKind::kWrite, Privilege::kKernel, 0).ok,
                 "invariant 51");
    }
    segmap_fault(seg(), sys.kas_hat(), window_, slotsize(), F_SOFTUNLOCK, S_WRITE);
  }
  void check() override {
    put(window_, SM_WRITE);
    HAT_ASSERT(on_disk(0) == 0 && on_disk(1) == 0);
    HAT_ASSERT(!PAGE_LOCKED(page_at(0)));
  }

 private:
  uintptr_t window_ = 0;
};

// A page that is asked for has been used, whether or not a CPU gets as far as to read it.
class FaultIsAUse : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/fault_on_a_page_that_was_there";
  static constexpr const char* kClaim = "the page is referenced, and the slot allows what it may";

  FaultIsAUse() : SegmapModel({.prot = PROT_READ_ATTR}) {}
  void thread(int) {
    const uintptr_t addr = get(0, S_READ, SM_FAULT);
    page_t* const pp = page_at(0);
    hat_unload(sys, sys.kas_hat(), addr, pagesize(), HAT_UNLOAD);
    pp->p_nrm.store(0, std::memory_order_relaxed);
    HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), addr, pagesize(), F_INVAL, S_READ) == 0);
    HAT_ASSERT(hat_isref(pp) && !hat_ismod(pp));
    HAT_ASSERT(!sys.machine.access(0, addr, AccessKind::kWrite, Privilege::kKernel, 5).ok,
               "a segment that is only read was written to");
    HAT_ASSERT(segmap_checkprot(seg(), addr, pagesize(), PROT_READ_ATTR) == 0);
    HAT_ASSERT(segmap_checkprot(seg(), addr, pagesize(), PROT_READ_ATTR | PROT_WRITE_ATTR) ==
               EACCES);
    put(addr);
    // A slot that shows nothing has nothing to fault for.
    const uintptr_t blank = seg().smap_addr(&seg().smd_sm[addr == seg().s_base ? 1 : 0]);
    HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), blank, pagesize(), F_INVAL, S_READ) ==
               FC_MAKE_ERR(EIO));
    HAT_ASSERT(segmap_faulta(seg(), blank) == FC_MAKE_ERR(EIO));
  }
};

// The second of two pages cannot be read, neither with the first nor alone.
class HalfAReadFails : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/fault_of_two_pages_of_which_one_cannot_be_read";
  static constexpr const char* kClaim = "each fault is told, and keeps neither page";

  HalfAReadFails() : SegmapModel({.slots = 1, .pages_per_slot = 2, .page_locks = 16}) {
    window_ = window();
  }
  ~HalfAReadFails() override { end_with(bad_file_); }
  void thread(int index) {
    if (index == 1) {
      // The first, as long as it is there.
      page_t* const pp = page_lookup(sys.vm, &bad_file_, 0, SE_SHARED);
      if (pp != nullptr) unlock_page(pp);
      return;
    }
    HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), window_, slotsize(), F_SOFTLOCK, S_READ) ==
               FC_MAKE_ERR(EIO));
    HAT_ASSERT(segmap_faulta(seg(), window_ + pagesize()) == FC_MAKE_ERR(EIO));
  }
  void check() override {
    page_t* const first = page_exists(sys.vm, &bad_file_, 0);
    HAT_ASSERT(first == nullptr || !PAGE_LOCKED(first), "the fault has kept the first page");
    HAT_ASSERT(page_exists(sys.vm, &bad_file_, pagesize()) == nullptr, "nobody has read it");
    HAT_ASSERT(read_word(window_) == 7);
    put(window_);
  }

 private:
  static std::unique_ptr<VnodeBacking> failing(uint64_t pagesize) {
    auto backing = std::make_unique<MemoryBacking>(2 * pagesize, 2 * pagesize);
    const uint8_t seven[] = {7};
    backing->write(0, seven);
    return std::make_unique<FaultyBacking>(
        std::move(backing), [pagesize](FaultyBacking::Op op, uint64_t off, uint64_t bytes) {
          const bool fails = op == FaultyBacking::Op::kRead && off + bytes > pagesize;
          return fails ? FaultyBacking::Fault::kEio : FaultyBacking::Fault::kNone;
        });
  }
  uintptr_t window() { return segmap_getmapflt(seg(), &bad_file_, 0, slotsize(), 0, S_READ); }

  vnode_t bad_file_{"bad", 2, 0, failing(pagesize())};
  uintptr_t window_ = 0;
};

// Both want both pages, and read them with one transfer if nobody else has one of them.
class TwoFaultsOfTwoPages : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/fault_of_two_pages_against_creation_of_the_second";
  static constexpr const char* kClaim = "pages made for nothing are given back, and counted once";

  TwoFaultsOfTwoPages() : SegmapModel({.slots = 1, .pages_per_slot = 2}), window_(get(0)) {}
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), window_, slotsize(), F_INVAL, S_READ) == 0);
      return;
    }
    HAT_ASSERT(segmap_faulta(seg(), window_ + pagesize()) == 0);
  }
  void check() override {
    for (uint64_t page = 0; page < 2; ++page) {
      HAT_ASSERT(read_word(window_ + page * pagesize()) == page + 1);
    }
    put(window_);
  }

 private:
  const uintptr_t window_;
};

// Pages are asked for to be written: of a vnode that is told of the first write to each, and beyond
// the end of a file.
class WindowForWriting : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/getmap_for_writing";
  static constexpr const char* kClaim = "who has asked for it can write, without another fault";

  WindowForWriting() : SegmapModel({.slots = 1, .vnode_flag = VMODSORT}) {}
  ~WindowForWriting() override { end_with(short_file_); }
  void thread(int) {
    for (vnode_t* const vp : {&file, &short_file_}) {
      const uintptr_t addr = segmap_getmapflt(seg(), vp, 0, slotsize(), SM_FAULT, S_WRITE);
      HAT_ASSERT(sys.machine.access(0, addr, AccessKind::kWrite, Privilege::kKernel, 9).ok);
      put(addr, SM_WRITE);
    }
    HAT_ASSERT(on_disk(0) == 9);
  }

 private:
  vnode_t short_file_{"short", 2, 0, std::make_unique<MemoryBacking>(pagesize(), pagesize() / 2)};
};

// Two pages are read with one transfer, to be kept.
class SoftLockOfTwoPages : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/soft_lock_of_two_pages_against_a_reader";
  static constexpr const char* kClaim = "pages that are kept can be read by others";

  SoftLockOfTwoPages() : SegmapModel({.slots = 1, .pages_per_slot = 2}), window_(get(0)) {}
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(fault(F_SOFTLOCK) == 0);
      return;
    }
    page_t* pp = nullptr;
    HAT_ASSERT(vop_getpage(sys.vm, &file, pagesize(), S_READ, &pp) == 0);
    unlock_page(pp);
  }
  void check() override {
    HAT_ASSERT(PAGE_SHARED(page_at(0)));
    fault(F_SOFTUNLOCK);
    put(window_);
  }

 private:
  faultcode_t fault(fault_type type) {
    return segmap_fault(seg(), sys.kas_hat(), window_, slotsize(), type, S_READ);
  }

  const uintptr_t window_;
};

// The second page of a slot is asked for without the first; and a part of it with the first.
class SecondPageOfASlot : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/second_page_of_a_slot";
  static constexpr const char* kClaim =
      "the pages that were asked for are mapped, and let go again";

  SecondPageOfASlot() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {}
  void thread(int) {
    const uintptr_t addr = get(0);
    const uintptr_t second = addr + pagesize();
    for (const fault_type type : {F_SOFTLOCK, F_SOFTUNLOCK}) {
      HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), second, pagesize(), type, S_READ) == 0);
      HAT_ASSERT(page_at(0) == nullptr && PAGE_LOCKED(page_at(1)) == (type == F_SOFTLOCK));
    }
    // The first is new; then the second.
    for (const uint64_t made : {0, 1}) {
      hat_unload(sys, sys.kas_hat(), addr, slotsize(), HAT_UNLOAD);
      if (made == 1) page_destroy(sys.vm, lock_page(1, SE_EXCL), 0);
      HAT_ASSERT(segmap_pagecreate(seg(), addr, pagesize() + 8, false) == 1);
      HAT_ASSERT(mapped(addr) && mapped(second) && PAGE_LOCKED(page_at(made)));
      segmap_pageunlock(seg(), addr, pagesize() + 8, S_WRITE);
      HAT_ASSERT(!PAGE_LOCKED(page_at(0)) && !PAGE_LOCKED(page_at(1)));
    }
    put(addr, SM_WRITE);

    // The slot goes to another piece.
    HAT_ASSERT(get(1) == addr);
    HAT_ASSERT(!mapped(addr) && !mapped(second), "invariant 49: another piece's page is mapped");
    HAT_ASSERT(PP_ISFREE(page_at(0)) && PP_ISFREE(page_at(1)), "nobody needs them");
    put(addr);
  }
};

// Pieces of two colours, each of which has slots of its own.
class Colours : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_getmaps_of_two_colours";
  static constexpr const char* kClaim = "a piece gets a slot of its own colour, or waits for one";

  Colours() : SegmapModel({.colours = 2}) {}
  void thread(int index) {
    // Two of a colour, for which there is one slot; and one of the other.
    use(2 * static_cast<uint64_t>(index));
    if (index == 1) use(1);
  }

 private:
  void use(uint64_t piece) {
    const uintptr_t addr = get(piece);
    HAT_ASSERT(((addr - seg().s_base) / slotsize()) % 2 == piece % 2, "another colour");
    put(addr);
  }
};

// Many vnodes of one device: one of them has the pages.
class CommonVnode : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_getmaps_through_vnodes_of_one_device";
  static constexpr const char* kClaim = "both get the same window";

  CommonVnode() { alias_.v_common = &file; }
  void thread(int index) {
    got_[index] = segmap_getmapflt(seg(), index == 0 ? &file : &alias_, 0, slotsize(),
                                   SM_PAGECREATE, S_OTHER);
  }
  void check() override {
    HAT_ASSERT(got_[0] == got_[1] && read_word(got_[0]) == 1);
    for (const uintptr_t addr : got_) put(addr);
  }

 private:
  vnode_t alias_{"alias", 2, 0, nullptr};
  std::array<uintptr_t, 2> got_{};
};

// The system is stopped, and its memory written out: the pages of windows that are out.
class Dump : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/dump_of_windows";
  static constexpr const char* kClaim = "the pages of slots in use, be they locked, and no others";

  void thread(int) {
    put(get(0, S_READ, SM_FAULT));
    const uintptr_t addr = get(1, S_READ, SM_FAULT);
    page_t* const pp = page_at(1);
    for (int locked = 0; locked < 2; ++locked) {
      if (locked != 0) HAT_ASSERT(lock_page(1, SE_EXCL) == pp);
      int count = 0;
      segmap_dump(seg(), [&](pfn_t pfn) {
        HAT_ASSERT(pfn == pp->p_pagenum);
        ++count;
      });
      HAT_ASSERT(count == 1 && PAGE_LOCKED(pp) == (locked != 0));
    }
    unlock_page(pp);
    put(addr);
  }
};

// What happened is told by counters; who reads them wants to know how good the cache is.
class Statistics : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/what_is_counted";
  static constexpr const char* kClaim = "each event is counted as what it was, once";

  Statistics() : SegmapModel({.slots = 1, .statistics = true}) {}
  void thread(int) {
    const uintptr_t addr = get(0, S_WRITE, SM_FAULT);
    get(0);
    put(addr);
    put(addr, SM_WRITE | SM_ASYNC);
    get(0);
    put(addr, SM_FREE | SM_DONTNEED);
    segmap_pagecreate(seg(), get(1), pagesize(), false);
    segmap_pageunlock(seg(), addr, pagesize(), S_WRITE);
    put(addr);
    get(2, S_READ, SM_FAULT);
    put(addr);
    segmap_faulta(seg(), get(3));
    put(addr, SM_INVAL);

    SegmapStatTotals is;
    HAT_ASSERT(segmap_kstat_update(seg(), &is, KstatRw::kRead) == 0);
    HAT_ASSERT(is.getmap == 6 && is.get_use == 1 && is.get_reclaim == 1 && is.get_reuse == 3);
    HAT_ASSERT(is.get_nofree == 0 && is.fault == 2 && is.faulta == 1 && is.pagecreate == 1);
    HAT_ASSERT(is.release == 3 && is.rel_write == 1 && is.rel_async == 1 && is.rel_abort == 1);
    HAT_ASSERT(is.rel_free == 1 && is.rel_dontneed == 1);
    // The first piece's page was free already, the second one's is modified, the third's is clean.
    HAT_ASSERT(is.free_notfree == 0 && is.free_dirty == 1 && is.free == 1 && is.stolen == 0);
    HAT_ASSERT(segmap_kstat_update(seg(), &is, KstatRw::kWrite) == EACCES);
  }
};

}  // namespace

std::vector<AnyScenario> segmap_creation_scenarios() {
  return scenario_list<PartOfAWindow, CreationOfTwoPages, SoftLockedCreation, FaultIsAUse,
                       HalfAReadFails, TwoFaultsOfTwoPages, WindowForWriting, SoftLockOfTwoPages,
                       SecondPageOfASlot, Colours, CommonVnode, Dump, Statistics>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
