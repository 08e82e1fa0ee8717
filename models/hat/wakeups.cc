// One event that several threads wait for, each for its own reason: all of them must look.
#include "hat/reserve_ownership.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The reserves' owner gives them up. Who waits with a load that is not nested goes on without them,
// and so wakes nobody in turn.
class TwoLoadsWaitForAnOwner : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "memory/two_loads_wait_for_an_owner_by_thread";
  static constexpr const char* kClaim = "both go on when the reserves are given up";

  TwoLoadsWaitForAnOwner() : HatModel(by_thread()) {}
  void thread(int index) {
    ReserveOwnership& owners = *sys.reserve_ownership;
    const uint32_t flags = index == 0 ? HAT_NO_KALLOC : HAT_LOAD;
    owners.enter(sys, flags);
    HAT_ASSERT(owners.may_use(sys) == (index == 0));
    owners.exit(sys, flags);
  }

 private:
  static SystemConfig by_thread() {
    SystemConfig config = with_cpus(two_levels(), 3);
    config.reserves = ReserveDesign::kThread;
    return config;
  }
};

// Both readers can have the page at once, and keep it.
template <bool kDowngrade>
class TwoReadersWait : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName =
      kDowngrade ? "pages/two_readers_wait_for_a_downgrade" : "pages/two_readers_wait_for_a_writer";
  static constexpr const char* kClaim = "both have the page when the writer lets them";

  TwoReadersWait() : HatModel(with_cpus(two_levels(), 3)) {}
  void thread(int index) {
    if (index != 0) {
      while (page_lock(sys.vm, page_, SE_SHARED, nullptr, P_NO_RECLAIM) == 0) {
      }
    } else if (kDowngrade) {
      page_downgrade(sys.vm, page_);
    } else {
      page_unlock(sys.vm, page_);
    }
  }
  void check() override {
    for (int readers = kDowngrade ? 3 : 2; readers > 0; --readers) page_unlock(sys.vm, page_);
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0);
  }

 private:
  page_t* const page_ = new_page();
};

// The page that two look for gets another name, and its owner keeps it.
class TwoLookupsOfARenamedPage : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "pages/two_lookups_of_a_page_that_is_renamed_and_kept";
  static constexpr const char* kClaim = "both find that there is no such page any more";
  static constexpr Bounds kBounds{.iterations = 100};

  TwoLookupsOfARenamedPage() : HatModel(with_cpus(two_levels(), 3)) {}
  void thread(int index) {
    if (index == 0) {
      page_rename(sys.vm, page_, &sorted_file, 0);
    } else {
      HAT_ASSERT(page_lookup(sys.vm, &file, 0, SE_SHARED) == nullptr);
    }
  }

 private:
  page_t* const page_ = new_page();
};

// Neither wants the I/O lock for itself.
class TwoWaitForATransfer : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "pages/two_wait_for_the_end_of_a_transfer";
  static constexpr const char* kClaim = "both go on when it has ended";

  TwoWaitForATransfer() : HatModel(with_cpus(two_levels(), 3)) { page_io_lock(sys.vm, page_); }
  void thread(int index) {
    if (index == 0) {
      page_io_unlock(sys.vm, page_);
    } else {
      page_io_wait(sys.vm, page_);
      HAT_ASSERT(!page_iolocked(page_));
    }
  }

 private:
  page_t* const page_ = new_page();
};

// One page is freed, for which one waits, and another one for two. When the first has it, he gives
// back two.
class AllocationsOfTwoSizes : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "memory/allocations_of_one_and_two_pages_wait";
  static constexpr const char* kClaim = "nobody sleeps beside the memory that he waits for";
  static constexpr Bounds kBounds{.iterations = 100};

  AllocationsOfTwoSizes() : HatModel(with_cpus(two_levels(), 3)) { exhaust_frames(0); }
  void thread(int index) {
    if (index != 0) allocate_and_free(static_cast<uint64_t>(index));
    if (index != 2) page_destroy(sys.vm, last_[index], 0);
  }

 private:
  void allocate_and_free(uint64_t count) {
    page_t* ring = page_create_va(sys.vm, &other_, 2 * count * pagesize(), count * pagesize(),
                                  PG_EXCL | PG_WAIT);
    for (uint64_t i = 0; i < count; ++i) {
      page_t* const pp = ring;
      page_sub(&ring, pp);
      page_io_unlock(sys.vm, pp);
      page_destroy(sys.vm, pp, 0);
    }
  }

  vnode_t other_{"other", 3, 0, nullptr};
  const std::array<page_t*, 2> last_ = {new_doomed_page(), new_doomed_page()};
};

// The same with memory that is only reserved.
class ReservationsOfTwoSizes : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "memory/reservations_of_one_and_two_pages_wait";
  static constexpr const char* kClaim = "nobody sleeps beside the memory that he waits for";

  ReservationsOfTwoSizes() : HatModel(with_cpus(two_levels(), 3)) {
    HAT_ASSERT(page_resv(sys.vm, all_, KmFlag::kNoSleep) != 0);
  }
  void thread(int index) {
    if (index != 0) {
      HAT_ASSERT(page_resv(sys.vm, index, KmFlag::kSleep) != 0);
      page_unresv(sys.vm, index);
    }
    if (index != 2) page_unresv(sys.vm, 1);
  }
  void check() override { page_unresv(sys.vm, all_ - 2); }

 private:
  const int64_t all_ = availrmem(sys.vm) - sys.vm.config.t_minarmem;
};

}  // namespace

std::vector<AnyScenario> wakeup_scenarios() {
  return scenario_list<TwoLoadsWaitForAnOwner, AllocationsOfTwoSizes, ReservationsOfTwoSizes,
                       TwoReadersWait<false>, TwoReadersWait<true>, TwoLookupsOfARenamedPage,
                       TwoWaitForATransfer>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
