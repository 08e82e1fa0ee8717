// Loading by frame number, with what caching, and in place of another mapping.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Frames mapped by number: in large pages where everything allows it, and each frame at its place.
class RangesOfFrames : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/devload_of_ranges_of_frames";
  static constexpr const char* kClaim = "each frame is at its place, as large as it may be";

  RangesOfFrames() : HatModel(roomy()) { hat_page_demote(sys, former_); }
  void thread(int) {
    // A large page of memory, whole; and one frame of it.
    try_one(large_->p_pagenum, 2, HAT_LOAD, /*large=*/true);
    try_one(large_->p_pagenum, 1, HAT_LOAD, /*large=*/false);
    // Two small pages side by side. Their unloaders look for small mappings only; who maps them
    // off-list answers for that himself.
    try_one(former_->p_pagenum, 2, HAT_LOAD, /*large=*/false);
    try_one(former_->p_pagenum, 2, HAT_LOAD_NOCONSIST, /*large=*/true);
    // A device.
    try_one(device(), 2, HAT_LOAD, /*large=*/true);
    try_one(device(), 1, HAT_LOAD, /*large=*/false);
    try_one(device() + 1, 2, HAT_LOAD, /*large=*/false);
  }
  // The base class knows the first only.
  void check() override { page_destroy(sys.vm, former_ + 1, 0); }

 private:
  static SystemConfig roomy() {
    SystemConfig config = three_levels();
    config.machine.nframes = 24;
    return config;
  }
  // A frame that is no memory, aligned like a large page.
  pfn_t device() const { return (sys.vm.npages + 1) & ~pfn_t{1}; }

  void try_one(pfn_t pfn, uint64_t count, uint32_t flags, bool large) {
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_devload(sys, hat_, 0, count * pagesize(), pfn, kReadWrite, flags);
    const auto size = static_cast<int64_t>(large ? 2 * pagesize() : pagesize());
    for (uint64_t i = 0; i < 4; ++i) {
      const uintptr_t va = i * pagesize();
      HAT_ASSERT(hat_getpfnum(sys, hat_, va) == (i < count ? pfn + i : PFN_INVALID));
      HAT_ASSERT(hat_getpagesize(sys, hat_, va) == (i < count ? size : -1));
    }
    hat_unload(sys, hat_, 0, 4 * pagesize(), HAT_UNLOAD);
  }

  page_t* const large_ = new_large_page();
  page_t* const former_ = new_large_page();  // two small ones side by side
  hat_t* const hat_ = new_hat();
};

// Memory is cached unless somebody insists; a device as its driver says.
class Caching : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/caching_of_memory_and_of_devices";
  static constexpr const char* kClaim = "memory is cached, a device as its order asks";

  Caching() : HatModel(two_levels()) {}
  void thread(int) {
    constexpr x86pte_t kCombining = PT_NOCACHE | PT_PAT_4K;
    const pfn_t memory = page_->p_pagenum;
    const pfn_t device = sys.vm.npages;
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_memload(sys, hat_, 0, page_, kReadWrite | HAT_STRICTORDER, HAT_LOAD);
    expect(0, PT_USER);
    page_t* pages[] = {page_};
    hat_memload_array(sys, hat_, 0, pagesize(), pages, kReadWrite | HAT_MERGING_OK, HAT_LOAD);
    expect(0, PT_USER);

    hat_devload(sys, hat_, 0, pagesize(), memory, kReadWrite | HAT_STRICTORDER, HAT_LOAD);
    expect(0, PT_USER);
    hat_devload(sys, hat_, 0, pagesize(), memory, kReadWrite | HAT_PLAT_NOCACHE, HAT_LOAD);
    expect(PT_NOCACHE, PT_USER);

    constexpr x86pte_t kOffList = PT_NOCONSIST | PT_REF | PT_MOD | PT_USER;
    hat_devload(sys, hat_, 0, pagesize(), device, kReadWrite | HAT_STRICTORDER, HAT_LOAD);
    expect(PT_NOCACHE, kOffList);
    hat_devload(sys, hat_, 0, pagesize(), device, kReadWrite | HAT_UNORDERED_OK, HAT_LOAD);
    expect(0, kOffList);
    for (const uint32_t order : {HAT_MERGING_OK, HAT_LOADCACHING_OK}) {
      hat_devload(sys, hat_, 0, pagesize(), device, kReadWrite | order, HAT_LOAD);
      expect(kCombining, kOffList);
    }
  }

 private:
  // What the entry must have of the bits for caching, and besides. It goes.
  void expect(x86pte_t caching, x86pte_t others) {
    const x86pte_t pte = x86pte_get(sys, find(hat_, 0), 0);
    HAT_ASSERT((pte & (PT_NOCACHE | PT_WRITETHRU | PT_PAT_4K)) == caching);
    HAT_ASSERT((pte & others) == others);
    hat_unload(sys, hat_, 0, pagesize(), HAT_UNLOAD);
  }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Off-list, and on request, the frame of a mapping is exchanged while it is used.
class Remap : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "load/remap_of_an_off_list_mapping_against_access";
  static constexpr const char* kClaim = "once the load has returned the old frame is not reached";

  Remap() : HatModel(two_levels()) {
    load(hat_, 0, old_, kReadWrite, HAT_LOAD_NOCONSIST);
    put_on(1, hat_);
    HAT_ASSERT(access(1, 0, AccessKind::kRead).ok);
  }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(write(0, 5).ok);
      return;
    }
    load(hat_, 0, new_, kReadWrite, HAT_LOAD_NOCONSIST | HAT_LOAD_REMAP);
    HAT_ASSERT(hat_getpfnum(sys, hat_, 0) == new_->p_pagenum);
    // Whoever reached it now would be told.
    page_destroy(sys.vm, old_, 0);
  }

 private:
  page_t* const old_ = new_doomed_page();
  page_t* const new_ = new_page();
  hat_t* const hat_ = new_hat();
};

// The kernel maps for itself, whatever it is asked for.
class KernelMapping : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "load/kernel_mapping_against_access_by_a_user";
  static constexpr const char* kClaim = "users do not reach what the kernel has mapped";

  KernelMapping() : HatModel(two_levels()) { put_on(1, hat_); }
  void thread(int index) {
    if (index == 1) {
      HAT_ASSERT(!read(sys.kernelbase).ok, "a user reads the kernel's memory");
      return;
    }
    hat_memload(sys, sys.kas_hat(), sys.kernelbase, page_, PROT_ALL_ATTR, HAT_LOAD);
    uint32_t attr = 0;
    HAT_ASSERT(hat_getattr(sys, sys.kas_hat(), sys.kernelbase, &attr) == 0);
    HAT_ASSERT((attr & PROT_USER_ATTR) == 0);
  }
  void check() override { hat_unload(sys, sys.kas_hat(), sys.kernelbase, pagesize(), HAT_UNLOAD); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// Without both the page that a mapping leads to is not exchanged: its old one would keep a record,
// or its user a page that he did not ask for.
class RemapWithoutLeave : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/another_page_where_one_is_mapped";
  static constexpr const char* kClaim = "the system ends with a message (invariant 33)";
  static constexpr Expectation kExpected = Expectation::violated(Kind::kPanic);

  RemapWithoutLeave() : HatModel(two_levels()) {
    load(hat_, 0, old_, kReadWrite, HAT_LOAD_NOCONSIST);
  }
  void thread(int) {
    load(hat_, 0, new_, kReadWrite, HAT_LOAD_NOCONSIST);
    HAT_ASSERT(false, "it was exchanged");
  }

 private:
  page_t* const old_ = new_page();
  page_t* const new_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A number for who wants to know how large an address space is.
class MappedSize : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "load/size_of_large_small_and_shared_pages";
  static constexpr const char* kClaim = "all that is mapped is counted, in bytes, once";

  MappedSize() : HatModel(three_levels()) { load(source_, 0, small_, kReadWrite, HAT_LOAD_SHARE); }
  void thread(int) {
    expect(source_, 1);
    load_large(hat_, 2 * pagesize(), large_);
    expect(hat_, 2);
    share(hat_, source_);
    expect(hat_, 3);
    unload(hat_, 2 * pagesize(), 2);
    expect(hat_, 1);
    unshare(hat_);
    expect(hat_, 0);
  }

 private:
  void expect(hat_t* hat, uint64_t pages) {
    HAT_ASSERT(hat_get_mapped_size(sys, hat) == pages * pagesize(),
               std::to_string(hat_get_mapped_size(sys, hat)) + " bytes are said to be mapped");
  }

  page_t* const small_ = new_page();
  page_t* const large_ = new_large_page();
  hat_t* const source_ = new_hat();
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> device_scenarios() {
  return scenario_list<RangesOfFrames, Caching, Remap, KernelMapping, RemapWithoutLeave,
                       MappedSize>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
