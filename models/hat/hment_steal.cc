// Where hments come from when kmem has none: the reserve, and the mappings of other pages.
#include "hat/hment_reserve.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// `victim` is mapped in two address spaces, in tables that nobody holds.
class Victims : public HatModel {
 protected:
  explicit Victims(const SystemConfig& config = two_levels()) : HatModel(config) {
    load(one, 0, victim);
    load(two, 0, victim);
  }

  void steal_hment() {
    hment_t* const hm = hment_steal(sys);
    if (hm != nullptr) hment_free(sys, hm);
  }

  page_t* const victim = new_page();
  hat_t* const one = new_hat();
  hat_t* const two = new_hat();
};

class StealAgainstUnload : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_unload";
  static constexpr const char* kClaim = "the mapping that is stolen is accounted for once";

  void thread(int index) {
    if (index == 0) {
      steal_hment();
    } else {
      unload(one, 0);
    }
  }
  void check() override {
    HAT_ASSERT(!is_mapped(one, 0));
    HAT_ASSERT(records(victim) == (is_mapped(two, 0) ? 1u : 0u));
  }
};

// The mapping becomes locked while the thief is on its way to it.
class StealAgainstLocking : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_locking_of_a_mapping";
  static constexpr const char* kClaim = "a mapping that its owner has locked is not stolen";

  void thread(int index) {
    if (index == 0) {
      // The other mapping, and then this one, if it may.
      steal_hment();
      steal_hment();
    } else {
      load(one, 0, victim, kReadWrite, HAT_LOAD_LOCK);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(one, 0), "a locked mapping was stolen");
    unload(one, 0, 1, HAT_UNLOAD_UNLOCK);
  }
};

class StealAgainstPageunload : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_pageunload";
  static constexpr const char* kClaim = "both mappings are gone, each accounted for once";

  void thread(int index) {
    if (index == 0) {
      steal_hment();
    } else {
      hat_pageunload(sys, victim, HAT_FORCE_PGUNLOAD);
    }
  }
  void check() override {
    HAT_ASSERT(records(victim) == 0);
    HAT_ASSERT(find(one, 0) == nullptr && find(two, 0) == nullptr);
  }
};

class StealAgainstTableThief : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_a_thief_of_the_table";
  static constexpr const char* kClaim = "mapping and table are taken from the owner once each";
  static constexpr Bounds kBounds = kBounded;

  StealAgainstTableThief() : Victims(with_own_locks(two_levels())) {}
  void thread(int index) {
    if (index == 0) {
      steal_hment();
    } else {
      stolen_ = htable_steal(sys, 1);
    }
  }
  void check() override { free_stolen(stolen_()); }

 private:
  Guarded<htable_t*> stolen_;
};

class StealAgainstNewMapping : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_one_more_mapping_of_the_page";
  static constexpr const char* kClaim = "the list stays whole while it shrinks and grows";

  void thread(int index) {
    if (index == 0) {
      steal_hment();
    } else {
      load(two, pagesize(), victim);
    }
  }
};

class TwoThieves : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/two_thieves";
  static constexpr const char* kClaim = "they take different mappings";

  void thread(int) { steal_hment(); }
  void check() override {
    HAT_ASSERT(records(victim) == (is_mapped(one, 0) ? 1u : 0u) + (is_mapped(two, 0) ? 1u : 0u));
  }
};

// A table that serves other address spaces as well is left alone: what a thief unmaps there is
// missed by all of them.
class SharedHatIsSpared : public Victims {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/shared_hats_are_spared";
  static constexpr const char* kClaim = "no mapping of a shared address space is stolen";

  SharedHatIsSpared() {
    load(one, pagesize(), other_, kReadWrite, HAT_LOAD_SHARE);
    load(two, pagesize(), other_, kReadWrite, HAT_LOAD_SHARE);
  }
  void thread(int) { steal_hment(); }
  void check() override { HAT_ASSERT(records(victim) == 2, "stolen from a shared hat"); }

 private:
  page_t* const other_ = new_page();
};

// The kernel does not fault its mappings in again. The lowest of three tables is in nobody's hands.
class KernelIsSpared : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/kernel_mappings_are_spared";
  static constexpr const char* kClaim = "of a page that the kernel maps too, users' mappings go";

  KernelIsSpared() : HatModel(three_levels()) {
    hat_memload(sys, sys.kas_hat(), sys.kernelbase, page_, PROT_READ_ATTR, HAT_LOAD);
    load(hat_, 0, page_);
  }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(sys.machine.access(1, sys.kernelbase, AccessKind::kRead, Privilege::kKernel).ok);
      return;
    }
    // The second finds nothing that it may take.
    for (int i = 0; i < 2; ++i) {
      hment_t* const hm = hment_steal(sys);
      if (hm != nullptr) hment_free(sys, hm);
    }
  }
  void check() override {
    HAT_ASSERT(hat_probe(sys, sys.kas_hat(), sys.kernelbase), "stolen from the kernel");
    HAT_ASSERT(!is_mapped(hat_, 0));
    hat_unload(sys, sys.kas_hat(), sys.kernelbase, pagesize(), HAT_UNLOAD);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// The unlocked peeks of the thief, at a page that is being promoted and demoted.
class PeekAtAChangingPage : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/steal_against_promotion";
  static constexpr const char* kClaim = "a page that only looked listed is looked at again";

  PeekAtAChangingPage() : HatModel(two_levels()) { load(one_, 0, page_); }
  void thread(int index) {
    if (index == 1) {
      load(two_, 0, page_);
      return;
    }
    hment_t* const hm = hment_steal(sys);
    if (hm != nullptr) hment_free(sys, hm);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const one_ = new_hat();
  hat_t* const two_ = new_hat();
};

// --- allocation

// `page` has an embedded mapping, so that a further one costs two hments. What derives from this
// calls exhaust_kmem() when it has made its tables.
class Poor : public HatModel {
 protected:
  explicit Poor(uint32_t reserve) : HatModel(with_reserve(reserve)) { map(mine, 0, page); }
  static SystemConfig with_reserve(uint32_t reserve) {
    SystemConfig config = two_levels();
    config.hment_reserve_amount = reserve;
    config.machine.nframes = 18;
    return config;
  }

  page_t* const page = new_page();
  htable_t* const mine = table(new_hat(), 0);
  htable_t* const other = table(new_hat(), 0);
};

class PromotionFromReserve : public Poor {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/two_promotions_live_on_the_reserve";
  static constexpr const char* kClaim = "three hments do for three mappings, and none is lost";

  PromotionFromReserve() : Poor(3) { exhaust_kmem(); }
  void thread(int index) {
    if (index == 0) {
      map(other, 0, page);
    } else {
      map(mine, 1, page);
    }
  }
  void check() override {
    HAT_ASSERT(records(page) == 3);
    HAT_ASSERT(sys.hment_reserve.count.load(std::memory_order_relaxed) == 0);
  }
};

// The reserve is empty, so the promoter takes the mappings of another page, while their owner
// unmaps one.
class PromotionSteals : public Poor {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/promotion_without_memory_against_unload";
  static constexpr const char* kClaim = "the promoter gets its hments or waits for the owner's";

  PromotionSteals() : Poor(0) {
    for (uint64_t i = 0; i < 2; ++i) {
      load(one_, i * pagesize(), victim_);
      load(two_, i * pagesize(), victim_);
    }
    exhaust_kmem();
  }
  void thread(int index) {
    if (index == 0) {
      map(other, 0, page);
    } else {
      unload(one_, 0);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 2 && !is_mapped(one_, 0)); }

 private:
  page_t* const victim_ = new_page();
  hat_t* const one_ = new_hat();
  hat_t* const two_ = new_hat();
};

// All victims are in one table, and the thread that takes the first holds it: the other has to wait
// for it, not to give up.
class TwoPromotionsSteal : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/two_allocations_and_one_table_of_victims";
  static constexpr const char* kClaim = "who finds all victims held waits until they are not";

  TwoPromotionsSteal() : HatModel(two_levels()) {
    load(one_, 0, victim_);
    load(one_, pagesize(), victim_);
    exhaust_kmem();
  }
  void thread(int) {
    hment_t* const hm = hment_alloc(sys);
    kmem_free_hment(sys, hm);
  }
  void check() override { HAT_ASSERT(records(victim_) == 0); }

 private:
  page_t* const victim_ = new_page();
  hat_t* const one_ = new_hat();
};

// Nothing in kmem, nothing in the reserve, nobody to take from.
class Exhausted : public Poor {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "hment_steal/allocation_with_everything_exhausted";
  static constexpr const char* kClaim = "the system ends with a message, not with a hang";
  static constexpr Expectation kExpected = Expectation::violated(Kind::kPanic);

  Exhausted() : Poor(0) { exhaust_kmem(); }
  void thread(int) { map(other, 0, page); }
};

// kmem fails now and then, at any call: all ways through hment_alloc.
class AllocationMayFail : public Poor {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/promotion_while_allocations_may_fail";
  static constexpr const char* kClaim = "kmem or reserve, every mapping gets its record";
  static constexpr Bounds kBounds = kBounded;

  AllocationMayFail() : Poor(3) {
    sys.alloc_faults.per_million.store(500'000, std::memory_order_relaxed);
  }
  void thread(int index) {
    if (index == 0) {
      map(other, 0, page);
    } else {
      map(mine, 1, page);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 3); }
};

// Both ways through the reserve at once; the count is read without the lock.
class ReservePutAndGet : public Poor {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment_steal/reserve_put_against_get";
  static constexpr const char* kClaim = "the count is the length of the list, whatever the order";

  ReservePutAndGet() : Poor(2) {}
  void thread(int) {
    hment_t* const hm = hment_get_reserve(sys);
    HAT_ASSERT(hm != nullptr);
    hment_put_reserve(sys, hm);
  }
  void check() override {
    HAT_ASSERT(sys.hment_reserve.count.load(std::memory_order_relaxed) == 2);
  }
};

}  // namespace

std::vector<AnyScenario> hment_steal_scenarios() {
  return scenario_list<StealAgainstUnload, StealAgainstLocking, StealAgainstPageunload,
                       StealAgainstTableThief, StealAgainstNewMapping, TwoThieves,
                       SharedHatIsSpared, PeekAtAChangingPage, PromotionFromReserve,
                       PromotionSteals, TwoPromotionsSteal, Exhausted, AllocationMayFail,
                       ReservePutAndGet, KernelIsSpared>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
