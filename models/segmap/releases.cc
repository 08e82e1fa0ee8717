// What a release asks of the file system, and what it tells.
#include <cerrno>

#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"
#include "vm/page_alloc.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A page of the file, known to nobody else.
bool is_free(System& sys, vnode_t& file, uint64_t page) {
  const page_t* const pp = page_exists(sys.vm, &file, page * sys.vm.pagesize);
  return pp != nullptr && PP_ISFREE(pp);
}

// Who is through with a piece says so; the others that have it are not.
class FreeAfterUse : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_releases_of_which_one_frees";
  static constexpr const char* kClaim = "the last release frees the page, written, if it asks to";

  FreeAfterUse() : window_(get(0, S_WRITE, SM_FAULT)) {
    get(0);
    write_word(window_, 33);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(put(window_, SM_FREE) == 0);
    } else {
      HAT_ASSERT(put(window_, SM_WRITE | SM_ASYNC) == 0);
    }
  }
  void check() override {
    HAT_ASSERT(on_disk(0) == 33);
    // Asked by one who is not the last.
    get(0);
    write_word(get(0, S_WRITE, SM_FAULT), 34);
    HAT_ASSERT(put(window_, SM_FREE) == 0);
    HAT_ASSERT(!is_free(sys, file, 0), "freed while somebody has the window");
    HAT_ASSERT(put(window_, SM_FREE) == 0);
    HAT_ASSERT(is_free(sys, file, 0) && on_disk(0) == 34, "nobody needs it any more");
  }

 private:
  const uintptr_t window_;
};

// Pages that are freed keep their names, and are used again one after the other; but those first
// that nobody will ask for.
class OrderOfReuse : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/order_in_which_freed_pages_are_used_again";
  static constexpr const char* kClaim = "what is not needed goes first, then the oldest";

  void thread(int) {
    for (uint64_t page = 0; page < 4; ++page) {
      const uintptr_t addr = get(page, S_WRITE, SM_FAULT);
      write_word(addr, 50 + page);
      // The third is written first, and freed by another way.
      if (page == 2) HAT_ASSERT(put(get(page), SM_WRITE) == 0);
      put(addr, SM_FREE | (page >= 2 ? SM_DONTNEED : 0));
    }
    while (sys.vm.lists[0].free_head.load(std::memory_order_relaxed) != nullptr) take_frame();
    for (const uint64_t page : {3, 2, 0, 1}) {
      HAT_ASSERT(is_free(sys, file, page), "page " + std::to_string(page));
      take_frame();
      HAT_ASSERT(page_at(page) == nullptr, "not page " + std::to_string(page));
    }
  }
  ~OrderOfReuse() override { end_with(other_file_); }

 private:
  void take_frame() {
    page_unlock(sys.vm, create_page(sys.vm, &other_file_, taken_++ * pagesize()));
  }

  vnode_t other_file_{"other", 2, 0, nullptr};
  uint64_t taken_ = 0;
};

// A hint that the piece will not be wanted is not a request to write it.
class HintAlone : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/release_with_a_hint_alone";
  static constexpr const char* kClaim = "nothing is written, and the page stays";

  void thread(int) {
    const uintptr_t addr = get(0, S_WRITE, SM_FAULT);
    write_word(addr, 33);
    HAT_ASSERT(put(addr, SM_DONTNEED) == 0 && on_disk(0) == 1 && !is_free(sys, file, 0));
    HAT_ASSERT(put(get(0), 0) == 0 && on_disk(0) == 1);
    HAT_ASSERT(put(get(0), SM_WRITE | SM_DONTNEED) == 0 && on_disk(0) == 33);
  }
};

// What was in the piece is not wanted any more.
class ThrowingAway : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/releases_that_throw_away";
  static constexpr const char* kClaim = "page, identity, mapping and flags of the slot are gone";

  void thread(int) {
    for (const uint32_t how : {SM_INVAL, SM_DESTROY}) {
      const uintptr_t addr = get(0, S_WRITE, SM_FAULT);
      write_word(addr, 33 + how);
      smap* const smp = slot_of(0);
      HAT_ASSERT(put(addr, how) == 0);
      HAT_ASSERT(page_at(0) == nullptr, "the page is there");
      HAT_ASSERT(slot_of(0) == nullptr && !mapped(addr) && smp->sm_flags() <= SM_QNDX_ZERO);
      HAT_ASSERT(on_disk(0) == 33 + SM_INVAL, "SM_INVAL writes, SM_DESTROY does not");
    }
  }
};

// Somebody has the page, and lets go of it only later.
class AsyncRelease : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/release_that_does_not_wait";
  static constexpr const char* kClaim = "a page that somebody has is left to the next write";

  void thread(int) {
    uintptr_t addr = get(0, S_WRITE, SM_FAULT);
    write_word(addr, 33);
    page_t* const pp = lock_page(0, SE_EXCL);
    HAT_ASSERT(put(addr, SM_WRITE | SM_ASYNC) == 0 && on_disk(0) == 1);
    page_io_lock(sys.vm, pp);
    page_downgrade(sys.vm, pp);
    addr = get(0);
    HAT_ASSERT(put(addr, SM_WRITE | SM_ASYNC) == 0 && on_disk(0) == 1);
    page_io_unlock(sys.vm, pp);
    unlock_page(pp);
    HAT_ASSERT(!PAGE_LOCKED(pp), "who did not wait has kept it");
    HAT_ASSERT(put(get(0), SM_WRITE | SM_ASYNC) == 0 && on_disk(0) == 33);
  }
};

// Writes fail until check(). What could not be written is neither lost nor counted as written.
class WriteThatFails : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/releases_whose_writes_fail";
  static constexpr const char* kClaim = "each is told, and the data stays, modified";

  WriteThatFails() : SegmapModel({.slots = 1, .pages_per_slot = 2}) {
    window_ = window();
    window();
    write_word(window_, 35);
    write_word(window_ + pagesize(), 36);
  }
  ~WriteThatFails() override { end_with(bad_file_); }
  void thread(int index) {
    // The second page can be written.
    HAT_ASSERT(put(window_, index == 0 ? SM_WRITE : SM_INVAL) == EIO, "nobody was told");
  }
  void check() override {
    page_t* const first = page_exists(sys.vm, &bad_file_, 0);
    HAT_ASSERT(first != nullptr && !PAGE_LOCKED(first) && hat_ismod(first), "it is lost");
    const uintptr_t addr = window();
    HAT_ASSERT(read_word(addr) == 35 && read_word(addr + pagesize()) == 36);
    HAT_ASSERT(put(addr, SM_INVAL) == EIO && page_exists(sys.vm, &bad_file_, 0) == first);
    HAT_ASSERT(vop_putpage(sys.vm, &bad_file_, 0, 2 * pagesize(), B_INVAL | B_FORCE) == EIO);
    HAT_ASSERT(page_exists(sys.vm, &bad_file_, 0) == nullptr, "it was to go in any case");
  }

 private:
  static std::unique_ptr<VnodeBacking> failing(uint64_t bytes) {
    return std::make_unique<FaultyBacking>(
        std::make_unique<MemoryBacking>(bytes, bytes),
        [](FaultyBacking::Op op, uint64_t off, uint64_t) {
          const bool fails = op == FaultyBacking::Op::kWrite && off == 0;
          return fails ? FaultyBacking::Fault::kEio : FaultyBacking::Fault::kNone;
        });
  }
  uintptr_t window() {
    return segmap_getmapflt(seg(), &bad_file_, 0, slotsize(), SM_FAULT, S_WRITE);
  }

  vnode_t bad_file_{"bad", 2, 0, failing(2 * pagesize())};
  uintptr_t window_ = 0;
};

// The slot goes to another piece; what its own has been written is on nobody's mind but the page's.
class RecycleOfAModifiedPiece : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/recycling_of_a_modified_piece_against_a_sync";
  static constexpr const char* kClaim =
      "a modified page stays until it is written, a clean one goes";

  RecycleOfAModifiedPiece() : SegmapModel({.slots = 1}) { write_piece(0, 33); }
  void thread(int index) {
    if (index == 0) {
      put(get(1, S_READ, SM_FAULT));
    } else {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 0, pagesize(), 0) == 0);
    }
  }
  void check() override {
    HAT_ASSERT(on_disk(0) == 33, "what was written is lost");
    // The second piece is clean, and nobody needs it when its slot is taken.
    put(get(2));
    HAT_ASSERT(is_free(sys, file, 1), "the page of a slot that was recycled is not free");
  }
};

}  // namespace

std::vector<AnyScenario> segmap_release_scenarios() {
  return scenario_list<FreeAfterUse, OrderOfReuse, HintAlone, ThrowingAway, AsyncRelease,
                       WriteThatFails, RecycleOfAModifiedPiece>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
