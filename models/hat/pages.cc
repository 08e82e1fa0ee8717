// The page layer by itself: locks of pages, their names, large pages, and what is left of a call
// that fails.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"
#include "vm/page_cache.h"
#include "vm/page_list.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

int32_t selock(const page_t* pp) { return pp->p_selock.load(std::memory_order_relaxed); }

// A writer who has waited asks for priority: readers that come later wait for it.
class StarvingWriter : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "pages/a_starving_writer_against_readers";
  static constexpr const char* kClaim =
      "no reader comes before the writer, and all have their turn";

  StarvingWriter() : HatModel(with_cpus(two_levels(), 3)) { page_downgrade(sys.vm, page_); }
  void thread(int index) {
    Vm& vm = sys.vm;
    if (index == 0) {
      if ((selock(page_) & SE_EWANTED) != 0) {
        HAT_ASSERT(page_trylock(vm, page_, SE_SHARED) == 0, "a reader has overtaken the writer");
        HAT_ASSERT(page_tryupgrade(vm, page_) == 0, "a reader became the writer beside another");
      }
    } else if (index == 1) {
      while (page_lock(vm, page_, SE_EXCL, nullptr, P_NO_RECLAIM, SE_EXCL_WANTED) == 0) {
      }
      HAT_ASSERT(selock(page_) == SE_WRITER);
    } else {
      while (page_lock(vm, page_, SE_SHARED, nullptr, P_NO_RECLAIM) == 0) {
      }
      HAT_ASSERT(PAGE_SHARED(page_));
    }
    page_unlock(vm, page_);
  }
  void check() override {
    HAT_ASSERT(selock(page_) == 0);
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0);
  }

 private:
  page_t* const page_ = new_page();
};

// A frame with errors is taken out of use while somebody waits for its page.
class RetiredPage : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/a_page_retired_against_who_waits_for_it";
  static constexpr const char* kClaim = "nobody gets a retired page, and nobody waits for it";

  RetiredPage() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      page_hashout(sys.vm, page_);
      page_lock_delete(sys.vm, page_);
      return;
    }
    for (const se_t se : {SE_EXCL, SE_SHARED}) {
      HAT_ASSERT(page_lock(sys.vm, page_, se, nullptr, P_NO_RECLAIM) == 0);
      HAT_ASSERT(page_trylock(sys.vm, page_, se) == 0);
    }
  }

 private:
  page_t* const page_ = new_doomed_page();
};

// A freed page that has kept its name: one takes it back, the other only if that is for nothing.
class LookupsOfAFreePage : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/two_lookups_of_a_free_page";
  static constexpr const char* kClaim = "who waits gets it back, who does not leaves it";

  LookupsOfAFreePage() : HatModel(two_levels()) { page_free(sys.vm, page_, 0); }
  void thread(int index) {
    page_t* const pp = index == 0 ? page_lookup(sys.vm, &file, 0, SE_SHARED)
                                  : page_lookup_nowait(sys.vm, &file, 0, SE_SHARED);
    HAT_ASSERT(pp == page_ || (index == 1 && pp == nullptr));
    if (pp == nullptr) return;
    HAT_ASSERT(!PP_ISFREE(pp) && PAGE_SHARED(pp));
    page_unlock(sys.vm, pp);
  }
  void check() override { HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0); }

 private:
  page_t* const page_ = new_page();
};

// Both change the list of free pages with names.
class PageTakenBack : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/a_page_taken_back_against_a_free";
  static constexpr const char* kClaim = "one page is on the list then, the other in use";

  PageTakenBack() : HatModel(two_levels()) { page_free(sys.vm, page_, 0); }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(page_lookup(sys.vm, &file, 0, SE_EXCL) == page_);
    } else {
      page_free(sys.vm, other_, 0);
    }
  }
  void check() override {
    HAT_ASSERT(PAGE_EXCL(page_) && PP_ISFREE(other_));
    HAT_ASSERT(page_lookup(sys.vm, &file, pagesize(), SE_EXCL) == other_);
  }

 private:
  page_t* const page_ = new_page();
  page_t* const other_ = new_page();
};

// A page comes and goes while somebody walks the pages of its vnode.
class WalkAgainstCreation : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/a_walk_of_a_vnode_against_a_new_page";
  static constexpr const char* kClaim = "the walk ends, and the vnode has the pages it had";

  WalkAgainstCreation() : HatModel(two_levels()) { page_unlock(sys.vm, page_); }
  void thread(int index) {
    if (index == 1) {
      pvn_vplist_dirty(sys.vm, &file, 0, B_ASYNC);
      return;
    }
    page_destroy(sys.vm, create_page(sys.vm, &file, pagesize()), 0);
  }
  void check() override {
    HAT_ASSERT(file.v_pages.load(std::memory_order_relaxed) == page_);
    HAT_ASSERT(page_->p_vpnext() == page_);
    // The walk may have freed it, with its name.
    HAT_ASSERT(page_lookup(sys.vm, &file, 0, SE_EXCL) == page_);
  }

 private:
  page_t* const page_ = new_page();
};

// A page takes the place of another one, for which somebody waits.
class RenameOverAPage : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/rename_over_a_page_against_a_lookup";
  static constexpr const char* kClaim = "the old page goes, the new one is as modified as it was";
  static constexpr Bounds kBounds{.iterations = 100};

  RenameOverAPage() : HatModel(two_levels()) {
    hat_setmod(sys, page_);
    page_unlock(sys.vm, old_);
  }
  void thread(int index) {
    if (index == 0) {
      page_rename(sys.vm, page_, &sorted_file, offset());
      page_unlock(sys.vm, page_);
      return;
    }
    page_t* const pp = page_lookup(sys.vm, &sorted_file, offset(), SE_SHARED);
    if (pp == nullptr) return;
    HAT_ASSERT(!PP_ISFREE(pp) && pp->p_vnode.load(std::memory_order_relaxed) == &sorted_file);
    HAT_ASSERT(hat_ismod(pp) == (pp == page_));
    page_unlock(sys.vm, pp);
  }
  void check() override {
    HAT_ASSERT(hat_ismod(page_) && PP_ISFREE(old_));
    HAT_ASSERT(page_exists(sys.vm, &sorted_file, offset()) == page_);
    // Modified pages are the last.
    HAT_ASSERT(sorted_file.v_pages.load(std::memory_order_relaxed) == clean_);
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0);
  }

 private:
  page_t* const page_ = new_page();
  page_t* const old_ = create_page(sys.vm, &sorted_file, offset());
  page_t* const clean_ = new_page(&sorted_file);

  // Behind those of the base class.
  uint64_t offset() const { return 8 * pagesize(); }
};

// Who looks for modified pages of such a vnode finds them together.
class OrderOfASortedVnode : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/two_pages_of_a_sorted_vnode_modified";
  static constexpr const char* kClaim = "modified pages are behind those that are not";

  OrderOfASortedVnode() : HatModel(two_levels()) {}
  // The first of the ring, and the one in the middle.
  void thread(int index) { hat_setmod(sys, index == 0 ? third_ : second_); }
  void check() override {
    page_t* const head = sorted_file.v_pages.load(std::memory_order_relaxed);
    HAT_ASSERT(head == first_ && hat_ismod(second_) && hat_ismod(third_));
    HAT_ASSERT(head->p_vpnext() == second_ || head->p_vpnext() == third_);
  }

 private:
  // New ones come first.
  page_t* const first_ = new_page(&sorted_file);
  page_t* const second_ = new_page(&sorted_file);
  page_t* const third_ = new_page(&sorted_file);
};

// Two free pages could be one large page, and somebody takes one of them; there is another one that
// would do for him.
class LargePageAgainstSmall : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/a_large_page_against_a_small_one_of_it";
  static constexpr const char* kClaim = "an allocation that comes too late leaves no trace";

  LargePageAgainstSmall() : HatModel(two_levels()) {
    page_t* const large = page_alloc_large(sys.vm, nullptr, 0, 1);
    page_t* const small = new_doomed_page();
    exhaust_frames();
    new_page();
    page_destroy(sys.vm, small, 0);
    page_free_pages(sys.vm, large);
  }
  void thread(int index) {
    if (index == 0) {
      large_ = page_alloc_large(sys.vm, nullptr, 0, 1);
      return;
    }
    small_ = create_page(sys.vm, &other_, 0);
    HAT_ASSERT(small_() != nullptr, "there are three");
    page_unlock(sys.vm, small_());
  }
  void check() override {
    HAT_ASSERT(freemem(sys.vm) == (large_() != nullptr ? 0 : 2));
    HAT_ASSERT(page_trylock(sys.vm, small_(), SE_EXCL) != 0, "locked by who did not get it");
    page_destroy(sys.vm, small_(), 0);
    if (large_() != nullptr) page_free_pages(sys.vm, large_());
  }

 private:
  vnode_t other_{"other", 3, 0, nullptr};
  Guarded<page_t*> large_{nullptr};
  Guarded<page_t*> small_{nullptr};
};

// A large page is to have a name of which a small one has a part. Meanwhile somebody looks for the
// other part.
class LargePageOfATakenName : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/a_large_page_whose_name_is_taken_against_a_lookup";
  static constexpr const char* kClaim =
      "nobody gets a page of it, and all its frames are free again";

  LargePageOfATakenName() : HatModel(two_levels()) {
    page_unlock(sys.vm, create_page(sys.vm, &other_, pagesize()));
    free_before_ = freemem(sys.vm);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(page_alloc_large(sys.vm, &other_, 0, 1) == nullptr);
    } else {
      HAT_ASSERT(page_lookup(sys.vm, &other_, 0, SE_SHARED) == nullptr);
    }
  }
  void check() override {
    HAT_ASSERT(freemem(sys.vm) == free_before_);
    page_destroy(sys.vm, page_lookup(sys.vm, &other_, pagesize(), SE_EXCL), 0);
  }

 private:
  vnode_t other_{"other", 3, 0, nullptr};
  int64_t free_before_ = 0;
};

// Of four pages the demoter has one, and somebody else wants the last.
class DemotionOfFour : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/demotion_of_four_pages_against_a_holder_of_one";
  static constexpr const char* kClaim = "refused or done, it keeps none of the others";

  DemotionOfFour() : HatModel(four_entries()) {
    load(hat_, 0, large_ + 2);
    for (int i = 0; i < 4; ++i) {
      if (i != 1) page_unlock(sys.vm, large_ + i);
    }
  }
  void thread(int index) {
    if (index == 0) {
      const bool done = page_try_demote_pages(sys.vm, large_ + 1) != 0;
      HAT_ASSERT((large_->p_szc.load(std::memory_order_relaxed) == 0) == done);
      HAT_ASSERT(is_mapped(hat_, 0) == !done, "a small mapping");
    } else if (page_trylock(sys.vm, large_ + 3, SE_SHARED) != 0) {
      page_unlock(sys.vm, large_ + 3);
    }
  }
  void check() override {
    for (int i = 0; i < 4; ++i) {
      HAT_ASSERT(i == 1 || page_trylock(sys.vm, large_ + i, SE_EXCL) != 0, "kept");
    }
    if (large_->p_szc.load(std::memory_order_relaxed) != 0) return;
    // The base class knows the first only.
    for (int i = 1; i < 4; ++i) page_destroy(sys.vm, large_ + i, 0);
  }

 private:
  static SystemConfig four_entries() {
    SystemConfig config = two_levels();
    config.machine.mmu.bits_per_level = 2;
    config.machine.nframes = 24;
    return config;
  }

  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// The last pages of memory, of which some are for those who free memory; they have a name still.
class LastLargePage : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/the_last_large_page_of_memory";
  static constexpr const char* kClaim = "who frees memory gets it, under its new name alone";

  LastLargePage() : HatModel(with_threshold()) {
    page_t* const large = page_alloc_large(sys.vm, &other_, 0, 1);
    const NoMemWait frees(sys.vm);
    exhaust_frames(0);
    page_free_pages(sys.vm, large);
  }
  void thread(int) {
    HAT_ASSERT(page_alloc_large(sys.vm, &other_, at_, 1) == nullptr, "below the threshold");
    const NoMemWait frees(sys.vm);
    page_t* const large = page_alloc_large(sys.vm, &other_, at_, 1);
    HAT_ASSERT(large != nullptr, "who frees memory gets none");
    for (uint64_t i = 0; i < 2; ++i) {
      HAT_ASSERT(page_exists(sys.vm, &other_, i * pagesize()) == nullptr, "it has its old name");
      HAT_ASSERT(page_exists(sys.vm, &other_, at_ + i * pagesize()) == large + i);
    }
    page_destroy_pages(sys.vm, large);
  }

 private:
  static SystemConfig with_threshold() {
    SystemConfig config = two_levels();
    config.vm.pageout_reserve = 1;
    return config;
  }
  const uint64_t at_ = 2 * pagesize();

  vnode_t other_{"other", 3, 0, nullptr};
};

// Free pages are kept in lists, of which each CPU has one that it looks at first.
class PagesOfOtherLists : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/free_pages_of_other_lists";
  static constexpr const char* kClaim = "as long as there is a page somebody gets it";

  PagesOfOtherLists() : HatModel(with_lists()) {}
  void thread(int) {
    // Some that never had a name, and then all of them from under an old one.
    const int64_t count = freemem(sys.vm);
    for (uint64_t use = 0; use < 2; ++use) {
      std::vector<page_t*> taken;
      for (int64_t i = 0; i < count; ++i) {
        taken.push_back(create_page(sys.vm, &other_, (use * 100 + i) * pagesize()));
        HAT_ASSERT(taken.back() != nullptr);
      }
      HAT_ASSERT(freemem(sys.vm) == 0);
      for (page_t* const pp : taken) page_free(sys.vm, pp, 0);
    }
    while (page_t* const pp = page_exists(sys.vm, &other_, (100 + freed_) * pagesize())) {
      HAT_ASSERT(page_lookup(sys.vm, &other_, (100 + freed_++) * pagesize(), SE_EXCL) == pp);
      page_destroy(sys.vm, pp, 0);
    }
    HAT_ASSERT(static_cast<int64_t>(freed_) == count,
               "a page has lost its name, or kept the first");
  }

 private:
  static SystemConfig with_lists() {
    SystemConfig config = two_levels();
    config.vm.free_lists = 2;
    return config;
  }

  vnode_t other_{"other", 3, 0, nullptr};
  uint64_t freed_ = 0;
};

// Who is content with what is there gets it as it is, even if nobody needed it any more.
class CreationOfWhatIsThere : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/creation_of_a_page_that_is_there_against_a_lookup";
  static constexpr const char* kClaim = "the page is taken back with its contents, once";

  CreationOfWhatIsThere() : HatModel(two_levels()) {
    word().store(5, std::memory_order_relaxed);
    page_free(sys.vm, page_, 0);
  }
  void thread(int index) {
    if (index == 1) {
      page_t* const pp = page_lookup(sys.vm, &file, 0, SE_SHARED);
      HAT_ASSERT(pp == page_ && !PP_ISFREE(pp));
      page_unlock(sys.vm, pp);
      return;
    }
    page_t* ring = page_create_va(sys.vm, &file, 0, pagesize(), PG_WAIT);
    HAT_ASSERT(ring == page_ && PAGE_EXCL(page_) && page_iolocked(page_) && !PP_ISFREE(page_));
    HAT_ASSERT(word().load(std::memory_order_relaxed) == 5);
    page_sub(&ring, page_);
    page_io_unlock(sys.vm, page_);
    page_unlock(sys.vm, page_);
  }
  void check() override { HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0); }

 private:
  Atomic<uint64_t>& word() { return sys.machine.mem().word(page_->p_pagenum, 0); }

  page_t* const page_ = new_page();
};

// The other holder maps the page for the first time, and lets go of it.
class ReleaseWhileAnotherMaps : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/release_against_the_first_mapping";
  static constexpr const char* kClaim = "a page that was mapped meanwhile is not freed";

  ReleaseWhileAnotherMaps() : HatModel(two_levels()) {
    page_downgrade(sys.vm, page_);
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_SHARED) != 0);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(page_release(sys.vm, page_, 1) == PGREL_NOTREL);
    } else {
      load(hat_, 0, page_);
      page_unlock(sys.vm, page_);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(hat_, 0) && page_trylock(sys.vm, page_, SE_EXCL) != 0);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Names that are taken: what was promised and not used is given back.
class CreationOfTakenNames : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/creation_of_pages_that_are_there";
  static constexpr const char* kClaim = "as much memory is free as before";

  CreationOfTakenNames() : HatModel(two_levels()) { page_unlock(sys.vm, page_); }
  void thread(int) {
    const uint64_t off = page_->p_offset.load(std::memory_order_relaxed);
    const int64_t before = freemem(sys.vm);
    HAT_ASSERT(page_create_va(sys.vm, &file, off, pagesize(), PG_EXCL) == nullptr);
    HAT_ASSERT(freemem(sys.vm) == before, "the frame is lost");
    HAT_ASSERT(page_create_va(sys.vm, &file, off, 2 * pagesize(), PG_EXCL) == nullptr);
    HAT_ASSERT(freemem(sys.vm) == before, "the second page's promise is lost");
    HAT_ASSERT(create_page(sys.vm, &file, off, PG_WAIT) == page_);
    HAT_ASSERT(freemem(sys.vm) == before, "the frame is lost");
  }

 private:
  page_t* const page_ = new_page();
};

// A free page that is found, while all that is free is promised to others.
class ReclaimOfWhatIsPromised : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pages/lookup_of_a_promised_page_against_its_return";
  static constexpr const char* kClaim = "the page is had when the promise is given back";

  ReclaimOfWhatIsPromised() : HatModel(two_levels()) {
    exhaust_frames(0);
    page_free(sys.vm, page_, 0);
    HAT_ASSERT(page_promise(sys.vm, 1, 0));
  }
  void thread(int index) {
    if (index == 1) {
      page_unpromise(sys.vm, 1);
    } else {
      HAT_ASSERT(page_lookup(sys.vm, &file, offset_, SE_EXCL) == page_);
    }
  }
  void check() override { page_destroy(sys.vm, page_, 0); }

 private:
  page_t* const page_ = new_doomed_page();
  const uint64_t offset_ = page_->p_offset.load(std::memory_order_relaxed);
};

// What the caller of a release or a destruction asks for, and of what.
class ReleaseAsAsked : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/release_and_destruction_as_asked";
  static constexpr const char* kClaim = "a part of a large page stays, a modified page may go";

  ReleaseAsAsked() : HatModel(two_levels()) {}
  void thread(int) {
    HAT_ASSERT(page_release(sys.vm, large_, 1) == PGREL_NOTREL, "a part of a large page");
    HAT_ASSERT(page_trylock(sys.vm, large_, SE_EXCL) != 0);
    hat_setmod(sys, modified_);
    HAT_ASSERT(page_release(sys.vm, modified_, 0) == PGREL_CLEAN, "nobody asked");
    page_destroy(sys.vm, kept_, 1);
    HAT_ASSERT(PAGE_EXCL(kept_) && !PP_ISFREE(kept_), "it was to be kept");
    page_free(sys.vm, kept_, 1);
  }

 private:
  page_t* const large_ = new_large_page();
  page_t* const modified_ = new_doomed_page();
  page_t* const kept_ = new_doomed_page();
};

// Of pages that somebody may still need only the lock is given up.
class ReleaseOfWhatIsNeeded : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "pages/release_of_pages_that_are_needed";
  static constexpr const char* kClaim = "only a page that nobody needs is freed";

  ReleaseOfWhatIsNeeded() : HatModel(two_levels()) {
    page_unlock(sys.vm, page_);
    map_page();
  }
  void thread(int) {
    expect(PGREL_NOTREL);  // mapped
    unload(hat_, 0);
    page_->p_lckcnt = 1;
    expect(PGREL_NOTREL);
    page_->p_lckcnt = 0;
    page_->p_cowcnt = 1;
    expect(PGREL_NOTREL);
    page_->p_cowcnt = 0;
    page_->p_state.store(P_SWAP, std::memory_order_relaxed);
    expect(PGREL_NOTREL);
    page_->p_state.store(0, std::memory_order_relaxed);
    hat_setmod(sys, page_);
    expect(PGREL_MOD);
    page_->p_nrm.store(P_REF, std::memory_order_relaxed);
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_SHARED) != 0);
    expect(PGREL_NOTREL);  // shared with another holder
    page_unlock(sys.vm, page_);
    expect(PGREL_CLEAN);
    HAT_ASSERT(PP_ISFREE(page_) && page_lookup(sys.vm, &file, 0, SE_EXCL) == page_);
  }

 private:
  void map_page() {
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_SHARED) != 0);
    load(hat_, 0, page_);
    page_unlock(sys.vm, page_);
  }
  void expect(int answer) {
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_SHARED) != 0);
    HAT_ASSERT(page_release(sys.vm, page_, 1) == answer);
  }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> page_scenarios() {
  return scenario_list<StarvingWriter, RetiredPage, LookupsOfAFreePage, PageTakenBack,
                       WalkAgainstCreation, RenameOverAPage, OrderOfASortedVnode,
                       LargePageAgainstSmall, LargePageOfATakenName, DemotionOfFour, LastLargePage,
                       PagesOfOtherLists, CreationOfWhatIsThere, ReleaseWhileAnotherMaps,
                       ReleaseAsAsked, CreationOfTakenNames, ReclaimOfWhatIsPromised,
                       ReleaseOfWhatIsNeeded>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
