// What is kept for hard times: the reserves' sizes, who may draw on them, and what an allocation
// that fails leaves behind.
#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

template <class T>
uint32_t count_of(const Reserve<T>& reserve) {
  return reserve.count.load(std::memory_order_relaxed);
}

SystemConfig with_reserves(ReserveDesign design = ReserveDesign::kDepth) {
  SystemConfig config = HatModel::two_levels();
  config.reserves = design;
  config.hment_reserve_amount = 2;
  config.htable_reserve_amount = 2;
  return config;
}

// Ordinary loads do not live on what nested ones may need.
class VictimsFirst : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/reserve_spared_while_there_are_victims";
  static constexpr const char* kClaim = "an ordinary load takes from others before the reserve";

  VictimsFirst() : HatModel(with_reserves()) {
    for (hat_t* const hat : {one_, two_}) load(hat, 0, victim_);
    exhaust_kmem();
  }
  void thread(int index) {
    if (index == 1) {
      if (htable_t* const ht = htable_lookup(sys, one_, 0, 0)) htable_release(sys, ht);
      return;
    }
    hment_t* const hm = hment_alloc(sys);
    HAT_ASSERT(count_of(sys.hment_reserve) == 2, "taken from the reserve");
    kmem_free_hment(sys, hm);
  }
  void check() override { HAT_ASSERT(records(victim_) == 1); }

 private:
  page_t* const victim_ = new_page();
  hat_t* const one_ = new_hat();
  hat_t* const two_ = new_hat();
};

// What was taken comes back with the next objects that are freed, or are to be had.
class FilledAgain : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "memory/reserves_filled_again_and_trimmed";
  static constexpr const char* kClaim = "a reserve goes back to its size, from below and above";

  FilledAgain() : HatModel(with_reserves()) {}
  void thread(int) {
    of_hments();
    of_htables();
    of_both();
  }

 private:
  void of_hments() {
    Reserve<hment_t>& reserve = sys.hment_reserve;
    hment_t* const one = hment_get_reserve(sys);
    hment_t* const two = hment_get_reserve(sys);
    hment_free(sys, one);
    HAT_ASSERT(count_of(reserve) == 1, "it was not kept");
    // One for the caller, one for the reserve.
    hment_t* const three = hment_alloc(sys);
    HAT_ASSERT(count_of(reserve) == 2, "the reserve was not filled up");
    hment_free(sys, two);
    hment_free(sys, three);
    HAT_ASSERT(count_of(reserve) == 2, "more is kept than was asked for");
    hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
    hment_free(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
    HAT_ASSERT(count_of(reserve) == 2, "who frees leaves what is too much");
    hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
    htable_reap(sys);
    HAT_ASSERT(count_of(reserve) == 2, "a reap leaves what is too much");
  }
  void of_htables() {
    Reserve<htable_t>& reserve = sys.htable_reserve;
    // Each creation leaves one more than it takes, the end of a table leaves it where it is short.
    for (int i = 0; i < 2; ++i) kmem_free_htable(sys, htable_get_reserve(sys));
    htable_release(sys, htable_create(sys, hat_, 0, 0, nullptr));
    HAT_ASSERT(count_of(reserve) == 2, "the reserve was not filled up");
    kmem_free_htable(sys, htable_get_reserve(sys));
    htable_reap(sys);
    HAT_ASSERT(count_of(reserve) == 2, "the table was not kept");
    htable_put_reserve(sys, kmem_alloc_htable(sys, KmFlag::kSleep));
    htable_reap(sys);
    HAT_ASSERT(count_of(reserve) == 2, "a reap leaves what is too much");
  }

  void of_both() {
    hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
    htable_put_reserve(sys, kmem_alloc_htable(sys, KmFlag::kSleep));
    kmem_reap(sys);
    HAT_ASSERT(count_of(sys.hment_reserve) == 2 && count_of(sys.htable_reserve) == 2,
               "kmem was not given what is too much");
  }

  hat_t* const hat_ = new_hat();
};

// A load inside a load: what it frees and takes is the reserves', what it maps has no record, and
// at the end the reserves have their size again. The other thread's load is not nested.
class InsideALoad : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/kernel_mapping_inside_a_load_by_thread";
  static constexpr const char* kClaim = "it needs no kernel memory and leaves the reserves whole";
  static constexpr Bounds kBounds{.iterations = 100};

  InsideALoad() : HatModel(with_reserves(ReserveDesign::kThread)) { table_->ht_hat = nullptr; }
  void thread(int index) {
    if (index == 1) {
      load(hat_, 0, other_);
      return;
    }
    ReserveOwnership& owners = *sys.reserve_ownership;
    owners.enter(sys, HAT_LOAD);
    hat_memload(sys, sys.kas_hat(), sys.kernelbase, page_, PROT_READ_ATTR, HAT_LOAD);
    HAT_ASSERT(records(page_) == 0, "a nested load has made a record");
    owners.enter(sys, HAT_LOAD);
    hment_free(sys, hment_);
    HAT_ASSERT(count_of(sys.hment_reserve) == 3, "kmem was called");
    htable_free(sys, table_);
    hment_adjust_reserve(sys);
    htable_adjust_reserve(sys);
    HAT_ASSERT(count_of(sys.hment_reserve) == 3 && count_of(sys.htable_reserve) == 3);
    owners.exit(sys, HAT_LOAD);
    owners.exit(sys, HAT_LOAD);
    HAT_ASSERT(count_of(sys.hment_reserve) == 2 && count_of(sys.htable_reserve) == 2);
  }
  void check() override { hat_unload(sys, sys.kas_hat(), sys.kernelbase, pagesize(), HAT_UNLOAD); }

 private:
  page_t* const page_ = new_page();
  page_t* const other_ = new_page();
  hat_t* const hat_ = new_hat();
  hment_t* const hment_ = kmem_alloc_hment(sys, KmFlag::kSleep);
  // Belongs to nobody, as one that was stolen.
  htable_t* const table_ = htable_alloc(sys, hat_, 0, 0, nullptr);
};

// With a heap window, whose pages back kernel memory.
class KernelHeap : public HatModel {
 protected:
  KernelHeap() : HatModel(with_heap()) {}

  // Of objects, not of what CPUs have taken in advance.
  int64_t bytes_in_use() {
    int64_t bytes = sys.kmem_in_use.load(std::memory_order_relaxed);
    for (const System::PerCpu& cpu : sys.cpus) bytes -= cpu.kmem_credit();
    return bytes;
  }
  // All but so many bytes are in use from now on, most of them by no object.
  void use_up(int64_t left = 0) {
    const int64_t use = sys.kmem_backed.load(std::memory_order_relaxed) - left;
    idle_ = use - bytes_in_use();
    sys.kmem_in_use.store(use, std::memory_order_relaxed);
    for (System::PerCpu& cpu : sys.cpus) cpu.kmem_credit = 0;
  }
  // Those bytes are free again.
  void give_back() { sys.kmem_in_use.fetch_sub(idle_, std::memory_order_relaxed); }

 private:
  int64_t idle_ = 0;

  static SystemConfig with_heap() {
    SystemConfig config = SystemConfig::tiny();
    config.machine.ncpus = 2;
    config.machine.nframes = 20;
    config.kmap_bytes = 0;
    config.htable_num_lock = config.hat_num_hash = 1;
    return config;
  }
};

// Kernel memory that was given back, and that cannot be had: nothing is reserved or counted for it
// afterwards.
class KernelMemoryThatFails : public KernelHeap {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "memory/kernel_memory_that_fails";
  static constexpr const char* kClaim = "what is counted is what objects use, and a little per CPU";

  void thread(int) {
    const int64_t used = bytes_in_use();
    std::vector<hment_t*> many(30);
    for (hment_t*& hm : many) hm = kmem_alloc_hment(sys, KmFlag::kNoSleep);
    for (hment_t* const hm : many) kmem_free_hment(sys, hm);
    HAT_ASSERT(bytes_in_use() == used);
    HAT_ASSERT(sys.me().kmem_credit() <= kMostCredit, "a CPU keeps what others could use");
    sys.alloc_faults.per_million.store(1'000'000, std::memory_order_relaxed);
    HAT_ASSERT(kmem_alloc_hment(sys, KmFlag::kNoSleep) == nullptr);
    HAT_ASSERT(bytes_in_use() == used, "bytes are counted for no object");
    sys.alloc_faults.per_million.store(0, std::memory_order_relaxed);

    // All that is backed is in use, and there is no page to back more.
    exhaust_frames(0);
    use_up();
    const int64_t available = availrmem(sys.vm);
    HAT_ASSERT(kmem_alloc_hment(sys, KmFlag::kNoSleep) == nullptr);
    HAT_ASSERT(availrmem(sys.vm) == available, "a page is reserved that there is not");
    give_back();
  }

 private:
  static constexpr int64_t kMostCredit = 2048;
};

// What is backed is enough for one of two CPUs; the other needs a page more in the heap window.
class KernelHeapGrows : public KernelHeap {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/two_cpus_need_more_kernel_memory";
  static constexpr const char* kClaim = "every page of the heap is counted, once, and in use";
  static constexpr Bounds kBounds = kBounded;

  KernelHeapGrows() : pages_(heap_pages()) {
    use_up(kSize);
    used_ = bytes_in_use();
  }
  void thread(int index) { got_[index] = kmem_alloc_hment(sys, KmFlag::kSleep); }
  void check() override {
    const int64_t backed = sys.kmem_backed.load(std::memory_order_relaxed);
    HAT_ASSERT(heap_pages() == pages_ + 1 && backed == used_ + kSize + kSlabBytes);
    HAT_ASSERT(bytes_in_use() == used_ + 2 * kSize);
    for (Guarded<hment_t*>& hm : got_) kmem_free_hment(sys, hm());
    give_back();
  }

 private:
  static constexpr int64_t kSize = sizeof(hment_t);

  int64_t heap_pages() {
    int64_t count = 0;
    for (uintptr_t va = sys.heap_addr; va < sys.heap_eaddr; va += pagesize()) {
      const page_t* const pp = page_exists(sys.vm, &sys.vm.kvp, va);
      if (pp == nullptr) continue;
      HAT_ASSERT(PAGE_SHARED(pp) && !page_iolocked(pp) && is_mapped(sys.kas_hat(), va));
      ++count;
    }
    return count;
  }

  const int64_t pages_;
  int64_t used_ = 0;
  std::array<Guarded<hment_t*>, 2> got_;
};

// There is no page to back more, until somebody frees one.
class KernelMemoryAgainstFree : public KernelHeap {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/kernel_memory_against_a_free";
  static constexpr const char* kClaim = "who may sleep for kernel memory gets it";

  KernelMemoryAgainstFree() : last_(new_doomed_page()) {
    exhaust_frames(0);
    use_up();
  }
  void thread(int index) {
    if (index == 0) {
      kmem_free_hment(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
    } else {
      page_destroy(sys.vm, last_, 0);
    }
  }
  void check() override { give_back(); }

 private:
  page_t* const last_;
};

// The last pages are for those who free memory.
class TableWhileMemoryIsLow : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "memory/tables_and_pages_while_memory_is_low";
  static constexpr const char* kClaim = "the last pages go to those who free memory";

  TableWhileMemoryIsLow() : HatModel(with_thresholds()) { exhaust_frames(kLow + 1); }
  void thread(int) {
    HAT_ASSERT(ptable_alloc(sys, /*seed=*/4096) == PFN_INVALID, "a table of the last pages");
    vnode_t other("other", 3, 0, nullptr);
    HAT_ASSERT(create(other, kLow, PG_EXCL | PG_PUSHPAGE) != nullptr);
    HAT_ASSERT(create(other, 1 + kLow, PG_EXCL) == nullptr, "below the threshold");
    {
      const NoMemWait frees(sys.vm);
      const pfn_t table = ptable_alloc(sys, /*seed=*/4096);
      HAT_ASSERT(table != PFN_INVALID, "who frees memory gets none");
      ptable_free(sys, table);
    }
    HAT_ASSERT(!NOMEMWAIT(sys.vm), "who has freed memory still counts as such");
    page_destroy(sys.vm, page_lookup(sys.vm, &other, kLow * pagesize(), SE_EXCL), 0);
  }

 private:
  static constexpr int64_t kLow = 2;
  static SystemConfig with_thresholds() {
    SystemConfig config = two_levels();
    config.vm.throttlefree = config.vm.pageout_reserve = kLow;
    return config;
  }
  // Unlocked again.
  page_t* create(vnode_t& vp, uint64_t index, uint32_t flags) {
    page_t* const pp = create_page(sys.vm, &vp, index * pagesize(), flags);
    if (pp != nullptr) page_unlock(sys.vm, pp);
    return pp;
  }
};

// One gives a table back, just taken from an address space, while another takes one.
class TableReserveOfTwo : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "memory/table_reserve_filled_and_drawn_on";
  static constexpr const char* kClaim = "the reserve has as many tables as it counts";

  TableReserveOfTwo() : HatModel(with_reserves()) { spare_->ht_hat = hat_; }
  void thread(int index) {
    if (index == 0) htable_put_reserve(sys, spare_);
    taken_[index] = htable_get_reserve(sys);
    HAT_ASSERT(taken_[index] != nullptr);
  }
  void check() override {
    HAT_ASSERT(taken_[0] != taken_[1] && count_of(sys.htable_reserve) == 1);
    for (htable_t* const ht : taken_) kmem_free_htable(sys, ht);
    kmem_free_htable(sys, htable_get_reserve(sys));
    HAT_ASSERT(htable_get_reserve(sys) == nullptr && count_of(sys.htable_reserve) == 0);
  }

 private:
  hat_t* const hat_ = new_hat();
  htable_t* const spare_ = kmem_alloc_htable(sys, KmFlag::kSleep);
  std::array<htable_t*, 2> taken_{};
};

}  // namespace

std::vector<AnyScenario> reserve_scenarios() {
  return scenario_list<VictimsFirst, TableReserveOfTwo, FilledAgain, InsideALoad,
                       KernelMemoryThatFails, KernelHeapGrows, KernelMemoryAgainstFree,
                       TableWhileMemoryIsLow>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
