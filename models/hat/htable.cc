// Page tables: two threads create one, the last hold goes while another thread wants the table, and
// the end of a table is the end of its parent.
#include "hat/htable_walk.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Each thread creates the same table; found_ are their holds.
template <int kCreators>
class CreateRace : public HatModel {
 public:
  static constexpr int kThreads = kCreators;
  static constexpr const char* kName =
      kCreators == 2 ? "htable/two_threads_create_a_table" : "htable/three_threads_create_a_table";
  static constexpr const char* kClaim = "there is one table; the losers' are empty and given back";
  static constexpr Bounds kBounds = kBounded;

  CreateRace() : HatModel(with_cpus(two_levels(), kCreators)) {}
  void thread(int index) { found_[index] = htable_create(sys, hat_, 0, 0, nullptr); }
  void check() override {
    htable_t* const ht = found_[0]();
    HAT_ASSERT(find(hat_, 0) == ht);
    for (const Guarded<htable_t*>& found : found_) {
      HAT_ASSERT(found() == ht);
      htable_release(sys, ht);
    }
    HAT_ASSERT(find(hat_, 0) == nullptr);
  }

 private:
  hat_t* const hat_ = new_hat();
  std::array<Guarded<htable_t*>, kCreators> found_;
};

// The last hold on an empty table goes while another thread creates the table: it finds the old one
// or makes a new one, and never links a second child.
class CreateAgainstLastRelease : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/create_against_the_last_release";
  static constexpr const char* kClaim = "the old table is held again, or gone before the new one";

  CreateAgainstLastRelease() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      htable_release(sys, old_);
    } else {
      found_ = htable_create(sys, hat_, 0, 0, nullptr);
      map(found_(), 0, page_);
    }
  }
  void check() override {
    HAT_ASSERT(find(hat_, 0) == found_() && valid_count(found_()) == 1);
    htable_release(sys, found_());
  }

 private:
  hat_t* const hat_ = new_hat();
  page_t* const page_ = new_page();
  htable_t* const old_ = htable_create(sys, hat_, 0, 0, nullptr);
  Guarded<htable_t*> found_;
};

class TwoReleases : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/two_threads_release_an_empty_table";
  static constexpr const char* kClaim = "the last of them frees it, once";

  TwoReleases() : HatModel(two_levels()) { htable_acquire(sys, table_); }
  void thread(int) { htable_release(sys, table_); }
  void check() override { HAT_ASSERT(find(hat_, 0) == nullptr); }

 private:
  hat_t* const hat_ = new_hat();
  htable_t* const table_ = htable_create(sys, hat_, 0, 0, nullptr);
};

// A look-up takes a hold on a table whose last mapping is going. Both drop a hold then, and either
// may be the one that frees the table.
class LookupAgainstRelease : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/lookup_against_the_last_release";
  static constexpr const char* kClaim = "a table that was found is not freed before it is released";

  LookupAgainstRelease() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      htable_release(sys, old_);
      return;
    }
    htable_t* const ht = htable_lookup(sys, hat_, 0, 0);
    if (ht == nullptr) return;
    HAT_ASSERT(valid_count(ht) == 0 && ht->ht_hat() == hat_);
    htable_release(sys, ht);
  }
  void check() override { HAT_ASSERT(find(hat_, 0) == nullptr); }

 private:
  hat_t* const hat_ = new_hat();
  htable_t* const old_ = htable_create(sys, hat_, 0, 0, nullptr);
};

// A loader has raised ht_lock_cnt and not yet set its first PTE when another holder lets go.
class ReleaseOfALockedEmptyTable : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/release_against_a_locking_load";
  static constexpr const char* kClaim = "locks in a table that is still empty are no error";

  ReleaseOfALockedEmptyTable() : HatModel(two_levels()) { htable_acquire(sys, table_); }
  void thread(int index) {
    if (index == 0) map(table_, 0, page_, kReadWrite, HAT_LOAD_LOCK);
    htable_release(sys, table_);
  }
  void check() override {
    HAT_ASSERT(lock_count(table_) == 1 && valid_count(table_) == 1);
    unload(hat_, 0, 1, HAT_UNLOAD_UNLOCK);
  }

 private:
  hat_t* const hat_ = new_hat();
  page_t* const page_ = new_page();
  htable_t* const table_ = htable_create(sys, hat_, 0, 0, nullptr);
};

// Loading and unloading side by side in one table: the unloader's release must see the new mapping,
// or the loader must see that the table went.
class LoadAgainstLastUnload : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/load_against_the_last_unload";
  static constexpr const char* kClaim = "the new mapping is in a table that is linked";

  LoadAgainstLastUnload() : HatModel(two_levels()) { load(hat_, 0, a_); }
  void thread(int index) {
    if (index == 0) {
      unload(hat_, 0);
    } else {
      load(hat_, pagesize(), b_);
    }
  }
  void check() override { HAT_ASSERT(!is_mapped(hat_, 0) && is_mapped(hat_, pagesize())); }

 private:
  hat_t* const hat_ = new_hat();
  page_t* const a_ = new_page();
  page_t* const b_ = new_page();
};

// Three levels: the table at 0 is the only child of its parent, so its end is its parent's.
class Cascade : public HatModel {
 protected:
  Cascade() : HatModel(with_two_buckets(three_levels())) {}

  hat_t* const hat = new_hat();
  htable_t* const child = htable_create(sys, hat, 0, 0, nullptr);
};

class CascadeAgainstSibling : public Cascade {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/release_cascade_against_creation_of_a_sibling";
  static constexpr const char* kClaim = "the parent is kept for the sibling, or made anew";

  void thread(int index) {
    if (index == 0) {
      htable_release(sys, child);
    } else {
      found_ = htable_create(sys, hat, kSibling, 0, nullptr);
    }
  }
  void check() override {
    HAT_ASSERT(find(hat, 0) == nullptr && find(hat, kSibling) == found_());
    HAT_ASSERT(found_()->ht_parent() == find(hat, 0, 1));
    htable_release(sys, found_());
  }

 private:
  static constexpr uintptr_t kSibling = 32;
  Guarded<htable_t*> found_;
};

class CascadeAgainstSameChild : public Cascade {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/release_cascade_against_creation_of_the_child";
  static constexpr const char* kClaim = "child and parent are both old, or what is new is linked";

  void thread(int index) {
    if (index == 0) {
      htable_release(sys, child);
    } else {
      found_ = htable_create(sys, hat, 0, 0, nullptr);
    }
  }
  void check() override {
    HAT_ASSERT(find(hat, 0) == found_() && found_()->ht_parent() == find(hat, 0, 1));
    htable_release(sys, found_());
  }

 private:
  Guarded<htable_t*> found_;
};

class TwoCascades : public Cascade {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/two_children_end_at_once";
  static constexpr const char* kClaim = "the parent goes once, with the last of its children";

  void thread(int index) { htable_release(sys, index == 0 ? child : sibling_); }
  void check() override { HAT_ASSERT(find(hat, 0, 1) == nullptr); }

 private:
  htable_t* const sibling_ = htable_create(sys, hat, 32, 0, nullptr);
};

// The cache of empty tables is looked at without its lock first.
class OneCachedTable : public Cascade {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/two_creations_and_one_cached_table";
  static constexpr const char* kClaim = "one takes the cached table, the other a new one";

  // Leaves the first table of the parent on the cache; the second keeps the parent.
  OneCachedTable() { htable_release(sys, child); }
  void thread(int index) {
    found_[index] = htable_create(sys, hat, index == 0 ? 0 : 32, 0, nullptr);
  }
  void check() override {
    HAT_ASSERT(found_[0]() != found_[1]());
    HAT_ASSERT(found_[0]()->ht_pfn() != found_[1]()->ht_pfn());
    for (const Guarded<htable_t*>& found : found_) htable_release(sys, found());
  }

 private:
  htable_t* const parent_ = table(hat, 0, 1);
  std::array<Guarded<htable_t*>, 2> found_;
};

// S12: the kernel's mappings are beyond the hole in the addresses.
class WalkAcrossTheHole : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/walk_across_the_hole_against_unload";
  static constexpr const char* kClaim = "what is behind the hole is found, and at its address";

  WalkAcrossTheHole() : HatModel(two_levels()) {
    hat_memload(sys, sys.kas_hat(), sys.kernelbase, page_, PROT_READ_ATTR, HAT_LOAD);
  }
  void thread(int index) {
    hat_t* const kas = sys.kas_hat();
    if (index == 1) {
      hat_unload(sys, kas, sys.kernelbase, pagesize(), HAT_UNLOAD);
      return;
    }
    const uintptr_t before = sys.mmu().hole_start() - pagesize();
    const uintptr_t end = sys.kernelbase + pagesize();
    // The step of a walk that passes the hole: from entry to entry of the top table.
    uintptr_t va = before;
    htable_scan(sys, kas->hat_htable(), &va, end);
    HAT_ASSERT(va == sys.kernelbase, "not the address of the first entry behind the hole");

    htable_t* ht = nullptr;
    va = before;
    const x86pte_t pte = htable_walk(sys, kas, &ht, &va, end);
    if (ht == nullptr) return;
    HAT_ASSERT(va == sys.kernelbase && PTE2PFN(pte, 0) == page_->p_pagenum);
    htable_release(sys, ht);
  }

 private:
  page_t* const page_ = new_page();
};

// S13: the pointer entry is not 0 but has PT_REF, as hardware may leave it that marks an entry
// which is cleared at that moment.
class LinkOverLeftovers : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "htable/table_linked_over_leftovers_against_walk";
  static constexpr const char* kClaim = "what was loaded is what the hardware finds";

  LinkOverLeftovers() : HatModel(two_levels()) {
    x86pte_access(sys, hat_->hat_htable(), 0).store(PT_REF, std::memory_order_relaxed);
    put_on(1, hat_);
  }
  void thread(int index) {
    if (index == 0) {
      load(hat_, 0, page_);
    } else {
      read(0);
    }
  }
  void check() override {
    HAT_ASSERT(access(1, 0, AccessKind::kRead).ok, "the hardware does not find the page");
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> htable_scenarios() {
  return scenario_list<CreateRace<2>, CreateRace<3>, CreateAgainstLastRelease, TwoReleases,
                       LookupAgainstRelease, ReleaseOfALockedEmptyTable, LoadAgainstLastUnload,
                       CascadeAgainstSibling, CascadeAgainstSameChild, TwoCascades, OneCachedTable,
                       WalkAcrossTheHole, LinkOverLeftovers>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
