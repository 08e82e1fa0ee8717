// Pages behind windows: creation, soft locking, pageout, recycling, identity.
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Nobody may see a page that is made but not filled yet.
class PagecreateAgainstFault : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/pagecreate_against_fault";
  static constexpr const char* kClaim =
      "a fault on a created page waits for segmap_pageunlock, or reads the page first";

  PagecreateAgainstFault() : SegmapModel({.page_locks = 16}) {
    // One window each, of the same slot.
    for (int i = 0; i < 2; ++i) addr_ = get(0, S_WRITE);
  }
  void thread(int index) {
    if (index == 0) {
      segmap_pagecreate(seg(), addr_, pagesize(), false);
      for (uint64_t at = 0; at < pagesize(); at += 8) write_word(addr_ + at, 55);
      segmap_pageunlock(seg(), addr_, pagesize(), S_WRITE);
    } else {
      // A fault, and not what happens to be mapped: the two have the same slot, and the creator's
      // translation is there before the page is filled. Keeping readers off it until then is the
      // file system's business.
      hat_t* const kas = sys.kas_hat();
      HAT_ASSERT(segmap_fault(seg(), kas, addr_, pagesize(), F_SOFTLOCK, S_READ) == 0);
      const uint64_t seen = read_word(addr_);
      HAT_ASSERT(seen == 55 || seen == 1, "saw " + std::to_string(seen));
      segmap_fault(seg(), kas, addr_, pagesize(), F_SOFTUNLOCK, S_READ);
    }
  }
  void check() override {
    HAT_ASSERT(read_word(addr_) == 55);
    for (int i = 0; i < 2; ++i) put(addr_);
  }

 private:
  uintptr_t addr_ = 0;
};

// S22: two threads create one page that is a hole, each for its own word, and clear the rest of it
// if they are told that it is new.
class TwoPagecreates : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_pagecreates_of_one_page";
  static constexpr const char* kClaim = "the page is new to one of them only";

  void thread(int index) {
    const uintptr_t addr = get(0, S_WRITE);
    const uintptr_t mine = addr + 8 * static_cast<uintptr_t>(index);
    const uintptr_t other = addr + 8 * static_cast<uintptr_t>(1 - index);
    if (segmap_pagecreate(seg(), addr, pagesize(), false) != 0) write_word(other, 0);
    write_word(mine, 90 + static_cast<uint64_t>(index));
    segmap_pageunlock(seg(), addr, pagesize(), S_WRITE);
    put(addr);
  }
  void check() override {
    const uintptr_t addr = get(0);
    const uint64_t words[] = {read_word(addr), read_word(addr + 8)};
    HAT_ASSERT(words[0] == 90 && words[1] == 91,
               "words are " + std::to_string(words[0]) + ", " + std::to_string(words[1]));
    put(addr);
  }
};

class PageunloadAgainstCopy : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/pageunload_between_fault_and_copy";
  static constexpr const char* kClaim = "the copy faults again and nothing written is lost";

  PageunloadAgainstCopy() : window_(get(0, S_WRITE, SM_FAULT)) {}
  void thread(int index) {
    if (index == 0) {
      write_word(window_, 33);
      HAT_ASSERT(read_word(window_) == 33);
    } else if (page_t* const pp = lock_page(0, SE_EXCL)) {
      hat_pageunload(sys, pp);
      unlock_page(pp);
    }
  }
  void check() override {
    HAT_ASSERT(put(window_, SM_WRITE) == 0);
    HAT_ASSERT(on_disk(0) == 33);
  }

 private:
  const uintptr_t window_;
};

// Pageout writes the page and frees it.
class PageoutAgainstWrite : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/pageout_against_write";
  static constexpr const char* kClaim = "what is written while the page goes away is in the file";

  PageoutAgainstWrite() : window_(get(0, S_WRITE, SM_FAULT)) {}
  void thread(int index) {
    if (index == 0) {
      write_word(window_, 33);
    } else {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
    }
  }
  void check() override {
    HAT_ASSERT(read_word(window_) == 33);
    HAT_ASSERT(put(window_, SM_WRITE) == 0 && on_disk(0) == 33);
  }

 private:
  const uintptr_t window_;
};

class SoftlockAgainstPageout : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/softlock_against_pageout";
  static constexpr const char* kClaim = "no access to a soft locked page faults (invariant 51)";

  SoftlockAgainstPageout() : window_(get(0)) {}
  void thread(int index) {
    if (index == 0) {
      hat_t* const kas = sys.kas_hat();
      HAT_ASSERT(segmap_fault(seg(), kas, window_, pagesize(), F_SOFTLOCK, S_READ) == 0);
      const AccessResult result =
          sys.machine.access(this_cpu(), window_, AccessKind::kRead, Privilege::kKernel);
      HAT_ASSERT(result.ok && result.value == 1, "invariant 51");
      segmap_fault(seg(), kas, window_, pagesize(), F_SOFTUNLOCK, S_READ);
    } else {
      vop_putpage(sys.vm, &file, 0, pagesize(), B_FREE | B_ASYNC);
    }
  }
  void check() override { put(window_); }

 private:
  const uintptr_t window_;
};

// A cached slot is recycled while somebody uses its page.
class RecycleOfAPageInUse : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/recycling_while_the_page_is_held";
  static constexpr const char* kClaim = "the translation goes, the page stays (PGREL_NOTREL)";

  RecycleOfAPageInUse() : SegmapModel({.slots = 1}) { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      got_ = get(1);
    } else if (page_t* const pp = lock_page(0, SE_SHARED)) {
      HAT_ASSERT(!PP_ISFREE(pp) && pp->p_vnode.load(std::memory_order_relaxed) == &file);
      unlock_page(pp);
    }
  }
  void check() override {
    HAT_ASSERT(!mapped(got_));
    put(got_);
  }

 private:
  uintptr_t got_ = 0;
};

// page_lookup finds the page without a lock, and by the time it has it the page is another's.
template <bool kRenamed>
class LookupAgainstNewIdentity : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      kRenamed ? "segmap/lookup_against_rename" : "segmap/lookup_against_destruction";
  static constexpr const char* kClaim = "a page found has the identity that was looked for";

  LookupAgainstNewIdentity() { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      page_t* const pp = lock_page(0, SE_SHARED);
      if (pp == nullptr) return;
      HAT_ASSERT(pp->p_vnode.load(std::memory_order_relaxed) == &file &&
                     pp->p_offset.load(std::memory_order_relaxed) == 0,
                 "another page");
      unlock_page(pp);
    } else {
      page_t* const pp = lock_page(0, SE_EXCL);
      if (kRenamed) {
        hat_pageunload(sys, pp);
        page_rename(sys.vm, pp, &file, 3 * pagesize());
        unlock_page(pp);
      } else {
        page_destroy(sys.vm, pp, 0);
      }
    }
  }
};

class LookupNowaitAgainstRename : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/lookup_without_waiting_against_rename";
  static constexpr const char* kClaim = "a page found has the identity that was looked for";

  LookupNowaitAgainstRename() { put(get(0, S_READ, SM_FAULT)); }
  void thread(int index) {
    if (index == 0) {
      page_t* const pp = page_lookup_nowait(sys.vm, &file, 0, SE_SHARED);
      if (pp == nullptr) return;
      HAT_ASSERT(pp->p_offset.load(std::memory_order_relaxed) == 0, "another page");
      unlock_page(pp);
    } else {
      page_t* const pp = lock_page(0, SE_EXCL);
      hat_pageunload(sys, pp);
      page_rename(sys.vm, pp, &file, 3 * pagesize());
      unlock_page(pp);
    }
  }
};

// The pages of one slot are created by different threads, each of which unlocks its own.
class PagecreatesInOneSlot : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/pagecreates_of_two_pages_of_a_slot";
  static constexpr const char* kClaim = "each unlocks the page that it has created";

  PagecreatesInOneSlot() : SegmapModel({.slots = 1, .pages_per_slot = 2}), window_(get(0)) {}
  void thread(int index) {
    const uintptr_t mine = window_ + static_cast<uintptr_t>(index) * pagesize();
    segmap_pagecreate(seg(), mine, pagesize(), false);
    segmap_pageunlock(seg(), mine, pagesize(), S_WRITE);
  }
  void check() override {
    for (uint64_t page = 0; page < 2; ++page) {
      page_t* const pp = page_at(page);
      HAT_ASSERT(pp != nullptr && !PAGE_LOCKED(pp), "page " + std::to_string(page));
    }
    put(window_);
  }

 private:
  const uintptr_t window_;
};

// The page is written to the file by all of them at once.
template <int kSyncs>
class Syncs : public SegmapModel {
 public:
  static constexpr int kThreads = kSyncs;
  static constexpr const char* kName =
      kSyncs == 2 ? "segmap/two_syncs_of_one_page" : "segmap/three_syncs_of_one_page";
  static constexpr const char* kClaim = "one transfer at a time, and nobody waits for ever";

  Syncs() : SegmapModel({.ncpus = kSyncs}), window_(get(0, S_WRITE, SM_FAULT)) {
    write_word(window_, 33);
  }
  void thread(int) { HAT_ASSERT(vop_putpage(sys.vm, &file, 0, pagesize(), 0) == 0); }
  void check() override {
    HAT_ASSERT(on_disk(0) == 33);
    put(window_);
  }

 private:
  const uintptr_t window_;
};

class SyncAgainstWrite : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/sync_against_write";
  static constexpr const char* kClaim = "what this transfer has missed is in the next one";

  SyncAgainstWrite() : window_(get(0, S_WRITE, SM_FAULT)) { write_word(window_, 33); }
  void thread(int index) {
    if (index == 0) {
      write_word(window_, 34);
    } else {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 0, pagesize(), 0) == 0);
    }
  }
  void check() override { HAT_ASSERT(put(window_, SM_WRITE) == 0 && on_disk(0) == 34); }

 private:
  const uintptr_t window_;
};

class TransferThatFails : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_syncs_of_which_one_fails";
  static constexpr const char* kClaim = "a page whose transfer failed is still modified";

  TransferThatFails() {
    const uintptr_t addr = segmap_getmapflt(seg(), &bad_file_, 0, slotsize(), SM_FAULT, S_WRITE);
    write_word(addr, 35);
    put(addr);
  }
  ~TransferThatFails() override { end_with(bad_file_); }
  void thread(int) { vop_putpage(sys.vm, &bad_file_, 0, pagesize(), 0); }
  void check() override {
    uint8_t bytes[8];
    HAT_ASSERT(bad_file_.v_backing->read(0, bytes) == 0);
    HAT_ASSERT(bytes[0] == 35, "the second transfer found nothing to do");
  }

 private:
  static std::unique_ptr<VnodeBacking> failing_once(uint64_t bytes) {
    return std::make_unique<FaultyBacking>(
        std::make_unique<MemoryBacking>(bytes, bytes),
        [writes = 0](FaultyBacking::Op op, uint64_t, uint64_t) mutable {
          const bool fails = op == FaultyBacking::Op::kWrite && writes++ == 0;
          return fails ? FaultyBacking::Fault::kEio : FaultyBacking::Fault::kNone;
        });
  }

  vnode_t bad_file_{"bad", 2, 0, failing_once(pagesize())};
};

// A page that is only read is clean, and the vnode wants to hear of the first write.
class WriteAfterRead : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/write_after_read_of_a_sorted_vnode";
  static constexpr const char* kClaim = "a page that was mapped for reading is written back too";

  WriteAfterRead() : SegmapModel({.vnode_flag = VMODSORT}), window_(get(0, S_READ, SM_FAULT)) {
    page_at(0)->p_nrm.store(P_REF, std::memory_order_relaxed);
  }
  void thread(int index) {
    if (index == 0) {
      write_word(window_, 36);
    } else {
      const uint64_t seen = read_word(window_);
      HAT_ASSERT(seen == 1 || seen == 36, "saw " + std::to_string(seen));
    }
  }
  void check() override {
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0 && on_disk(0) == 36);
    put(window_);
  }

 private:
  const uintptr_t window_;
};

// The walk goes by the mark of the page alone, and a write-back takes the mark away: the page must
// not become writable without it, neither by a fault nor where a file system is about to overwrite
// a whole page that is there.
template <bool kPagecreate>
class FirstWriteAgainstWalk : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = kPagecreate
                                           ? "segmap/pagecreate_against_a_walk_of_a_sorted_vnode"
                                           : "segmap/first_write_against_a_walk_of_a_sorted_vnode";
  static constexpr const char* kClaim = "what this walk has missed the next one finds";

  FirstWriteAgainstWalk()
      : SegmapModel({.vnode_flag = VMODSORT}), window_(get(0, S_READ, SM_FAULT)) {
    page_at(0)->p_nrm.store(P_REF, std::memory_order_relaxed);
  }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
      return;
    }
    if (kPagecreate) HAT_ASSERT(segmap_pagecreate(seg(), window_, pagesize(), false) == 0);
    write_word(window_, 37);
  }
  void check() override {
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
    HAT_ASSERT(on_disk(0) == 37, "the page is writable and counts as clean");
    put(window_);
  }

 private:
  const uintptr_t window_;
};

// CPU 0 has the translation of a cached slot in its TLB when it recycles the slot. The PTE may have
// been cleared by somebody who has not flushed it yet.
class RecycleAgainstPageunload : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/recycling_against_pageunload";
  static constexpr const char* kClaim = "a recycled slot shows its new page to everybody";

  RecycleAgainstPageunload() : SegmapModel({.slots = 1, .mlists = 2}) {
    const uintptr_t addr = get(0, S_READ, SM_FAULT);
    HAT_ASSERT(read_word(addr) == 1);
    put(addr);
  }
  void thread(int index) {
    if (index == 0) {
      const uintptr_t addr = get(1, S_READ, SM_FAULT);
      const uint64_t seen = read_word(addr);
      HAT_ASSERT(seen == 2, "saw " + std::to_string(seen));
      put(addr);
    } else if (page_t* const pp = lock_page(0, SE_EXCL)) {
      hat_pageunload(sys, pp);
      unlock_page(pp);
    }
  }
};

// A page is written to while somebody else writes it back; then its writer wants it on disk. The
// write-back may find that the page is modified again, and move it behind the end of the walk.
class WriteBackAgainstSync : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      "segmap/write_and_sync_of_a_sorted_vnode_against_a_write_back";
  static constexpr const char* kClaim = "what was written before the sync is on disk after it";

  WriteBackAgainstSync() : SegmapModel({.vnode_flag = VMODSORT}) {
    // The walk begins with another page, for which it drops the vnode's lock.
    write_piece(0, 35);
    window_ = get(1, S_WRITE, SM_FAULT);
    write_word(window_, 36);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(vop_putpage(sys.vm, &file, pagesize(), pagesize(), B_ASYNC) == 0);
      return;
    }
    write_word(window_, 37);
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
    HAT_ASSERT(!hat_ismod(page_at(1)), "the walk has missed the page");
  }
  void check() override { put(window_); }

 private:
  uintptr_t window_ = 0;
};

// A modification is noted under the page's mlist, which takes vph, while the ring of the vnode is
// walked and vph dropped and taken again.
class SetmodAgainstWalk : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/unload_of_a_modified_page_against_pvn_vplist_dirty";
  static constexpr const char* kClaim = "the walk ends, and the modification is kept or written";

  SetmodAgainstWalk() : SegmapModel({.vnode_flag = VMODSORT}) {
    write_piece(0, 44);
    put(get(1, S_READ, SM_FAULT));
    // The mapping is modified, the page not known to be.
    page_at(0)->p_nrm.store(0, std::memory_order_relaxed);
  }
  void thread(int index) {
    if (index == 0) {
      hat_unload(sys, sys.kas_hat(), seg().smap_addr(slot_of(0)), pagesize(), HAT_UNLOAD);
    } else {
      HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
    }
  }
  void check() override {
    HAT_ASSERT(vop_putpage(sys.vm, &file, 0, 0, 0) == 0);
    HAT_ASSERT(on_disk(0) == 44);
  }
};

}  // namespace

std::vector<AnyScenario> segmap_page_scenarios() {
  return scenario_list<WriteBackAgainstSync, PagecreateAgainstFault, TwoPagecreates,
                       PageunloadAgainstCopy, PageoutAgainstWrite, SoftlockAgainstPageout,
                       RecycleOfAPageInUse, LookupAgainstNewIdentity<true>,
                       LookupAgainstNewIdentity<false>, LookupNowaitAgainstRename,
                       PagecreatesInOneSlot, Syncs<2>, Syncs<3>, SyncAgainstWrite,
                       TransferThatFails, WriteAfterRead, FirstWriteAgainstWalk<true>,
                       FirstWriteAgainstWalk<false>, RecycleAgainstPageunload, SetmodAgainstWalk>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
