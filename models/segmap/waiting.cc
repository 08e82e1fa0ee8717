// Waiting for a free slot, by both protocols (segmap/locking.h).
#include "models/hat/scenarios.h"
#include "models/segmap/scenarios.h"
#include "models/segmap/segmap_model.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr bool is_counted(WaitingDesign design) { return design == WaitingDesign::kCounted; }

// Both slots of one list are in use; two threads want one each, the third gives both back.
template <WaitingDesign kDesign>
class TwoWaitersTwoReleases : public SegmapModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = is_counted(kDesign)
                                           ? "segmap/two_waiters_two_releases"
                                           : "segmap/two_waiters_two_releases_published";
  static constexpr const char* kClaim = "each release wakes one of those who wait";
  static constexpr Expectation kExpected =
      is_counted(kDesign) ? Expectation::clean() : Expectation::violated(Kind::kLostWakeup);

  TwoWaitersTwoReleases() : SegmapModel({.waiting = kDesign, .ncpus = 3}), out_{get(0), get(1)} {}
  void thread(int index) {
    if (index == 0) {
      put(out_[0]);
      put(out_[1]);
    } else {
      got_[index - 1] = get(1 + index);
    }
  }
  void check() override {
    HAT_ASSERT(got_[0] != got_[1]);
    for (const uintptr_t addr : got_) put(addr);
  }
  std::string explain() { return segmap_explain_waiting(seg()); }

 private:
  const std::array<uintptr_t, 2> out_;
  std::array<uintptr_t, 2> got_{};
};

// Two lists of one slot; the waiter looks through both, and the slot comes back on either.
template <WaitingDesign kDesign>
class ReleaseToAnotherList : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_counted(kDesign)
                                           ? "segmap/release_to_a_list_looked_through_before"
                                           : "segmap/release_to_another_list_published";
  static constexpr const char* kClaim = "whichever list a slot comes back to, who waits gets it";
  static constexpr Expectation kExpected =
      is_counted(kDesign) ? Expectation::clean() : Expectation::violated(Kind::kLostWakeup);

  ReleaseToAnotherList() : SegmapModel({.lists = 2, .waiting = kDesign}), out_{get(0), get(1)} {}
  void thread(int index) {
    if (index == 0) {
      got_ = get(2);
    } else {
      // That of the list which the waiter looks through first.
      put(out_[0]);
    }
  }
  void check() override {
    put(got_);
    put(out_[1]);
  }
  std::string explain() { return segmap_explain_waiting(seg()); }

 private:
  const std::array<uintptr_t, 2> out_;
  uintptr_t got_ = 0;
};

// As above, but the slot comes back to the list that is looked through last.
class ReleaseToTheLastList : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/release_to_the_list_looked_through_last";
  static constexpr const char* kClaim = "whichever list a slot comes back to, who waits gets it";

  ReleaseToTheLastList() : SegmapModel({.lists = 2}), out_{get(0), get(1)} {}
  void thread(int index) {
    if (index == 0) {
      got_ = get(2);
    } else {
      put(out_[1]);
    }
  }
  void check() override {
    put(got_);
    put(out_[0]);
  }

 private:
  const std::array<uintptr_t, 2> out_;
  uintptr_t got_ = 0;
};

// The only free slot is busy for a moment, because somebody looks whether it is his.
class BusySlot : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/a_free_slot_that_is_busy_for_a_moment";
  static constexpr const char* kClaim =
      "an allocator waits for a busy slot rather than for a release";

  BusySlot() : SegmapModel({.slots = 1}) {}
  void thread(int index) {
    if (index == 0) {
      got_ = get(0);
    } else {
      MutexGuard guard(seg().smd_sm[0].sm_mtx);
    }
  }
  void check() override { put(got_); }

 private:
  uintptr_t got_ = 0;
};

// One slot for three threads, each of which gives it back.
class OneSlotForThree : public SegmapModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "segmap/one_slot_for_three_pieces";
  static constexpr const char* kClaim = "everybody gets the slot in the end";

  OneSlotForThree() : SegmapModel({.slots = 1, .ncpus = 3}) {}
  void thread(int index) { put(get(index)); }
};

class OneSlotForTwo : public SegmapModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "segmap/one_slot_for_two_pieces";
  static constexpr const char* kClaim = "everybody gets the slot in the end";

  OneSlotForTwo() : SegmapModel({.slots = 1}) {}
  void thread(int index) { put(get(index)); }
};

}  // namespace

std::vector<AnyScenario> segmap_waiting_scenarios() {
  return scenario_list<TwoWaitersTwoReleases<WaitingDesign::kCounted>,
                       TwoWaitersTwoReleases<WaitingDesign::kPublished>,
                       ReleaseToAnotherList<WaitingDesign::kCounted>,
                       ReleaseToAnotherList<WaitingDesign::kPublished>, BusySlot, OneSlotForTwo,
                       OneSlotForThree, ReleaseToTheLastList>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
