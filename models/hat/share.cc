// Shared page tables: sharing and unsharing against each other and against the source.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// `source` maps `page` at 0, to be shared; the range is one table.
class Sharing : public HatModel {
 protected:
  explicit Sharing(const SystemConfig& config = two_levels()) : HatModel(config) {
    load(source, 0, page, kReadWrite, HAT_LOAD_SHARE);
  }

  void share(hat_t* hat) { HatModel::share(hat, source); }

  page_t* const page = new_page();
  hat_t* const source = new_hat();
  hat_t* const one = new_hat();
};

class ShareAgainstPageunload : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/share_against_pageunload_at_the_source";
  static constexpr const char* kClaim =
      "a table that empties while it is shared stays till unshared";

  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page, HAT_FORCE_PGUNLOAD);
    } else {
      share(one);
    }
  }
  void check() override {
    unshare(one);
    HAT_ASSERT(find(one, 0) == nullptr && find(source, 0) == nullptr);
  }
};

class UnshareAgainstPageunload : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/unshare_against_pageunload_at_the_source";
  static constexpr const char* kClaim = "the table goes when neither source nor sharer needs it";

  UnshareAgainstPageunload() { share(one); }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page, HAT_FORCE_PGUNLOAD);
    } else {
      unshare(one);
    }
  }
  void check() override { HAT_ASSERT(find(one, 0) == nullptr && find(source, 0) == nullptr); }
};

class TwoSharers : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/two_sharers_come_and_go";
  static constexpr const char* kClaim = "each sharer has one hold on the source's table";
  static constexpr Bounds kBounds = kBounded;

  TwoSharers() : Sharing(with_own_locks(two_levels())) {}
  void thread(int index) {
    hat_t* const hat = index == 0 ? one : two_;
    share(hat);
    unshare(hat);
  }
  void check() override {
    htable_t* const ht = find(source, 0);
    HAT_ASSERT(ht != nullptr && ht->ht_busy.load(std::memory_order_relaxed) == 0);
  }

 private:
  hat_t* const two_ = new_hat();
};

class SharedTwice : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/two_threads_share_one_range";
  static constexpr const char* kClaim = "the second finds the table of the first";
  static constexpr Bounds kBounds = kBounded;

  SharedTwice() : Sharing(with_own_locks(two_levels())) {}
  void thread(int) { share(one); }
  void check() override {
    HAT_ASSERT(find(source, 0)->ht_busy.load(std::memory_order_relaxed) == 1);
    HAT_ASSERT(one->hat_ism_pgcnt.load(std::memory_order_relaxed) == 1);
    unshare(one);
  }
};

class ShareAgainstLoad : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/share_against_load_at_the_source";
  static constexpr const char* kClaim = "the sharer sees what the source maps meanwhile";

  void thread(int index) {
    if (index == 0) {
      load(source, pagesize(), other_, kReadWrite, HAT_LOAD_SHARE);
    } else {
      share(one);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(one, 0) && is_mapped(one, pagesize()));
    unshare(one);
  }

 private:
  page_t* const other_ = new_page();
};

// A page that is not aligned alike in the two spaces is copied, mapping by mapping. While that goes
// on the page is freed and its frame given to somebody else.
class CopyAgainstReuse : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/copy_against_reuse_of_the_page";
  static constexpr const char* kClaim = "the copy maps what the source maps, or nothing";

  CopyAgainstReuse() : HatModel(two_levels()) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    page_unlock(sys.vm, page_);
  }
  void thread(int index) {
    if (index == 0) {
      ReaderGuard guard(sharer_->hat_as()->a_lock);
      hat_share(sys, sharer_, pagesize(), source_, 0, pagesize(), 0);
    } else if (page_trylock(sys.vm, page_, SE_EXCL) != 0) {
      page_destroy(sys.vm, page_, 0);
      // Mostly the same frame: what was freed last is given out first.
      page_ = new_doomed_page();
      page_unlock(sys.vm, page_);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(sharer_, pagesize()) == is_mapped(source_, 0));
    HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0);
    page_destroy(sys.vm, page_, 0);
  }

 private:
  page_t* page_ = new_doomed_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

// S19: a segment of two large pages, which fill an upper table and are locked. The sharer is given
// one of them, which is less than the table.
class HalfOfAnUpperTable : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/half_of_an_upper_table_against_access";
  static constexpr const char* kClaim = "a sharer reaches what it was given, and no more";

  HalfOfAnUpperTable() : HatModel(upper_tables()) {
    for (int i = 0; i < 2; ++i) {
      load_large(source_, i * half(), new_large_page(), HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    }
    put_on(1, sharer_);
  }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(!read(half()).ok, "a sharer reaches what it was not given");
      return;
    }
    ReaderGuard guard(sharer_->hat_as()->a_lock);
    hat_share(sys, sharer_, 0, source_, 0, half(), 1);
  }
  void check() override {
    HAT_ASSERT(is_mapped(sharer_, 0));
    HAT_ASSERT(!is_mapped(sharer_, half()), "a sharer maps what it was not given");
    put_on(1, sys.kas_hat());
    {
      ReaderGuard guard(sharer_->hat_as()->a_lock);
      hat_unshare(sys, sharer_, 0, half(), 1);
    }
    ReaderGuard guard(source_->hat_as()->a_lock);
    hat_unlock(sys, source_, 0, 2 * half());
  }

 private:
  static SystemConfig upper_tables() {
    SystemConfig config = three_levels();
    config.machine.mmu.max_page_level = 1;
    config.machine.nframes = 24;
    return config;
  }
  // One large page.
  uint64_t half() const { return sys.mmu().level_size(1); }

  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

// A shared table needs an htable and no frame. If kmem has none, one is taken from another address
// space, together with its frame, which has to go back. CPU 1 runs the victim.
class SharedTableWithoutMemory : public Sharing {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "share/shared_table_without_memory_against_the_victim";
  static constexpr const char* kClaim = "a stolen table becomes a shared one, its frame is free";

  SharedTableWithoutMemory() {
    load(victim_, 0, other_);
    put_on(1, victim_);
    exhaust_kmem();
  }
  void thread(int index) {
    if (index == 0) {
      share(one);
    } else {
      read(0);
    }
  }
  void check() override {
    HAT_ASSERT(find(victim_, 0) == nullptr && is_mapped(one, 0));
    unshare(one);
  }

 private:
  page_t* const other_ = new_page();
  hat_t* const victim_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> share_scenarios() {
  return scenario_list<ShareAgainstPageunload, UnshareAgainstPageunload, TwoSharers, SharedTwice,
                       ShareAgainstLoad, CopyAgainstReuse, HalfOfAnUpperTable,
                       SharedTableWithoutMemory>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
