// Pages and their file: what is written, what may go, and what a new page holds.
#include <cerrno>

#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// From an offset to the end of the file, which others have modified as well.
class WriteFromAnOffset : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/write_to_the_end_of_the_file_from_an_offset";
  static constexpr const char* kClaim = "all behind the offset is written, and nothing before it";

  WriteFromAnOffset() {
    for (uint64_t page = 0; page < 3; ++page) write_piece(page, 60 + page);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(vop_putpage(sys.vm, &file, pagesize(), 0, 0) == 0);
    } else {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 2 * pagesize(), pagesize(), B_INVAL) == 0);
    }
  }
  void check() override {
    HAT_ASSERT(on_disk(0) == 1, "it was not to be written");
    HAT_ASSERT(on_disk(1) == 61 && on_disk(2) == 62);
  }
};

// The walk along the file's pages has to wait for one of them.
class WriteAgainstHolder : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/write_of_a_file_against_a_holder_of_a_page";
  static constexpr const char* kClaim = "the page that was waited for is written like the others";

  WriteAgainstHolder() {
    for (uint64_t page = 0; page < 2; ++page) write_piece(page, 60 + page);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
      HAT_ASSERT(on_disk(0) == 60 && on_disk(1) == 61);
    } else {
      unlock_page(lock_page(0, SE_EXCL));
    }
  }
};

// The page is read while it is on its way to the file, from where on it was to be free.
class ReadWhileWritten : public SegmapModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/page_that_is_read_while_it_is_written_to_be_freed";
  static constexpr const char* kClaim = "a page in use again stays";

  void thread(int) {
    const uintptr_t addr = get(0, S_WRITE, SM_FAULT);
    write_word(addr, 33);
    page_t* const pp = lock_page(0, SE_EXCL);
    HAT_ASSERT(pvn_getdirty(sys.vm, pp, B_FREE) == 1 && PAGE_SHARED(pp));
    HAT_ASSERT(read_word(addr) == 33);
    HAT_ASSERT(pvn_putapage(sys.vm, pp, B_FREE) == 0 && on_disk(0) == 33);
    HAT_ASSERT(!PP_ISFREE(pp) && !PAGE_LOCKED(pp) && mapped(addr));
    put(addr);
  }
};

// Memory that somebody has locked is not taken away, neither with its file.
class LockedInMemory : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/end_of_a_file_with_a_memory_locked_page";
  static constexpr const char* kClaim = "the page stays as it is, and who asks is told";

  LockedInMemory() {
    write_piece(0, 33);
    page_ = page_at(0);
    page_->p_lckcnt = 1;
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(vn_recycle(sys.vm, &file) == EBUSY);
    } else {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
    }
  }
  void check() override {
    HAT_ASSERT(page_at(0) == page_ && !PP_ISFREE(page_));
    HAT_ASSERT(!PAGE_LOCKED(page_), "who was refused has kept the page");
    page_->p_lckcnt = 0;
    // A page that was freed has kept its name as well.
    put(get(1, S_READ, SM_FAULT), SM_FREE);
    HAT_ASSERT(vn_recycle(sys.vm, &file) == 0, "pages are left");
    HAT_ASSERT(page_at(0) == nullptr && on_disk(0) == 1);
  }

 private:
  page_t* page_ = nullptr;
};

// A page for who is going to write all of it.
class CreationThroughGetpage : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/two_getpages_of_a_page_that_is_created";
  static constexpr const char* kClaim = "its creator has it alone, and who comes first sees zeroes";

  CreationThroughGetpage() {
    // The next frame that is given out has other contents.
    page_t* const pp = create_page(sys.vm, &file, 0);
    sys.machine.mem().word(pp->p_pagenum, 0).store(99, std::memory_order_relaxed);
    page_destroy(sys.vm, pp, 0);
  }
  void thread(int index) {
    const seg_rw rw = index == 0 ? S_CREATE : S_READ;
    page_t* pp = nullptr;
    HAT_ASSERT(vop_getpage(sys.vm, &file, 0, rw, &pp) == 0);
    HAT_ASSERT(index == 0 ? PAGE_EXCL(pp) : PAGE_SHARED(pp));
    const uint64_t word = sys.machine.mem().word(pp->p_pagenum, 0).load(std::memory_order_relaxed);
    // Read by the other one, or created.
    HAT_ASSERT(word == 1 || word == 0, "it holds " + std::to_string(word));
    unlock_page(pp);
  }
  void check() override {
    // Also where the file has other contents.
    page_destroy(sys.vm, lock_page(0, SE_EXCL), 0);
    page_t* pp = nullptr;
    HAT_ASSERT(vop_getpage(sys.vm, &file, 0, S_CREATE, &pp) == 0);
    HAT_ASSERT(sys.machine.mem().word(pp->p_pagenum, 0).load(std::memory_order_relaxed) == 0);
    unlock_page(pp);
  }
};

}  // namespace

std::vector<AnyScenario> vnode_scenarios() {
  return scenario_list<WriteFromAnOffset, WriteAgainstHolder, ReadWhileWritten, LockedInMemory,
                       CreationThroughGetpage>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
