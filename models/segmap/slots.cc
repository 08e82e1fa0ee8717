// Slots: getmap, reclaim, recycling and release of the same and of different pieces.
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Nothing is cached and everybody wants the same piece.
template <int kGetters>
class GetmapTogether : public SegmapModel {
 public:
  static constexpr int kThreads = kGetters;
  static constexpr const char* kName =
      kGetters == 2 ? "segmap/two_getmaps_of_one_piece" : "segmap/three_getmaps_of_one_piece";
  static constexpr const char* kClaim =
      "one gives a slot the identity, all get that slot, and spare slots come back blank";

  GetmapTogether() : SegmapModel({.ncpus = kGetters}) {}
  void thread(int index) { got_[index] = get(0); }
  void check() override {
    for (const uintptr_t addr : got_) HAT_ASSERT(addr == got_[0]);
    HAT_ASSERT(slot_of(0)->sm_refcnt() == kGetters);
    for (const uintptr_t addr : got_) put(addr);
  }

 private:
  std::array<uintptr_t, kGetters> got_{};
};

class GetmapApart : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_getmaps_of_two_pieces";
  static constexpr const char* kClaim = "each gets a slot of its own";

  void thread(int index) { got_[index] = get(index); }
  void check() override {
    HAT_ASSERT(got_[0] != got_[1]);
    put(got_[0]);
    put(got_[1]);
  }

 private:
  std::array<uintptr_t, 2> got_{};
};

class GetmapAgainstRelease : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/getmap_against_last_release";
  static constexpr const char* kClaim = "the getter uses the slot or takes it back from its queue";

  GetmapAgainstRelease() : window_(get(0)) {}
  void thread(int index) {
    if (index == 0) {
      put(window_);
    } else {
      got_ = get(0);
    }
  }
  void check() override {
    HAT_ASSERT(got_ == window_ && slot_of(0)->sm_refcnt() == 1);
    put(got_);
  }

 private:
  const uintptr_t window_;
  uintptr_t got_ = 0;
};

class TwoReleases : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_releases_of_one_slot";
  static constexpr const char* kClaim = "the second one puts the slot on a queue, and only it does";

  TwoReleases() : window_(get(0)) { get(0); }
  void thread(int) { put(window_); }
  void check() override { HAT_ASSERT(slot_of(0)->sm_refcnt() == 0); }

 private:
  const uintptr_t window_;
};

// One cached slot is wanted by who knows it and by who needs any.
class ReclaimAgainstRecycle : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/reclaim_against_recycling";
  static constexpr const char* kClaim =
      "the cached slot is reclaimed or recycled, and the loser waits for it or gets another";

  ReclaimAgainstRecycle() : SegmapModel({.slots = 1}) { put(get(0)); }
  void thread(int index) { put(get(index)); }
};

class ReclaimAgainstRecycleOfTwo : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/reclaim_against_recycling_of_two";
  static constexpr const char* kClaim = "an allocator that finds a slot busy takes the next";

  ReclaimAgainstRecycleOfTwo() {
    put(get(0));
    put(get(1));
  }
  void thread(int index) { got_[index] = get(index == 0 ? 0 : 2); }
  void check() override {
    HAT_ASSERT(got_[0] != got_[1] && slot_of(0) != nullptr && slot_of(2) != nullptr);
    HAT_ASSERT(slot_of(0)->sm_refcnt() == 1 && slot_of(2)->sm_refcnt() == 1);
    put(got_[0]);
    put(got_[1]);
  }

 private:
  std::array<uintptr_t, 2> got_{};
};

// The releaser samples the release queue; an allocator exchanges the queues; the slot is then on
// what is now the allocation queue, and must be found there by who wants its piece.
class ReleaseAgainstExchange : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/release_against_exchange_of_queues";
  static constexpr const char* kClaim = "a slot is taken off the queue that it is on";

  // The other slot is on the release queue.
  ReleaseAgainstExchange() : window_(get(0)) { put(get(1)); }
  void thread(int index) {
    if (index == 0) {
      put(window_);
      put(get(0));
    } else {
      put(get(2));
    }
  }

 private:
  const uintptr_t window_;
};

class InvalAgainstGetmap : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/last_release_with_inval_against_getmap";
  static constexpr const char* kClaim =
      "the getter keeps the slot or gets another; what was written is seen either way";

  InvalAgainstGetmap() : window_(get(0, S_WRITE, SM_FAULT)) { write_word(window_, 77); }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_INVAL);
    } else {
      got_ = get(0, S_READ, SM_FAULT);
      seen_ = read_word(got_);
    }
  }
  void check() override {
    HAT_ASSERT(seen_ == 77, "read " + std::to_string(seen_));
    put(got_);
    HAT_ASSERT(on_disk(0) == 77);
  }

 private:
  const uintptr_t window_;
  uintptr_t got_ = 0;
  uint64_t seen_ = 0;
};

// SM_INVAL leaves a memory-locked page where it is; the slot lets go of it all the same.
class InvalOfALockedPage : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/last_release_with_inval_of_a_locked_page";
  static constexpr const char* kClaim = "a blank slot has no translation (invariant 48)";

  InvalOfALockedPage() : window_(get(0, S_READ, SM_FAULT)) { page_at(0)->p_lckcnt = 1; }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_INVAL);
    } else {
      put(get(1));
    }
  }
  void check() override { page_at(0)->p_lckcnt = 0; }

 private:
  const uintptr_t window_;
};

class TwoInvals : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/two_releases_with_inval";
  static constexpr const char* kClaim = "one of them blanks the slot, the page goes once";

  TwoInvals() : window_(get(0, S_WRITE, SM_FAULT)) {
    get(0);
    write_word(window_, 77);
  }
  void thread(int) { put(window_, SM_INVAL); }
  void check() override {
    HAT_ASSERT(slot_of(0) == nullptr && !mapped(window_) && on_disk(0) == 77);
  }

 private:
  const uintptr_t window_;
};

// SM_DESTROY throws away what the page holds: a file that is cut off.
class DestroyAgainstGetmap : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/last_release_with_destroy_against_getmap";
  static constexpr const char* kClaim = "what was written is not in the file";

  DestroyAgainstGetmap() : window_(get(0, S_WRITE, SM_FAULT)) { write_word(window_, 77); }
  void thread(int index) {
    if (index == 0) {
      put(window_, SM_DESTROY);
      return;
    }
    const uintptr_t addr = get(0, S_READ, SM_FAULT);
    const uint64_t seen = read_word(addr);
    HAT_ASSERT(seen == 77 || seen == 1, "saw " + std::to_string(seen));
    put(addr);
  }
  void check() override { HAT_ASSERT(on_disk(0) == 1, "what was thrown away was written"); }

 private:
  const uintptr_t window_;
};

}  // namespace

std::vector<AnyScenario> segmap_slot_scenarios() {
  return scenario_list<GetmapTogether<2>, GetmapTogether<3>, GetmapApart, GetmapAgainstRelease,
                       TwoReleases, ReclaimAgainstRecycle, ReclaimAgainstRecycleOfTwo,
                       ReleaseAgainstExchange, InvalAgainstGetmap, InvalOfALockedPage, TwoInvals,
                       DestroyAgainstGetmap>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
