// Stealing page tables: a thief empties a table of another address space while its owner uses it.
#include "hat/htable_alloc.h"
#include "hat/htable_steal.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// One address space with `page` at 0, in a table that nobody holds.
class Robbed : public HatModel {
 protected:
  explicit Robbed(const SystemConfig& config = two_levels()) : HatModel(config) {
    load(hat, 0, page);
  }

  page_t* const page = new_page();
  page_t* const next_door = new_page();
  hat_t* const hat = new_hat();
};

// The owner finds the table that is being emptied, and maps something in it.
class StealAgainstLoad : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_load_into_the_table";
  static constexpr const char* kClaim = "the thief gives up or came first; the new mapping stays";
  static constexpr Bounds kBounds = kBounded;

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      load(hat, pagesize(), next_door);
    }
  }
  void check() override {
    HAT_ASSERT(records(next_door) == (is_mapped(hat, pagesize()) ? 1u : 0u));
  }
};

// Nothing that was loaded with a lock is stolen: its owner will not fault it in again.
class StealAgainstLockingLoad : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_a_locking_load";
  static constexpr const char* kClaim =
      "a locked mapping is there when the load returns, and stays";

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      load(hat, pagesize(), next_door, kReadWrite, HAT_LOAD_LOCK);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(hat, pagesize()), "a locked mapping was stolen");
    unload(hat, pagesize(), 1, HAT_UNLOAD_UNLOCK);
  }
};

// The mapping was there, and only now becomes locked.
class StealAgainstLocking : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_locking_of_a_mapping";
  static constexpr const char* kClaim = "a mapping that its owner has locked is not stolen";

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      load(hat, 0, page, kReadWrite, HAT_LOAD_LOCK);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(hat, 0), "a locked mapping was stolen");
    unload(hat, 0, 1, HAT_UNLOAD_UNLOCK);
  }
};

// The thief looks at the hold count while it empties the table, and again at the end; a hold that
// came and went in between is no reason to leave the table.
class StealAgainstPassingHold : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_a_hold_that_comes_and_goes";
  static constexpr const char* kClaim = "the table is stolen whole or stays, with what it maps";

  void thread(int index) {
    if (index == 0) {
      rob();
      return;
    }
    htable_t* const ht = htable_lookup(sys, hat, 0, 0);
    if (ht != nullptr) htable_release(sys, ht);
  }
  void check() override { HAT_ASSERT(records(page) == (is_mapped(hat, 0) ? 1u : 0u)); }
};

class StealAgainstUnload : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_unload";
  static constexpr const char* kClaim = "the table goes once, stolen or released";
  static constexpr Bounds kBounds = kBounded;

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      unload(hat, 0);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 0 && find(hat, 0) == nullptr); }
};

class StealAgainstPageunload : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_pageunload";
  static constexpr const char* kClaim = "the table goes once, stolen or released";

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      hat_pageunload(sys, page, HAT_FORCE_PGUNLOAD);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 0 && find(hat, 0) == nullptr); }
};

class StealAgainstCreate : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_creation_of_the_table";
  static constexpr const char* kClaim = "the creator gets the old table or makes a new one";

  void thread(int index) {
    if (index == 0) {
      rob();
    } else {
      found_ = htable_create(sys, hat, 0, 0, nullptr);
    }
  }
  void check() override {
    HAT_ASSERT(find(hat, 0) == found_());
    htable_release(sys, found_());
  }

 private:
  Guarded<htable_t*> found_;
};

// HAT_VICTIM lets one thief at a time into an address space.
class TwoThieves : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/two_thieves_and_one_table";
  static constexpr const char* kClaim = "one thief at a time works on an address space";

  void thread(int) { rob(); }
  void check() override { HAT_ASSERT(!has_flag(hat, HAT_VICTIM)); }
};

// A load that finds no frame for its table lives on what others have, and these use it.
class AllocationSteals : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/creation_without_memory_against_use_of_the_victim";
  static constexpr const char* kClaim = "the creator gets a table once its user lets go";
  static constexpr Bounds kBounds = kBounded;

  AllocationSteals() : Robbed(with_own_locks(two_levels())) {
    used_ = htable_lookup(sys, hat, 0, 0);
    exhaust_frames();
  }
  void thread(int index) {
    if (index == 0) {
      found_ = htable_create(sys, poor_, 0, 0, nullptr);
    } else {
      htable_release(sys, used_);
    }
  }
  void check() override {
    HAT_ASSERT(find(poor_, 0) == found_() && find(hat, 0) == nullptr);
    htable_release(sys, found_());
  }

 private:
  hat_t* const poor_ = new_hat();
  htable_t* used_ = nullptr;
  Guarded<htable_t*> found_;
};

// Two address spaces live on each other.
class TwoAllocationsSteal : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/two_creations_without_memory";
  static constexpr const char* kClaim = "both get a table, or one waits for the other's victim";
  static constexpr Bounds kBounds = kBounded;

  TwoAllocationsSteal() : Robbed(with_own_locks(two_levels())) {
    load(other_, 0, next_door);
    // Nobody steals from these, so that the list of those who may be robbed is short.
    for (hat_t* const hat : poor_) hat->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
    exhaust_frames();
  }
  void thread(int index) { found_[index] = htable_create(sys, poor_[index], 0, 0, nullptr); }
  void check() override {
    HAT_ASSERT(found_[0]()->ht_pfn() != found_[1]()->ht_pfn());
    for (const Guarded<htable_t*>& found : found_) htable_release(sys, found());
  }

 private:
  hat_t* const other_ = new_hat();
  const std::array<hat_t*, 2> poor_ = {new_hat(), new_hat()};
  std::array<Guarded<htable_t*>, 2> found_;
};

// S10: who gave something goes to the end of the list.
class ThievesTakeTurns : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/two_thieves_and_three_address_spaces";
  static constexpr const char* kClaim = "who has not been robbed yet is the next to be";

  // Each has a table to give: an empty one, that it keeps for later.
  ThievesTakeTurns() : HatModel(two_levels()) {
    for (int i = 0; i < 3; ++i) {
      htable_release(sys, htable_create(sys, new_hat(), 0, 0, nullptr));
    }
  }
  void thread(int index) { stolen_[index] = htable_steal(sys, 1, /*active=*/false); }
  void check() override {
    const hat_t* hat = sys.kas_hat()->hat_next();
    HAT_ASSERT(gives(hat), "the first on the list was robbed, and another one was not");
    while ((hat = hat->hat_next()) != nullptr) HAT_ASSERT(!gives(hat));
    for (const Guarded<htable_t*>& stolen : stolen_) htable_free(sys, stolen());
  }

 private:
  static bool gives(const hat_t* hat) {
    return hat->hat_ht_cached.load(std::memory_order_relaxed) != nullptr;
  }

  std::array<Guarded<htable_t*>, 2> stolen_;
};

// S24: memory is short, and the tables in use are to stay where they are.
class ReapAgainstUse : public Robbed {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/reap_against_use_of_a_table";
  static constexpr const char* kClaim = "a reap takes empty tables, and no mapping";

  void thread(int index) {
    if (index == 0) {
      htable_reap(sys);
      return;
    }
    htable_t* const ht = htable_lookup(sys, hat, 0, 0);
    HAT_ASSERT(ht != nullptr, "a table in use was reaped");
    htable_release(sys, ht);
  }
  void check() override { HAT_ASSERT(is_mapped(hat, 0), "a mapping was reaped"); }
};

// S8: how much a reap takes shows where there is much.
class ReapOfMany : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "steal/reap_of_twelve_tables";
  static constexpr const char* kClaim = "ten tables at least, more if memory is large";

  ReapOfMany() : HatModel(roomy()) {
    std::array<htable_t*, kTables> made;
    const uint64_t span = sys.mmu().level_size(1);
    for (uint64_t i = 0; i < kTables; ++i) made[i] = htable_create(sys, hat_, i * span, 0, nullptr);
    for (htable_t* const ht : made) htable_release(sys, ht);
  }
  void thread(int) { htable_reap(sys); }
  void check() override {
    HAT_ASSERT(hat_->hat_ht_cached.load(std::memory_order_relaxed) == nullptr,
               "the reap left tables");
  }

 private:
  static constexpr uint64_t kTables = 12;
  // A twentieth of memory are as many pages.
  static SystemConfig roomy() {
    SystemConfig config = two_levels();
    config.machine.mmu.bits_per_level = 5;
    config.machine.nframes = 20 * kTables;
    return config;
  }

  hat_t* const hat_ = new_hat();
};

// What is taken from a shared address space is missed by its sharers, who do not fault for it.
class StealAgainstSharing : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/shared_address_spaces_are_spared";
  static constexpr const char* kClaim = "no table of a shared address space is stolen";

  StealAgainstSharing() : HatModel(two_levels()) {
    load(hat_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(htable_steal(sys, 1) == nullptr, "stolen from a shared hat");
    } else {
      load(hat_, pagesize(), page_, kReadWrite, HAT_LOAD_SHARE);
    }
  }
  void check() override { HAT_ASSERT(is_mapped(hat_, 0) && is_mapped(hat_, pagesize())); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Nor is a table that the victim has from somebody else, and only looks through.
class StealAgainstSharer : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "steal/steal_against_access_of_a_sharer";
  static constexpr const char* kClaim = "a shared table is not its sharer's to give";

  StealAgainstSharer() : HatModel(two_levels()) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_);
    put_on(1, sharer_);
  }
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(htable_steal(sys, 1) == nullptr, "a shared table was stolen");
    } else {
      HAT_ASSERT(read(0).ok);
    }
  }
  void check() override {
    HAT_ASSERT(is_mapped(source_, 0) && is_mapped(sharer_, 0));
    put_on(1, sys.kas_hat());
    unshare(sharer_);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

// What a thief may take it finds, wherever it is: full, behind a table that may not be taken, in
// any bucket.
class AllThatMayGo : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "steal/full_tables_and_tables_behind_others";
  static constexpr const char* kClaim = "a thief finds every table that may be taken";

  AllThatMayGo() : HatModel(with_two_buckets(wide())) {
    const uint64_t entries = sys.mmu().ptes_per_table();
    for (uint64_t i = 0; i < 2 * entries; ++i) load(hat_, i * pagesize(), page_);
    // One in each bucket, before those.
    for (uint64_t i = 2; i < 4; ++i) load(hat_, table_va(i), page_, kReadWrite, HAT_LOAD_LOCK);
  }
  void thread(int) {
    htable_t* const stolen = htable_steal(sys, 2);
    int count = 0;
    for (const htable_t* ht = stolen; ht != nullptr; ht = ht->ht_next()) ++count;
    HAT_ASSERT(count == 2, std::to_string(count) + " of two tables were stolen");
    free_stolen(stolen);
    HAT_ASSERT(find(hat_, table_va(0)) == nullptr && find(hat_, table_va(1)) == nullptr);
  }
  void check() override {
    for (uint64_t i = 2; i < 4; ++i) unload(hat_, table_va(i), 1, HAT_UNLOAD_UNLOCK);
  }

 private:
  static SystemConfig wide() {
    SystemConfig config = two_levels();
    config.machine.mmu.bits_per_level = 3;
    config.machine.nframes = 24;
    return config;
  }
  uintptr_t table_va(uint64_t index) const { return index * sys.mmu().level_size(1); }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> steal_scenarios() {
  return scenario_list<StealAgainstLoad, StealAgainstLockingLoad, StealAgainstLocking,
                       StealAgainstPassingHold, StealAgainstUnload, StealAgainstPageunload,
                       StealAgainstCreate, TwoThieves, AllocationSteals, TwoAllocationsSteal,
                       ThievesTakeTurns, ReapAgainstUse, ReapOfMany, StealAgainstSharing,
                       StealAgainstSharer, AllThatMayGo>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
