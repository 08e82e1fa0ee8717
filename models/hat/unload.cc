// Unloading: by address, by page, and both of the same mapping.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Page `page`, which nobody but the scenario has, mapped at 0 of one hat, and for kListed also of
// another.
template <bool kListed>
class Mapped : public HatModel {
 protected:
  explicit Mapped(const SystemConfig& config = two_levels()) : HatModel(config) {
    load(one, 0, page);
    if (kListed) load(two, 0, page);
  }

  page_t* const page = new_page();
  hat_t* const one = new_hat();
  hat_t* const two = kListed ? new_hat() : nullptr;
};

template <bool kListed>
class PageunloadAgainstUnload : public Mapped<kListed> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = kListed ? "unload/pageunload_against_unload_of_a_listed_page"
                                               : "unload/pageunload_against_unload";
  static constexpr const char* kClaim = "one of the two takes the mapping and does the accounting";

  void thread(int index) {
    if (index == 0) {
      hat_pageunload(this->sys, this->page, HAT_FORCE_PGUNLOAD);
    } else {
      this->unload(this->one, 0);
    }
  }
  void check() override {
    HAT_ASSERT(this->records(this->page) == 0);
    HAT_ASSERT(this->find(this->one, 0) == nullptr);
  }
};

class TwoUnloads : public Mapped<false> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/two_unloads_of_one_address";
  static constexpr const char* kClaim = "the second finds nothing to do";

  void thread(int) { unload(one, 0); }
  void check() override { HAT_ASSERT(records(page) == 0 && find(one, 0) == nullptr); }
};

// Two pages in one table lose their last mappings in two ways at once.
class PageunloadAgainstUnloadNextDoor : public Mapped<false> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/pageunload_against_unload_next_door";
  static constexpr const char* kClaim = "the table goes once, when both mappings are gone";

  PageunloadAgainstUnloadNextDoor() { load(one, pagesize(), next_door_); }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page, HAT_FORCE_PGUNLOAD);
    } else {
      unload(one, pagesize());
    }
  }
  void check() override { HAT_ASSERT(find(one, 0) == nullptr); }

 private:
  page_t* const next_door_ = new_page();
};

class PageunloadAgainstLoadNextDoor : public Mapped<false> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/pageunload_against_load_next_door";
  static constexpr const char* kClaim = "the new mapping is in a table that is linked";

  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page, HAT_FORCE_PGUNLOAD);
    } else {
      load(one, pagesize(), next_door_);
    }
  }
  void check() override {
    HAT_ASSERT(!is_mapped(one, 0) && is_mapped(one, pagesize()));
    HAT_ASSERT(records(page) == 0 && records(next_door_) == 1);
  }

 private:
  page_t* const next_door_ = new_page();
};

// A mapping made without the page's lock, so that pageunload may be at it while the loader still
// counts.
class PageunloadAgainstUnlockedLoad : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/pageunload_against_a_load_without_page_lock";
  static constexpr const char* kClaim = "a mapping is counted before anybody can take it away";

  PageunloadAgainstUnlockedLoad() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
    } else {
      map(table_, 0, page_);
    }
  }
  void check() override { HAT_ASSERT(records(page_) == (is_mapped(hat_, 0) ? 1u : 0u)); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
  htable_t* const table_ = table(hat_, 0);
};

// The unloader has read the PTE of one page; when it has that page's mlist, another page is there.
class UnloadAgainstReplacement : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/unload_against_replacement_of_the_page";
  static constexpr const char* kClaim = "the page that is there at the end of the wait is unmapped";

  UnloadAgainstReplacement() : HatModel(two_levels()) { map(table_, 0, old_); }
  void thread(int index) {
    if (index == 0) {
      unmap(table_, 0);
    } else {
      hat_pageunload(sys, old_, HAT_FORCE_PGUNLOAD);
      map(table_, 0, new_);
    }
  }
  void check() override {
    HAT_ASSERT(records(old_) == 0);
    HAT_ASSERT(records(new_) == (is_mapped(hat_, 0) ? 1u : 0u));
  }

 private:
  page_t* const old_ = new_page();
  page_t* const new_ = new_page();
  hat_t* const hat_ = new_hat();
  htable_t* const table_ = table(hat_, 0);
};

// The page is mapped small in one hat all the time; its large mapping in another goes with the
// demotion.
class CountDuringDemotion : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/mapcnt_during_demotion";
  static constexpr const char* kClaim = "a page that is mapped all the time never counts 0";

  CountDuringDemotion() : HatModel(two_levels()) {
    load(small_, 0, large_ + 1);
    load_large(hat_, 0, large_);
  }
  void thread(int index) {
    if (index == 0) {
      hat_page_demote(sys, large_);
    } else {
      const uint32_t count = hment_mapcnt(sys, large_ + 1);
      HAT_ASSERT(count == 1 || count == 2);
    }
  }
  void check() override {
    HAT_ASSERT(large_->p_szc.load(std::memory_order_relaxed) == 0);
    HAT_ASSERT(records(large_) == 0 && records(large_ + 1) == 1);
    // Two small pages now: one for the base class, which knows the first, and one for us.
    hat_pageunload(sys, large_ + 1, HAT_FORCE_PGUNLOAD);
    page_destroy(sys.vm, large_ + 1, 0);
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
  hat_t* const small_ = new_hat();
};

// The page layer breaks up a large page that it holds one page of; the other one is free to be had.
class DemotionByThePageLayer : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/demotion_by_the_page_layer_against_a_sharer";
  static constexpr const char* kClaim = "it is refused, or no mapping of the large page is left";

  DemotionByThePageLayer() : HatModel(two_levels()) {
    load_large(hat_, 0, large_);
    page_unlock(sys.vm, large_ + 1);
  }
  void thread(int index) {
    if (index == 1) {
      if (page_trylock(sys.vm, large_ + 1, SE_SHARED) != 0) page_unlock(sys.vm, large_ + 1);
      return;
    }
    if (page_try_demote_pages(sys.vm, large_) == 0) return;
    HAT_ASSERT(large_->p_szc.load(std::memory_order_relaxed) == 0);
    HAT_ASSERT(!is_mapped(hat_, 0) && !is_mapped(hat_, pagesize()));
  }
  void check() override {
    HAT_ASSERT(page_trylock(sys.vm, large_ + 1, SE_EXCL) != 0);
    if (large_->p_szc.load(std::memory_order_relaxed) == 0) page_destroy(sys.vm, large_ + 1, 0);
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// Two loaders lock a range for which the large page does not fit, since a page table is there.
class LockedLoadMeetsTable : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/locked_large_load_meets_a_page_table";
  static constexpr const char* kClaim = "locks are counted where the mappings are, and come to 0";
  static constexpr Bounds kBounds = kBounded;

  LockedLoadMeetsTable() : HatModel(with_own_locks(two_levels())) {
    load(hat_, pagesize(), large_ + 1);
  }
  void thread(int) { load_large(hat_, 0, large_, HAT_LOAD_LOCK); }
  void check() override {
    HAT_ASSERT(lock_count(find(hat_, 0)) == 4);
    {
      ReaderGuard guard(hat_->hat_as()->a_lock);
      hat_unlock(sys, hat_, 0, 2 * pagesize());
    }
    unload(hat_, 0, 2, HAT_UNLOAD_UNLOCK);
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// One of them against a lookup: few enough executions to search them all.
class LockedLoadAgainstLookup : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/locked_large_load_against_a_lookup";
  static constexpr const char* kClaim = "locks are counted where the mapping is, in one place";

  LockedLoadAgainstLookup() : HatModel(two_levels()) { load(hat_, pagesize(), large_ + 1); }
  void thread(int index) {
    if (index == 0) {
      load_large(hat_, 0, large_, HAT_LOAD_LOCK);
    } else {
      const pfn_t found = hat_getpfnum(sys, hat_, 0);
      HAT_ASSERT(found == large_->p_pagenum || found == PFN_INVALID);
    }
  }
  void check() override {
    HAT_ASSERT(lock_count(find(hat_, 0)) == 2);
    unload(hat_, 0, 2, HAT_UNLOAD_UNLOCK);
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// Off-list entries of memory, which no mlist orders while they are made.
class OffList : public HatModel {
 protected:
  OffList() : HatModel(two_levels()) {}
  void load_off_list() { load(hat_, 0, page_, kReadWrite, HAT_LOAD_NOCONSIST); }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
  htable_t* const table_ = table(hat_, 0);
};

class TwoOffListLoads : public OffList {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/two_loads_of_one_off_list_mapping";
  static constexpr const char* kClaim = "one makes it, the other finds it; it is counted once";

  void thread(int) { load_off_list(); }
  void check() override {
    HAT_ASSERT(records(page_) == 0 && valid_count(find(hat_, 0)) == 1);
    unload(hat_, 0);
    HAT_ASSERT(!mlist_of(sys, page_).held() && find(hat_, 0) == nullptr);
  }
};

class OffListLoadAgainstUnload : public OffList {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/load_of_an_off_list_mapping_against_unload";
  static constexpr const char* kClaim = "whoever takes the mapping out finds it counted";

  void thread(int index) {
    if (index == 0) {
      load_off_list();
    } else {
      unload(hat_, 0);
    }
  }
  void check() override {
    htable_t* const ht = find(hat_, 0);
    HAT_ASSERT((ht == nullptr ? 0 : valid_count(ht)) == (is_mapped(hat_, 0) ? 1 : 0));
  }
};

// S11: who unloads a range may ask to be told what was there.
class RangesOfACallback : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/ranges_of_a_callback_against_pageunload";
  static constexpr const char* kClaim = "the callback names what was unloaded, and nothing else";

  RangesOfACallback() : HatModel(two_levels()) {
    load(hat_, 0, first_);
    load(hat_, pagesize(), second_);
  }
  void thread(int index) {
    if (index == 1) {
      hat_pageunload(sys, first_, HAT_FORCE_PGUNLOAD);
      return;
    }
    const auto told = [this](uintptr_t start, uintptr_t end) {
      HAT_ASSERT(start == told_up_to_ || start == pagesize(), "a range begins somewhere else");
      told_up_to_ = end;
    };
    const HatUnloadCallback callback = told;
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_unload_callback(sys, hat_, 0, 2 * pagesize(), HAT_UNLOAD, &callback);
  }
  void check() override {
    HAT_ASSERT(told_up_to_ == 2 * pagesize(),
               "the last range ends at " + std::to_string(told_up_to_));
  }

 private:
  page_t* const first_ = new_page();
  page_t* const second_ = new_page();
  hat_t* const hat_ = new_hat();
  uintptr_t told_up_to_ = 0;
};

// Who is swapped out keeps what is locked, and what shares a table with that.
class SwapoutAgainstLockingLoad : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/swapout_against_a_locking_load";
  static constexpr const char* kClaim = "no locked mapping goes, all in tables without locks do";
  static constexpr Bounds kBounds = kBounded;

  SwapoutAgainstLockingLoad() : HatModel(three_levels()) {
    load(hat_, 0, page_);
    load(hat_, locked(0), page_, kReadWrite, HAT_LOAD_LOCK);
  }
  void thread(int index) {
    if (index == 1) {
      load(hat_, locked(1), page_, kReadWrite, HAT_LOAD_LOCK);
      return;
    }
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_swapout(sys, hat_);
  }
  void check() override {
    HAT_ASSERT(!is_mapped(hat_, 0), "still there");
    for (uint64_t i = 0; i < 2; ++i) {
      HAT_ASSERT(is_mapped(hat_, locked(i)), "a locked mapping is gone");
      unload(hat_, locked(i), 1, HAT_UNLOAD_UNLOCK);
    }
  }

 private:
  // In another table than 0.
  uintptr_t locked(uint64_t index) const { return (2 + index) * pagesize(); }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Ranges are collected, eight at a time, before the caller is told.
class ManyRanges : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/more_ranges_than_are_collected";
  static constexpr const char* kClaim = "each range is told once, in order";

  ManyRanges() : HatModel(wide()) {
    for (uint64_t i = 0; i < kRanges; ++i) load(hat_, 2 * i * pagesize(), page_);
  }
  void thread(int) {
    uint64_t told = 0;
    const auto range = [&](uintptr_t start, uintptr_t end) {
      HAT_ASSERT(start == 2 * told * pagesize() && end == start + pagesize());
      ++told;
    };
    const HatUnloadCallback callback = range;
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_unload_callback(sys, hat_, 0, 2 * kRanges * pagesize(), HAT_UNLOAD, &callback);
    HAT_ASSERT(told == kRanges);
  }

 private:
  static constexpr uint64_t kRanges = 10;
  static SystemConfig wide() {
    SystemConfig config = two_levels();
    config.machine.mmu.bits_per_level = 5;
    return config;
  }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// One call for pages of two sizes, which are told in ranges.
class RangesOfTwoSizes : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/ranges_of_large_and_small_pages";
  static constexpr const char* kClaim = "what is told is what was mapped, to the end of it";

  RangesOfTwoSizes() : HatModel(three_levels()) {
    load_large(hat_, 0, large_);
    load(hat_, 2 * pagesize(), small_);
  }
  void thread(int) {
    uintptr_t told_up_to = 0;
    const auto range = [&told_up_to](uintptr_t start, uintptr_t end) {
      HAT_ASSERT(start == told_up_to, "a range begins somewhere else");
      told_up_to = end;
    };
    const HatUnloadCallback callback = range;
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_unload_callback(sys, hat_, 0, 4 * pagesize(), HAT_UNLOAD, &callback);
    HAT_ASSERT(told_up_to == 3 * pagesize(), "the last range ends somewhere else");
  }

 private:
  page_t* const large_ = new_large_page();
  page_t* const small_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A range with nothing in it, in a table that has something behind it; and one small page, which is
// part of a large one.
class NothingToUnload : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/nothing_in_the_range";
  static constexpr const char* kClaim = "nothing goes, and nothing is told";

  NothingToUnload() : HatModel(three_levels()) {
    load(hat_, pagesize(), small_);
    load_large(hat_, 2 * pagesize(), large_);
  }
  void thread(int) {
    const auto range = [](uintptr_t, uintptr_t) { HAT_ASSERT(false, "a range was told"); };
    const HatUnloadCallback callback = range;
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_unload_callback(sys, hat_, 0, pagesize(), HAT_UNLOAD, &callback);
    hat_unload(sys, hat_, 2 * pagesize(), pagesize(), HAT_UNLOAD);
    HAT_ASSERT(is_mapped(hat_, pagesize()) && is_mapped(hat_, 2 * pagesize()));
  }

 private:
  page_t* const small_ = new_page();
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// Half of a large page cannot be unloaded.
class RangeInsideALargePage : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/range_that_begins_inside_a_large_page";
  static constexpr const char* kClaim = "the system ends with a message, not with a page too few";
  static constexpr Expectation kExpected = Expectation::violated(Kind::kPanic);

  RangeInsideALargePage() : HatModel(three_levels()) { load_large(hat_, 0, large_); }
  void thread(int) {
    unload(hat_, pagesize(), 2);
    HAT_ASSERT(false, "all of it is gone, or nothing");
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// Of a large page only the first is mapped, small.
class CountBesideASmallMapping : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/mapcnt_beside_a_small_mapping_of_the_first_page";
  static constexpr const char* kClaim = "a page counts its own mappings and those of its group";

  CountBesideASmallMapping() : HatModel(two_levels()) {
    load(small_, 0, large_);
    load_large(hat_, 0, large_);
  }
  void thread(int) {
    expect(2, 1);
    unload(hat_, 0, 2);
    expect(1, 0);
  }

 private:
  void expect(uint32_t first, uint32_t second) {
    HAT_ASSERT(hat_page_getshare(sys, large_) == first);
    HAT_ASSERT(hat_page_getshare(sys, large_ + 1) == second);
    HAT_ASSERT(hat_page_is_mapped(sys, large_ + 1) == (second != 0));
  }

  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
  hat_t* const small_ = new_hat();
};

// Who is swapped out keeps what others have lent it, and no empty tables.
class SwapoutOfASharer : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/swapout_of_a_sharer_against_its_source";
  static constexpr const char* kClaim = "its own pages and empty tables go, what it shares stays";
  static constexpr Bounds kBounds = kBounded;

  SwapoutOfASharer() : HatModel(three_levels()) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_);
    load(sharer_, own(), page_);
  }
  void thread(int index) {
    if (index == 1) {
      load(source_, pagesize(), page_, kReadWrite, HAT_LOAD_SHARE);
      return;
    }
    ReaderGuard guard(sharer_->hat_as()->a_lock);
    hat_swapout(sys, sharer_);
  }
  void check() override {
    HAT_ASSERT(is_mapped(sharer_, 0) && is_mapped(sharer_, pagesize()));
    HAT_ASSERT(!is_mapped(sharer_, own()), "its own page is still there");
    HAT_ASSERT(sharer_->hat_ht_cached.load(std::memory_order_relaxed) == nullptr,
               "an empty table is still there");
    unshare(sharer_);
  }

 private:
  // In another table than what is shared.
  uintptr_t own() const { return 2 * pagesize(); }

  page_t* const page_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> unload_scenarios() {
  return scenario_list<PageunloadAgainstUnload<false>, PageunloadAgainstUnload<true>, TwoUnloads,
                       PageunloadAgainstUnloadNextDoor, PageunloadAgainstLoadNextDoor,
                       PageunloadAgainstUnlockedLoad, UnloadAgainstReplacement, CountDuringDemotion,
                       LockedLoadMeetsTable, LockedLoadAgainstLookup, TwoOffListLoads,
                       OffListLoadAgainstUnload, RangesOfACallback, SwapoutAgainstLockingLoad,
                       ManyRanges, DemotionByThePageLayer, RangesOfTwoSizes, NothingToUnload,
                       RangeInsideALargePage, CountBesideASmallMapping, SwapoutOfASharer>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
