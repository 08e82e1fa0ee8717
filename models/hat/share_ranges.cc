// Sharing of ranges that are no whole page tables, or tables that may not be shared: mapped page by
// page, and nothing but the range.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class Ranges : public HatModel {
 protected:
  explicit Ranges(const SystemConfig& config = upper_tables()) : HatModel(config) {}

  static SystemConfig upper_tables() {
    SystemConfig config = three_levels();
    config.machine.mmu.max_page_level = 1;
    config.machine.nframes = 32;
    return config;
  }
  // One large page, or one table of small ones.
  uint64_t large() const { return sys.mmu().level_size(1); }

  void share(uintptr_t addr, uintptr_t src_addr, uint64_t len) {
    ReaderGuard guard(sharer->hat_as()->a_lock);
    hat_share(sys, sharer, addr, source, src_addr, len, 1);
  }
  void unshare(uintptr_t addr, uint64_t len) {
    ReaderGuard guard(sharer->hat_as()->a_lock);
    hat_unshare(sys, sharer, addr, len, 1);
  }
  void unlock(uintptr_t addr, uint64_t len) {
    ReaderGuard guard(source->hat_as()->a_lock);
    hat_unlock(sys, source, addr, len);
  }
  // Whether the sharer has the table of that level from its source.
  bool shares_table(uintptr_t va, level_t level) {
    const htable_t* const ht = find(sharer, va, level);
    return ht != nullptr && (ht->ht_flags() & HTABLE_SHARED_PFN) != 0;
  }
  bool same_frame(uintptr_t dest, uintptr_t src) {
    return is_mapped(sharer, dest) &&
           hat_getpfnum(sys, sharer, dest) == hat_getpfnum(sys, source, src);
  }

  hat_t* const source = new_hat();
  hat_t* const sharer = new_hat();
};

// The other half of the table is free: whoever links a table there links it for both.
class TableWithAGap : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/upper_table_with_a_gap";
  static constexpr const char* kClaim = "what is loaded into the gap is not in the sharer's space";

  TableWithAGap() { load_large(source, 0, page_, HAT_LOAD_SHARE | HAT_LOAD_LOCK); }
  void thread(int) {
    share(0, 0, 2 * large());
    HAT_ASSERT(same_frame(0, 0) && !shares_table(0, 1));
    load(source, large(), small_, kReadWrite, HAT_LOAD_SHARE);
    HAT_ASSERT(!is_mapped(sharer, large()), "a sharer has a table that was never shared");
  }
  void check() override {
    unshare(0, 2 * large());
    unlock(0, large());
  }

 private:
  page_t* const page_ = new_large_page();
  page_t* const small_ = new_page();
};

// Pages that are not locked may go, and their table with them.
class TableWithoutLocks : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/upper_table_without_locks";
  static constexpr const char* kClaim = "an upper table is shared only if it stays as it is";

  TableWithoutLocks() {
    for (uint64_t i = 0; i < 2; ++i)
      load_large(source, i * large(), new_large_page(), HAT_LOAD_SHARE);
  }
  void thread(int) {
    share(0, 0, 2 * large());
    HAT_ASSERT(!shares_table(0, 1));
    unshare(0, 2 * large());
  }
};

// Two pages of a table: not aligned alike, or one of them only.
class PartsOfATable : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/parts_of_a_table_and_other_alignment";
  static constexpr const char* kClaim = "each page of the range is at its place, and no other is";

  PartsOfATable() {
    for (uint64_t i = 0; i < 2; ++i) {
      load(source, i * pagesize(), new_page(), kReadWrite, HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    }
  }
  void thread(int) {
    share(pagesize(), 0, large());
    HAT_ASSERT(same_frame(pagesize(), 0) && same_frame(large(), pagesize()));
    HAT_ASSERT(!is_mapped(sharer, 0) && !shares_table(0, 0));
    // Once more: nothing is locked twice.
    share(pagesize(), 0, large());
    HAT_ASSERT(lock_count(find(sharer, 0)) == 1);
    unshare(pagesize(), large());
    HAT_ASSERT(!is_mapped(sharer, pagesize()) && !is_mapped(sharer, large()));

    share(pagesize(), pagesize(), pagesize());
    HAT_ASSERT(same_frame(pagesize(), pagesize()) && !is_mapped(sharer, 0));
    unshare(pagesize(), pagesize());
  }
  void check() override { unlock(0, large()); }
};

// The sharer maps something there already, which stays.
class PlaceTaken : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/a_table_where_the_sharer_has_a_large_page";
  static constexpr const char* kClaim = "what the sharer maps already stays";

  PlaceTaken() {
    load(source, 0, small_, kReadWrite, HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    load_large(sharer, 0, own_, HAT_LOAD);
  }
  void thread(int) {
    share(0, 0, large());
    HAT_ASSERT(hat_getpfnum(sys, sharer, 0) == own_->p_pagenum);
    unload(sharer, 0, 2);
    // A table of its own is in the place.
    load(sharer, pagesize(), small_);
    share(0, 0, large());
    HAT_ASSERT(!shares_table(0, 0) && is_mapped(sharer, pagesize()) && same_frame(0, 0));
    unshare(0, large());
  }
  void check() override { unlock(0, large()); }

 private:
  page_t* const small_ = new_page();
  page_t* const own_ = new_large_page();
};

// The source has a large page where the sharer has a table with a page in it.
class TableTaken : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/a_large_page_where_the_sharer_has_a_table";
  static constexpr const char* kClaim = "what fits is mapped, small, and what was there stays";

  TableTaken() {
    load_large(source, 0, page_, HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    load(sharer, pagesize(), own_);
  }
  void thread(int) {
    share(0, 0, large());
    HAT_ASSERT(same_frame(0, 0));
    HAT_ASSERT(hat_getpfnum(sys, sharer, pagesize()) == own_->p_pagenum);
    unshare(0, large());
  }
  void check() override { unlock(0, large()); }

 private:
  page_t* const page_ = new_large_page();
  page_t* const own_ = new_page();
};

// Two tables in a row, of pages that are not locked.
class TwoTables : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/two_tables_in_a_row";
  static constexpr const char* kClaim = "each is shared, and given back";

  TwoTables() {
    load(source, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    load(source, large(), page_, kReadWrite, HAT_LOAD_SHARE);
  }
  void thread(int) {
    share(0, 0, 2 * large());
    HAT_ASSERT(shares_table(0, 0) && shares_table(large(), 0));
    unshare(0, 2 * large());
    HAT_ASSERT(!shares_table(0, 0) && !shares_table(large(), 0));
  }

 private:
  page_t* const page_ = new_page();
};

// A locked segment that fills an upper table: that table is shared, with all below it.
class FullUpperTable : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/upper_table_that_is_full";
  static constexpr const char* kClaim = "it is shared as a whole, counted in pages, and given back";

  FullUpperTable() {
    for (uint64_t i = 0; i < 2; ++i) {
      load_large(source, i * large(), new_large_page(), HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    }
  }
  void thread(int) {
    share(0, 0, 2 * large());
    HAT_ASSERT(shares_table(0, 1) && same_frame(0, 0) && same_frame(large(), large()));
    HAT_ASSERT(hat_get_mapped_size(sys, sharer) == 2 * large(), "pages are counted, not entries");
    const absl::Status status = hat_audit(sys, AuditOptions{.expect_no_locks = false});
    HAT_ASSERT(status.ok(), std::string(status.message()));
    unshare(0, 2 * large());
    HAT_ASSERT(find(sharer, 0, 1) == nullptr && hat_get_mapped_size(sys, sharer) == 0);
  }
  void check() override { unlock(0, 2 * large()); }
};

// Parts of a large page, and one that is not aligned alike: small mappings of what was asked for.
class PartsOfALargePage : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/parts_of_a_large_page_and_other_alignment";
  static constexpr const char* kClaim = "each page of the range is at its place, and no other is";

  PartsOfALargePage() { load_large(source, 0, new_large_page(), HAT_LOAD_SHARE | HAT_LOAD_LOCK); }
  void thread(int) {
    try_one(0, 0, 1);
    try_one(0, pagesize(), 1);
    try_one(pagesize(), 0, 1);
    try_one(pagesize(), 0, 2);
    try_one(large(), 0, 2);
  }
  void check() override { unlock(0, large()); }

 private:
  void try_one(uintptr_t addr, uintptr_t src_addr, uint64_t pages) {
    share(addr, src_addr, pages * pagesize());
    for (uintptr_t va = 0; va < 2 * large(); va += pagesize()) {
      const bool wanted = va >= addr && va < addr + pages * pagesize();
      HAT_ASSERT(is_mapped(sharer, va) == wanted);
      HAT_ASSERT(!wanted || same_frame(va, src_addr + (va - addr)));
    }
    const bool whole = pages == 2 && addr % large() == 0;
    HAT_ASSERT(hat_getpagesize(sys, sharer, addr) ==
               static_cast<int64_t>(whole ? large() : pagesize()));
    unshare(addr, pages * pagesize());
  }
};

// What cannot be shared as a table is mapped anew, with the rights and the caching that it had.
class AttributesOfCopies : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/attributes_of_copies";
  static constexpr const char* kClaim = "a copy allows what its source allows, cached alike";

  AttributesOfCopies() {
    constexpr uint32_t kFlags = HAT_LOAD_SHARE | HAT_LOAD_LOCK;
    ReaderGuard guard(source->hat_as()->a_lock);
    hat_memload(sys, source, 0, page_, kReadOnly | PROT_EXEC_ATTR, kFlags);
    hat_devload(sys, source, pagesize(), pagesize(), sys.vm.npages, kReadWrite | HAT_MERGING_OK,
                kFlags);
  }
  void thread(int) {
    share(pagesize(), 0, large());
    expect_alike(pagesize(), 0);
    expect_alike(large(), pagesize());
    unshare(pagesize(), large());
    // A device may be shared strictly ordered as well.
    {
      ReaderGuard guard(source->hat_as()->a_lock);
      hat_unload(sys, source, pagesize(), pagesize(), HAT_UNLOAD_UNLOCK);
      hat_devload(sys, source, pagesize(), pagesize(), sys.vm.npages, kReadWrite | HAT_STRICTORDER,
                  HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    }
    share(0, pagesize(), pagesize());
    expect_alike(0, pagesize());
    unshare(0, pagesize());
  }
  void check() override { unlock(0, large()); }

 private:
  void expect_alike(uintptr_t dest, uintptr_t src) {
    constexpr x86pte_t kRights =
        PT_VALID | PT_WRITABLE | PT_USER | PT_NX | PT_NOCACHE | PT_WRITETHRU | PT_PAT_4K;
    HAT_ASSERT((pte_of(sharer, dest) & kRights) == (pte_of(source, src) & kRights));
  }
  x86pte_t pte_of(hat_t* hat, uintptr_t va) {
    htable_t* const ht = find(hat, va);
    return ht == nullptr ? 0 : x86pte_get(sys, ht, htable_va2entry(sys, va, ht));
  }

  page_t* const page_ = new_page();
};

// Unloads through an address space that was not loaded to be shared do not reach sharers.
class SourceNotShared : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/source_that_was_not_loaded_to_be_shared";
  static constexpr const char* kClaim = "nothing is shared, and nothing mapped";

  SourceNotShared() { load(source, 0, page_); }
  void thread(int) {
    share(0, 0, large());
    HAT_ASSERT(!is_mapped(sharer, 0) && find(sharer, 0) == nullptr);
  }

 private:
  page_t* const page_ = new_page();
};

// A table of the sharer's own has come and gone, and is kept for the next that it needs. A shared
// one needs no frame, and is no such table.
class SharedBesideCached : public Ranges {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "share/shared_table_beside_a_cached_one";
  static constexpr const char* kClaim = "the cached table stays, with its frame";

  SharedBesideCached() {
    load(source, 0, page_, kReadWrite, HAT_LOAD_SHARE | HAT_LOAD_LOCK);
    load(sharer, 0, page_);
    // The table above stays in use.
    load(sharer, large(), page_);
    unload(sharer, 0);
  }
  void thread(int) {
    htable_t* const cached = sharer->hat_ht_cached.load(std::memory_order_relaxed);
    HAT_ASSERT(cached != nullptr);
    share(0, 0, large());
    HAT_ASSERT(shares_table(0, 0));
    HAT_ASSERT(sharer->hat_ht_cached.load(std::memory_order_relaxed) == cached);
    unshare(0, large());
  }
  void check() override { unlock(0, pagesize()); }

 private:
  page_t* const page_ = new_page();
};

}  // namespace

std::vector<AnyScenario> share_range_scenarios() {
  return scenario_list<TableWithAGap, TableWithoutLocks, PartsOfATable, PlaceTaken, TableTaken,
                       TwoTables, FullUpperTable, PartsOfALargePage, AttributesOfCopies,
                       SourceNotShared, SharedBesideCached>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
