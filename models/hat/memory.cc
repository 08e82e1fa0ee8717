// Memory of the HAT: frames of page tables, the reserves and who may use them.
#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// A page table's frame is given back while somebody reads its page, and while somebody else looks
// for pages that are nobody's.
class FrameAgainstReaderAndClaimant : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "memory/ptable_free_against_a_reader_and_a_claimant";
  static constexpr const char* kClaim = "the frame is freed by its owner, and only once";

  FrameAgainstReaderAndClaimant() : HatModel(with_cpus(two_levels(), 3)) {}
  void thread(int index) {
    if (index == 0) {
      ptable_free(sys, page_->p_pagenum);
    } else if (index == 1) {
      if (page_trylock(sys.vm, page_, SE_SHARED) != 0) page_unlock(sys.vm, page_);
    } else {
      claim();
    }
  }
  void check() override {
    HAT_ASSERT(!claimed_() || !PP_ISFREE(page_), "the claimed page was freed by its old owner");
    HAT_ASSERT(claimed_() || PP_ISFREE(page_));
    if (claimed_()) {
      HAT_ASSERT(page_trylock(sys.vm, page_, SE_EXCL) != 0);
      page_destroy(sys.vm, page_, 0);
    }
  }

 private:
  // As one who goes through the pages by number does: what nobody has locked, what has no name and
  // is not free belongs to nobody.
  void claim() {
    if (page_trylock(sys.vm, page_, SE_EXCL) == 0) return;
    const bool nobodys =
        !PP_ISFREE(page_) && page_->p_vnode.load(std::memory_order_relaxed) == nullptr;
    if (nobodys) claimed_ = page_hashin(sys.vm, page_, &file, 0) != 0;
    page_unlock(sys.vm, page_);
  }

  page_t* const page_ = page_numtopp_nolock(sys.vm, ptable_alloc(sys, /*seed=*/4096));
  Guarded<bool> claimed_{false};
};

class FrameAgainstReader : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/ptable_free_against_a_reader";
  static constexpr const char* kClaim = "the owner waits for the reader and frees the page then";

  FrameAgainstReader() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      ptable_free(sys, page_->p_pagenum);
    } else if (page_trylock(sys.vm, page_, SE_SHARED) != 0) {
      page_unlock(sys.vm, page_);
    }
  }
  void check() override {
    HAT_ASSERT(PP_ISFREE(page_));
    HAT_ASSERT(availrmem(sys.vm) == available_before_, "the table's memory stays reserved");
  }

 private:
  const int64_t available_before_ = availrmem(sys.vm);
  page_t* const page_ = page_numtopp_nolock(sys.vm, ptable_alloc(sys, /*seed=*/4096));
};

// A load inside a load, as kmem makes them; the other thread's load is not nested.
template <ReserveDesign kDesign>
class NestedLoads : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = kDesign == ReserveDesign::kThread
                                           ? "memory/nested_load_against_load_by_thread"
                                           : "memory/nested_load_against_load_by_depth";
  static constexpr const char* kClaim =
      "only who must not allocate uses the reserves, all loads end";

  NestedLoads() : HatModel(with_design()) {}
  void thread(int index) {
    ReserveOwnership& owners = *sys.reserve_ownership;
    owners.enter(sys, HAT_LOAD);
    HAT_ASSERT(!owners.may_use(sys));
    if (index == 0) {
      owners.enter(sys, HAT_LOAD);
      HAT_ASSERT(owners.may_use(sys));
      owners.exit(sys, HAT_LOAD);
    }
    owners.exit(sys, HAT_LOAD);
    // Who has the lock of kernel memory's addresses may not ask for more of it.
    sys.me().t_vmem_populating = true;
    HAT_ASSERT(owners.may_use(sys));
    sys.me().t_vmem_populating = false;
  }

 private:
  static SystemConfig with_design() {
    SystemConfig config = two_levels();
    config.reserves = kDesign;
    return config;
  }
};

// Both loads are nested, so both want to own the reserves.
class TwoOwners : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/two_nested_loads_by_thread";
  static constexpr const char* kClaim = "one thread at a time owns the reserves, and gives them up";

  TwoOwners() : HatModel(by_thread()) {}
  void thread(int) {
    ReserveOwnership& owners = *sys.reserve_ownership;
    owners.enter(sys, HAT_NO_KALLOC);
    HAT_ASSERT(owners.may_use(sys));
    HAT_ASSERT(owners_.fetch_add(1, std::memory_order_relaxed) == 0, "two owners");
    owners_.fetch_sub(1, std::memory_order_relaxed);
    owners.exit(sys, HAT_NO_KALLOC);
  }

 private:
  static SystemConfig by_thread() {
    SystemConfig config = two_levels();
    config.reserves = ReserveDesign::kThread;
    return config;
  }

  Atomic<int> owners_{0};
};

// Who is woken finds another owner again, if that one was faster.
class TwoOwnersTwice : public TwoOwners {
 public:
  static constexpr const char* kName = "memory/two_nested_loads_each_by_thread";

  void thread(int index) {
    TwoOwners::thread(index);
    TwoOwners::thread(index);
  }
};

// kmem backs what it hands out with pages in the kernel's heap window, and maps them with the very
// calls that asked for the memory.
template <ReserveDesign kDesign>
class Recursion : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = kDesign == ReserveDesign::kThread
                                           ? "memory/loads_that_need_kernel_memory_by_thread"
                                           : "memory/loads_that_need_kernel_memory_by_depth";
  static constexpr const char* kClaim = "a load that loads to get memory ends, on its reserves";

  Recursion() : HatModel(with_heap()) {
    load(hats_[0], 0, page_);
    load(hats_[1], 0, page_);
    // All that backs the objects so far is in use, so that the next one needs a page.
    sys.kmem_in_use.store(sys.kmem_backed.load(std::memory_order_relaxed),
                          std::memory_order_relaxed);
  }
  void thread(int index) { load(hats_[index], pagesize(), page_); }
  void check() override {
    HAT_ASSERT(records(page_) == 4);
    HAT_ASSERT(sys.cpus[0].t_hatdepth() == 0 && sys.cpus[1].t_hatdepth() == 0);
  }

 private:
  static SystemConfig with_heap() {
    SystemConfig config = SystemConfig::tiny();
    config.machine.ncpus = 2;
    config.machine.nframes = 20;
    config.kmap_bytes = 0;
    config.htable_num_lock = config.hat_num_hash = 1;
    config.hment_reserve_amount = 4;
    config.htable_reserve_amount = 2;
    config.reserves = kDesign;
    return config;
  }

  page_t* const page_ = new_page();
  const std::array<hat_t*, 2> hats_ = {new_hat(), new_hat()};
};

// All frames but `kLeft` are in use.
class LittleMemory : public HatModel {
 protected:
  explicit LittleMemory(int64_t left) : HatModel(two_levels()) { exhaust_frames(left); }
  // A page of its own for each thread, or nullptr.
  page_t* create(uint64_t index, uint32_t flags) {
    return create_page(sys.vm, &other_file_, index * pagesize(), flags);
  }

 private:
  vnode_t other_file_{"other", 3, 0, nullptr};
};

class AllocationAgainstFree : public LittleMemory {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/allocation_against_a_free";
  static constexpr const char* kClaim = "who waits for memory is woken by a page that is freed";

  AllocationAgainstFree() : LittleMemory(/*left=*/1), last_(new_doomed_page()) {}
  void thread(int index) {
    if (index == 0) {
      page_destroy(sys.vm, create(0, PG_EXCL | PG_WAIT), 0);
    } else {
      page_destroy(sys.vm, last_, 0);
    }
  }

 private:
  page_t* const last_;
};

class TwoAllocationsOfTheLastPage : public LittleMemory {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/two_allocations_of_the_last_page";
  static constexpr const char* kClaim = "one gets it, the other is told that there is none";

  TwoAllocationsOfTheLastPage() : LittleMemory(/*left=*/1) {}
  void thread(int index) { got_[index] = create(static_cast<uint64_t>(index), PG_EXCL); }
  void check() override {
    HAT_ASSERT((got_[0]() == nullptr) != (got_[1]() == nullptr));
    page_destroy(sys.vm, got_[0]() != nullptr ? got_[0]() : got_[1](), 0);
  }

 private:
  std::array<Guarded<page_t*>, 2> got_;
};

// Memory that is promised to the kernel: who asks for what is not there sleeps until it comes back.
class ReservationAgainstReturn : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/a_reservation_against_a_return";
  static constexpr const char* kClaim = "who waits for a reservation gets it, and no more is given";

  ReservationAgainstReturn() : HatModel(two_levels()) {
    HAT_ASSERT(page_resv(sys.vm, all_, KmFlag::kNoSleep) != 0, "all of it may be reserved");
    HAT_ASSERT(page_resv(sys.vm, 1, KmFlag::kNoSleep) == 0, "more than there is was reserved");
  }
  void thread(int index) {
    if (index == 0) {
      page_resv(sys.vm, 1, KmFlag::kSleep);
    } else {
      page_unresv(sys.vm, all_);
    }
  }
  void check() override {
    HAT_ASSERT(availrmem(sys.vm) == sys.vm.config.t_minarmem + all_ - 1);
    page_unresv(sys.vm, 1);
  }

 private:
  const int64_t all_ = availrmem(sys.vm) - sys.vm.config.t_minarmem;
};

// S8: a page table may be had when its allocator looks, and not any more when it asks for the page.
class TableAgainstLastPages : public LittleMemory {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/a_table_and_two_pages_of_the_last_two";
  static constexpr const char* kClaim = "an allocation of a page table that fails leaves no trace";

  TableAgainstLastPages() : LittleMemory(/*left=*/2) {}
  void thread(int index) {
    if (index == 0) {
      table_ = ptable_alloc(sys, /*seed=*/4096);
    } else {
      for (uint64_t i = 0; i < 2; ++i) pages_[i] = create(i, PG_EXCL);
    }
  }
  void check() override {
    const int made = table_() == PFN_INVALID ? 0 : 1;
    HAT_ASSERT(sys.active_ptables.load(std::memory_order_relaxed) == tables_before_ + made,
               "a table that does not exist is counted");
    HAT_ASSERT(availrmem(sys.vm) == available_before_ - made, "memory is reserved for no page");
    if (made != 0) ptable_free(sys, table_());
    for (const Guarded<page_t*>& pp : pages_) {
      if (pp() != nullptr) page_destroy(sys.vm, pp(), 0);
    }
  }

 private:
  const int64_t tables_before_ = sys.active_ptables.load(std::memory_order_relaxed);
  const int64_t available_before_ = availrmem(sys.vm);
  Guarded<pfn_t> table_{PFN_INVALID};
  std::array<Guarded<page_t*>, 2> pages_;
};

// S9: the helper that prepares an entry for a dump is a load like others, and may ask for a table.
class EntrySetByHand : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/an_entry_set_by_hand_against_lookup";
  static constexpr const char* kClaim = "the depth of a load is what it was (invariant 58)";

  EntrySetByHand() : HatModel(three_levels()) {}
  void thread(int index) {
    hat_t* const kas = sys.kas_hat();
    if (index == 1) {
      htable_t* const ht = htable_lookup(sys, kas, sys.kernelbase, 0);
      if (ht != nullptr) htable_release(sys, ht);
      return;
    }
    const MemPte entry = hat_mempte_setup(sys, sys.kernelbase);
    HAT_ASSERT(find(kas, sys.kernelbase) == entry.ht, "nothing keeps the table");
    hat_mempte_release(sys, sys.kernelbase, entry);
    HAT_ASSERT(sys.me().t_hatdepth() == 0);
  }
  void check() override { HAT_ASSERT(find(sys.kas_hat(), sys.kernelbase) == nullptr); }
};

// The entry is set, used and given back; then the page behind it is somebody else's.
class EntrySetByHandAndUsed : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/an_entry_set_by_hand_against_access";
  static constexpr const char* kClaim = "the page is not reached once the entry was given back";

  EntrySetByHandAndUsed() : HatModel(three_levels()) {}
  void thread(int index) {
    const uintptr_t va = sys.kernelbase;
    if (index == 1) {
      sys.machine.access(1, va, AccessKind::kRead, Privilege::kKernel);
      return;
    }
    const MemPte entry = hat_mempte_setup(sys, va);
    x86pte_access(sys, entry.ht, entry.entry)
        .store(MAKEPTE(page_->p_pagenum, 0) | PT_GLOBAL | PT_NOCONSIST, std::memory_order_seq_cst);
    hat_mempte_release(sys, va, entry);
    HAT_ASSERT(!is_mapped(sys.kas_hat(), va), "the entry is still there");
    page_destroy(sys.vm, page_, 0);
  }

 private:
  page_t* const page_ = new_doomed_page();
};

// What is there is not to be set by hand.
class EntryInUseSetByHand : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "memory/an_entry_in_use_set_by_hand";
  static constexpr const char* kClaim = "the system ends with a message";
  static constexpr Expectation kExpected = Expectation::violated(Kind::kPanic);

  EntryInUseSetByHand() : HatModel(three_levels()) {
    hat_memload(sys, sys.kas_hat(), sys.kernelbase, page_, PROT_READ_ATTR, HAT_LOAD);
  }
  void thread(int) {
    hat_mempte_setup(sys, sys.kernelbase);
    HAT_ASSERT(false, "the mapping that was there is forgotten");
  }

 private:
  page_t* const page_ = new_page();
};

}  // namespace

std::vector<AnyScenario> memory_scenarios() {
  return scenario_list<
      FrameAgainstReader, FrameAgainstReaderAndClaimant, NestedLoads<ReserveDesign::kThread>,
      NestedLoads<ReserveDesign::kDepth>, TwoOwners, Recursion<ReserveDesign::kThread>,
      Recursion<ReserveDesign::kDepth>, AllocationAgainstFree, TwoAllocationsOfTheLastPage,
      TableAgainstLastPages, EntrySetByHand, TwoOwnersTwice, ReservationAgainstReturn,
      EntrySetByHandAndUsed, EntryInUseSetByHand>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
