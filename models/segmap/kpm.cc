// The kpm variant: cached kpm mappings against those who may take them away.
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class KpmModel : public SegmapModel {
 protected:
  explicit KpmModel(uint32_t slots = 2, uint32_t mlists = 1, uint32_t page_locks = 1)
      : SegmapModel({.slots = slots, .kpm = true, .mlists = mlists, .page_locks = page_locks}) {}

  void pageunload() {
    page_t* const pp = lock_page(0, SE_EXCL);
    if (pp == nullptr) return;
    hat_pageunload(sys, pp);
    unlock_page(pp);
  }
};

class PageunloadAgainstRecycle : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_pageunload_against_recycling";
  static constexpr const char* kClaim = "one of the two maps the page out, once";

  PageunloadAgainstRecycle() : KpmModel(1) { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      put(get(1));
    } else {
      pageunload();
    }
  }
};

// As above, but the slot goes on to another page, whose list is under another mlist.
class PageunloadAgainstReuse : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_pageunload_against_reuse_for_another_page";
  static constexpr const char* kClaim = "the slot joins the new page's list after it left the old";

  PageunloadAgainstReuse() : KpmModel(1, /*mlists=*/2) { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      put(get(1, S_READ, SM_FAULT));
    } else {
      pageunload();
    }
  }
};

class PageunloadAgainstGetmap : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_pageunload_against_getmap";
  static constexpr const char* kClaim = "the window is the page's address and shows its data";

  PageunloadAgainstGetmap() { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      const uintptr_t addr = get(0, S_READ, SM_FAULT);
      HAT_ASSERT(hat_in_kpm(sys, addr));
      const AccessResult result =
          sys.machine.access(this_cpu(), addr, AccessKind::kRead, Privilege::kKernel);
      HAT_ASSERT(result.ok && result.value == 1, "invariant 56");
      put(addr);
    } else {
      pageunload();
    }
  }
};

class TwoKpmGetmaps : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_two_getmaps_of_one_piece";
  static constexpr const char* kClaim = "both map the same page in, which counts one user";

  void thread(int index) { got_[index] = get(0, S_READ, SM_FAULT); }
  void check() override {
    HAT_ASSERT(got_[0] == got_[1]);
    HAT_ASSERT(hat_kpm_vaddr2page(sys, got_[0])->p_kpmref() == 1);
    put(got_[0]);
    put(got_[1]);
  }

 private:
  std::array<uintptr_t, 2> got_{};
};

class KpmInvalAgainstGetmap : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_last_release_with_inval_against_getmap";
  static constexpr const char* kClaim = "nobody waits for ever, and what was written is seen";

  KpmInvalAgainstGetmap() : window_(get(0, S_WRITE, SM_FAULT)) {
    sys.machine.access(0, window_, AccessKind::kWrite, Privilege::kKernel, 77);
  }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_INVAL);
    } else {
      const uintptr_t addr = get(0, S_READ, SM_FAULT);
      const uint64_t seen =
          sys.machine.access(this_cpu(), addr, AccessKind::kRead, Privilege::kKernel).value;
      HAT_ASSERT(seen == 77, "saw " + std::to_string(seen));
      put(addr);
    }
  }

 private:
  const uintptr_t window_;
};

// S16: the slot has translations of its own besides the kpm mapping, and the page outlives the
// release.
class KpmInvalUnloadsTheSlot : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_inval_unloads_the_slot_too";
  static constexpr const char* kClaim = "a blank slot has no translation (invariant 48)";

  KpmInvalUnloadsTheSlot() {
    const uintptr_t plain = get(0);
    HAT_ASSERT(read_word(plain) == 1);
    put(plain);
    page_ = page_at(0);
    page_->p_lckcnt = 1;  // so that SM_INVAL leaves it
    window_ = get(0, S_READ, SM_FAULT);
    HAT_ASSERT(hat_in_kpm(sys, window_));
  }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_INVAL);
    } else {
      put(get(1));
    }
  }
  void check() override { page_->p_lckcnt = 0; }

 private:
  page_t* page_ = nullptr;
  uintptr_t window_ = 0;
};

// A slot that has its page mapped in is released through its own address: the page is waited for,
// and its owner may have unloaded it by then.
class PlainInvalAgainstPageunload : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_inval_of_a_plain_window_against_pageunload";
  static constexpr const char* kClaim = "one of the two maps the page out, once";

  PlainInvalAgainstPageunload() {
    put(get(0, S_READ, SM_FAULT));
    window_ = get(0);
  }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_INVAL);
    } else {
      pageunload();
    }
  }

 private:
  uintptr_t window_ = 0;
};

// The page that the slot had mapped in is destroyed, and its frame given to another piece.
class GetmapAgainstReuse : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_getmap_against_reuse_of_the_page";
  static constexpr const char* kClaim = "the window shows its own piece";

  GetmapAgainstReuse() : KpmModel(2, /*mlists=*/1, /*page_locks=*/32) {
    put(get(0, S_READ, SM_FAULT));
  }
  void thread(int index) {
    if (index == 0) {
      const uintptr_t addr = get(0, S_READ, SM_FAULT);
      HAT_ASSERT(
          sys.machine.access(this_cpu(), addr, AccessKind::kRead, Privilege::kKernel).value == 1);
      put(addr);
    } else if (page_t* const pp = lock_page(0, SE_EXCL)) {
      page_destroy(sys.vm, pp, 0);
      put(get(1, S_READ, SM_FAULT));
    }
  }
};

class TwoKpmPagecreates : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_two_pagecreates_of_one_page";
  static constexpr const char* kClaim = "the page is new to one of them only";

  void thread(int index) {
    const uintptr_t addr = get(0, S_WRITE);
    told_new_[index] = segmap_pagecreate(seg(), addr, pagesize(), false);
    put(addr);
  }
  void check() override { HAT_ASSERT(told_new_[0]() + told_new_[1]() == 1); }

 private:
  std::array<Guarded<int>, 2> told_new_{};
};

// A CPU remembers the slot that it released last; the next release may be another's.
class TwoWindowsOfOneCpu : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_two_windows_of_one_cpu";
  static constexpr const char* kClaim = "each release is of the slot that it names";

  TwoWindowsOfOneCpu() : KpmModel(2, /*mlists=*/2, /*page_locks=*/32) {
    for (int i = 0; i < 2; ++i) twice_ = get(0, S_READ, SM_FAULT);
    other_ = get(1, S_READ, SM_FAULT);
  }
  void thread(int index) {
    if (index == 1) {
      put(get(1, S_READ, SM_FAULT));
      return;
    }
    put(twice_);
    put(other_);
    HAT_ASSERT(slot_of(0)->sm_refcnt() == 1, "the other slot was released");
    put(twice_);
  }

 private:
  uintptr_t twice_ = 0;
  uintptr_t other_ = 0;
};

// Beyond the end of the file a write is the file system's business first, and nothing tells it of a
// write through a kpm address.
class LockProtoAtTheEnd : public KpmModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/kpm_two_windows_at_the_end_of_the_file";
  static constexpr const char* kClaim = "who is to be told of writes gets no kpm address";

  void thread(int) {
    // The file has four pages.
    for (uint64_t piece = 3; piece <= 4; ++piece) {
      const uintptr_t addr = get(piece, S_READ, SM_LOCKPROTO);
      HAT_ASSERT(hat_in_kpm(sys, addr) == (piece == 3));
      put(addr);
      HAT_ASSERT(!PAGE_LOCKED(page_at(piece)));
    }
  }
};

// The page is freed with its name, and may be locked like any other until it is used again.
class GetmapAgainstPageout : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_getmap_against_pageout";
  static constexpr const char* kClaim = "a page that is out is not free";

  GetmapAgainstPageout() { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      const uintptr_t addr = get(0, S_READ, SM_FAULT);
      HAT_ASSERT(!PP_ISFREE(hat_kpm_vaddr2page(sys, addr)), "a free page is out");
      put(addr);
    } else {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
    }
  }
};

// A slot that nobody uses has its page mapped in still, for the next one who asks.
class ReleaseOfAMappedPage : public KpmModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/kpm_free_of_a_page_that_a_slot_has_mapped_in";
  static constexpr const char* kClaim = "a page with users in the kpm window is not free";

  ReleaseOfAMappedPage() { put(get(0, S_READ, SM_FAULT)); }
  void thread(int) {
    page_t* const pp = lock_page(0, SE_SHARED);
    HAT_ASSERT(page_release(sys.vm, pp, 1) == PGREL_NOTREL);
    HAT_ASSERT(!PP_ISFREE(pp) && pp->p_kpmref() == 1);
  }
};

// A device writes into the page while it is soft locked: nobody else says so, for the window was
// asked for to be read.
class SoftLockedWindow : public KpmModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/kpm_device_write_into_a_soft_locked_window";
  static constexpr const char* kClaim = "what was written is written back";

  void thread(int) {
    const uintptr_t addr = get(0, S_READ, SM_FAULT);
    page_t* const pp = hat_kpm_vaddr2page(sys, addr);
    pp->p_nrm.store(0, std::memory_order_relaxed);
    fault(addr, F_INVAL, S_WRITE);
    fault(addr, F_SOFTLOCK, S_WRITE);
    HAT_ASSERT(!hat_isref(pp) && !hat_ismod(pp), "nothing has been done to the page yet");
    fault(addr, F_SOFTUNLOCK, S_OTHER);
    HAT_ASSERT(!hat_isref(pp) && !hat_ismod(pp), "it was neither read nor written");
    fault(addr, F_SOFTUNLOCK, S_READ);
    HAT_ASSERT(hat_isref(pp) && !hat_ismod(pp), "it was read");
    sys.machine.access(0, addr, AccessKind::kWrite, Privilege::kKernel, 77);
    fault(addr, F_SOFTUNLOCK, S_WRITE);
    put(addr);
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, pagesize(), 0) == 0);
    HAT_ASSERT(on_disk(0) == 77, "invariant 32: the write was forgotten");
  }

 private:
  void fault(uintptr_t addr, fault_type type, seg_rw rw) {
    HAT_ASSERT(segmap_fault(seg(), sys.kas_hat(), addr, pagesize(), type, rw) == 0);
  }
};

// What one user has said of a slot is not said of the next.
class UsesOneByOne : public KpmModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "segmap/kpm_uses_of_one_slot_one_by_one";
  static constexpr const char* kClaim = "each release notes what its own window was got for";

  void thread(int) {
    const uintptr_t addr = get(0, S_WRITE);
    page_t* const pp = hat_kpm_vaddr2page(sys, addr);
    // Its creator knows that the page is new, and does not ask.
    put(addr);
    HAT_ASSERT(hat_isref(pp) && hat_ismod(pp), "it was got for writing");
    HAT_ASSERT(get(0, S_WRITE) == addr);
    HAT_ASSERT(segmap_pagecreate(seg(), addr, pagesize(), false) == 0, "it is new no more");
    HAT_ASSERT(put(addr, SM_WRITE) == 0);

    HAT_ASSERT(get(0, S_READ, SM_FAULT) == addr);
    pp->p_nrm.store(0, std::memory_order_relaxed);
    put(addr);
    HAT_ASSERT(hat_isref(pp), "it was read");
    HAT_ASSERT(!hat_ismod(pp), "it was only read");

    // It is there, and clean: the file system is told that it will be written.
    HAT_ASSERT(get(0, S_WRITE, SM_FAULT) == addr);
    HAT_ASSERT(segmap_pagecreate(seg(), get(0, S_WRITE), pagesize(), false) == 0 && PAGE_SHARED(pp),
               "nobody has made it");
    put(addr);
    put(addr);
    HAT_ASSERT(!PAGE_LOCKED(pp), "it is kept by nobody");
    // Who will fill the window himself gets one of its own.
    const uintptr_t plain = get(0, S_OTHER);
    HAT_ASSERT(!hat_in_kpm(sys, plain));
    put(plain);
  }
};

// Users of a page's address that are not slots: one with a kpme and one without.
class UsersOfOnePage : public KpmModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/kpm_two_users_of_one_page";
  static constexpr const char* kClaim = "the page is mapped until its last user has gone";

  UsersOfOnePage() { HAT_ASSERT(vop_getpage(sys.vm, &file, 0, S_READ, &page_) == 0); }
  void thread(int index) {
    kpme* const user = index == 0 ? &users_[0] : nullptr;
    const uintptr_t addr = hat_kpm_mapin(sys, page_, user);
    HAT_ASSERT(sys.machine.access(this_cpu(), addr, AccessKind::kWrite, Privilege::kKernel, 1).ok);
    hat_kpm_mapout(sys, page_, user, addr);
  }
  void check() override {
    const uintptr_t addr = hat_kpm_page2va(sys, page_);
    HAT_ASSERT(!mapped(addr) && page_->p_kpmref() == 0);
    // They leave in any order, and the last ones are made to.
    for (kpme& user : users_) hat_kpm_mapin(sys, page_, &user);
    for (const size_t gone : {1, 3, 0}) {
      hat_kpm_mapout(sys, page_, &users_[gone], addr);
      const absl::Status status = hat_audit(sys);
      HAT_ASSERT(status.ok(), std::string(status.message()));
    }
    hat_kpm_mapin(sys, page_, &users_[3]);
    unlock_page(page_);
    pageunload();
    for (kpme& user : users_) {
      HAT_ASSERT(user.kpe_page.load(std::memory_order_relaxed) == nullptr);
    }
    HAT_ASSERT(!mapped(addr));
  }

 private:
  std::array<kpme, 4> users_;
  page_t* page_ = nullptr;
};

}  // namespace

std::vector<AnyScenario> segmap_kpm_scenarios() {
  return scenario_list<PageunloadAgainstRecycle, PageunloadAgainstReuse, PageunloadAgainstGetmap,
                       TwoKpmGetmaps, KpmInvalAgainstGetmap, KpmInvalUnloadsTheSlot,
                       PlainInvalAgainstPageunload, GetmapAgainstReuse, TwoKpmPagecreates,
                       TwoWindowsOfOneCpu, LockProtoAtTheEnd, GetmapAgainstPageout,
                       ReleaseOfAMappedPage, SoftLockedWindow, UsesOneByOne, UsersOfOnePage>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
