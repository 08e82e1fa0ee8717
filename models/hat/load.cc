// Loading: which page goes where, in what size, and who finds it again.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Up to four pages of an address space, loaded in one call. Two of them are one mapping if they are
// a large page at an address that is aligned like it; each of the others misses one condition.
class ArrayOfPages : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/arrays_of_large_and_small_pages";
  static constexpr const char* kClaim = "every page is where it belongs, large ones where they fit";

  ArrayOfPages() : HatModel(roomy()) { hat_page_demote(sys, former_); }
  void thread(int) {
    // A large page; half of one, beside a page that is not its other half.
    try_one({first_, first_ + 1, second_, small_}, 0, /*first_is_large=*/true);
    // A large page at an address that is not aligned.
    try_one({first_, first_ + 1}, pagesize());
    // Two pages that are no large one, though they could be; the halves of one the wrong way round.
    try_one({former_, former_ + 1, second_ + 1, second_}, 0);
    // Half of a large page, and no more was asked for.
    try_one({first_}, 0);
  }
  // The base class knows the first only.
  void check() override { page_destroy(sys.vm, former_ + 1, 0); }

 private:
  static SystemConfig roomy() {
    SystemConfig config = three_levels();
    config.machine.nframes = 32;
    return config;
  }

  void try_one(std::vector<page_t*> pages, uintptr_t addr, bool first_is_large = false) {
    const uint64_t len = pages.size() * pagesize();
    const auto small = static_cast<int64_t>(pagesize());
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_memload_array(sys, hat_, addr, len, pages.data(), kReadWrite, HAT_LOAD);
    for (uintptr_t va = 0; va < 4 * pagesize(); va += pagesize()) {
      const uint64_t i = (va - addr) / pagesize();
      const bool mapped = va >= addr && i < pages.size();
      HAT_ASSERT(hat_getpfnum(sys, hat_, va) == (mapped ? pages[i]->p_pagenum : PFN_INVALID));
      const int64_t size = first_is_large && i < 2 ? 2 * small : small;
      HAT_ASSERT(hat_getpagesize(sys, hat_, va) == (mapped ? size : -1));
    }
    hat_unload(sys, hat_, addr, len, HAT_UNLOAD);
  }

  page_t* const first_ = new_large_page();
  page_t* const second_ = new_large_page();
  page_t* const former_ = new_large_page();  // two small ones side by side
  page_t* const small_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A frame is mapped by its number. If it is memory, its page has the mapping on its list.
class DevloadAgainstPageunload : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "load/devload_of_memory_against_pageunload";
  static constexpr const char* kClaim = "the unloader of a page finds what was mapped by frame";

  DevloadAgainstPageunload() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
      return;
    }
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_devload(sys, hat_, 0, pagesize(), page_->p_pagenum, kReadWrite, HAT_LOAD);
  }
  void check() override { HAT_ASSERT(records(page_) == (is_mapped(hat_, 0) ? 1u : 0u)); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// One lock for a page of any size.
class LockedLargePage : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/locked_large_page_unlocked_and_swapped_out";
  static constexpr const char* kClaim = "what is beside a locked large page may go, and it later";

  LockedLargePage() : HatModel(three_levels()) {}
  void thread(int) {
    const uint64_t size = sys.mmu().level_size(1);
    std::array<page_t*, 2> pages = {large_, large_ + 1};
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_memload_array(sys, hat_, 0, size, pages.data(), kReadWrite, HAT_LOAD_LOCK);
    for (const uintptr_t va : {size, size + pagesize()}) {
      hat_memload(sys, hat_, va, small_, kReadWrite, HAT_LOAD);
    }
    HAT_ASSERT(lock_count(find(hat_, 0, 1)) == 1);

    hat_swapout(sys, hat_);
    HAT_ASSERT(is_mapped(hat_, 0), "what was locked is gone");
    HAT_ASSERT(!is_mapped(hat_, size) && !is_mapped(hat_, size + pagesize()),
               "a table without locks was kept");
    hat_unlock(sys, hat_, 0, size);
    HAT_ASSERT(lock_count(find(hat_, 0, 1)) == 0);
    hat_swapout(sys, hat_);
    HAT_ASSERT(!is_mapped(hat_, 0));
  }

 private:
  page_t* const large_ = new_large_page();
  page_t* const small_ = new_page();
  hat_t* const hat_ = new_hat();
};

// What is to go begins in a table that has nothing more to offer.
class UnloadBehindAMapping : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/unload_that_begins_behind_a_mapping";
  static constexpr const char* kClaim = "all of the range goes, and nothing before and behind it";

  UnloadBehindAMapping() : HatModel(three_levels()) {
    for (const uint64_t i : {0, 2, 3}) load(hat_, i * pagesize(), page_);
  }
  void thread(int) {
    unload(hat_, pagesize(), 2);
    HAT_ASSERT(is_mapped(hat_, 0) && is_mapped(hat_, 3 * pagesize()), "it was not asked for");
    HAT_ASSERT(!is_mapped(hat_, 2 * pagesize()), "it is still there");
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// CPU 1 has read through an off-list mapping at the second address of its table.
class OffListReader : public HatModel {
 public:
  static constexpr int kThreads = 2;

 protected:
  explicit OffListReader(uint32_t attr) : HatModel(two_levels()) {
    load_it(attr);
    put_on(1, hat_);
    access(1, pagesize(), AccessKind::kRead);
  }
  void load_it(uint32_t attr) { load(hat_, pagesize(), page_, attr, HAT_LOAD_NOCONSIST); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Both write, and fault. No mlist orders them: the second finds the entry as it wants it, while the
// first has yet to flush.
class TwoWriteFaults : public OffListReader {
 public:
  static constexpr const char* kName = "load/two_write_faults_on_an_off_list_mapping";
  static constexpr const char* kClaim = "who has loaded it for writing can write";

  TwoWriteFaults() : OffListReader(kReadOnly) {}
  void thread(int index) {
    load_it(kReadWrite);
    HAT_ASSERT(index == 0 || write(pagesize(), 7).ok, "its own TLB is stricter than memory");
  }
};

// Write permission is taken away by a load.
class StricterLoad : public OffListReader {
 public:
  static constexpr const char* kName = "load/read_only_again_against_write";
  static constexpr const char* kClaim = "no CPU writes when the load has returned";

  StricterLoad() : OffListReader(kReadWrite) {}
  void thread(int index) {
    if (index == 0) {
      load_it(kReadOnly);
      returned_.store(1, std::memory_order_release);
      return;
    }
    const bool too_late = returned_.load(std::memory_order_acquire) != 0;
    HAT_ASSERT(!write(pagesize(), 7).ok || !too_late, "a write went through");
  }

 private:
  Atomic<int> returned_{0};
};

}  // namespace

std::vector<AnyScenario> load_scenarios() {
  return scenario_list<ArrayOfPages, DevloadAgainstPageunload, LockedLargePage,
                       UnloadBehindAMapping, TwoWriteFaults, StricterLoad>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
