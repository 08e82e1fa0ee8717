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

}  // namespace

std::vector<AnyScenario> share_range_scenarios() {
  return scenario_list<TableWithAGap, TableWithoutLocks, PartsOfATable, PlaceTaken>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
