// TLB shootdown: what one CPU unmaps no other may go on using, whatever it is doing at the time.
//
// The page that is unloaded is destroyed at once, and its frame is free. The machine ends the run
// when a CPU reaches a free frame (machine/walker.h), so the bodies need no check for that.
#include "hat/shootdown.h"

#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Page `page` at 0 of `hat`. kTableStays: in a table that somebody holds, since the end of a table
// comes with a flush of its own.
template <InvalidationDesign kDesign, bool kTableStays = true>
class Unmapping : public HatModel {
 protected:
  Unmapping() : HatModel(with_inval(two_levels(), kDesign)) {
    load(hat, 0, page);
    if (kTableStays) table(hat, 0);
  }

  // From the address space and from the system.
  void unload_and_destroy() {
    unload(hat, 0);
    page_destroy(sys.vm, page, 0);
  }

  page_t* const page = new_doomed_page();
  hat_t* const hat = new_hat();
};

constexpr bool is_captured(InvalidationDesign design) {
  return design == InvalidationDesign::kCaptured;
}

// CPU 1 runs the address space and has the translation in its TLB.
template <InvalidationDesign kDesign>
class UnloadAgainstAccess : public Unmapping<kDesign> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign)
                                           ? "shootdown/unload_against_access_captured"
                                           : "shootdown/unload_against_access_shootdown";
  static constexpr const char* kClaim = "no CPU uses the translation when the unload has returned";

  UnloadAgainstAccess() {
    this->put_on(1, this->hat);
    this->access(1, 0, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      this->unload_and_destroy();
    } else {
      this->read(0);
    }
  }
};

// CPU 1 joins the address space, reads, and leaves. It is found in hat_cpus, or it finds the PTE
// cleared.
template <InvalidationDesign kDesign>
class UnloadAgainstSwitch : public Unmapping<kDesign> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign)
                                           ? "shootdown/unload_against_hat_switch_captured"
                                           : "shootdown/unload_against_hat_switch_shootdown";
  static constexpr const char* kClaim = "a CPU that joins is shot down or finds nothing";

  // The CPU was there before: REF is set, so that the unload must look for CPUs to shoot at, and a
  // walk changes nothing.
  UnloadAgainstSwitch() {
    this->put_on(1, this->hat);
    this->access(1, 0, AccessKind::kRead);
    this->put_on(1, this->sys.kas_hat());
  }
  void thread(int index) {
    if (index == 0) {
      this->unload_and_destroy();
      return;
    }
    hat_switch(this->sys, this->hat);
    this->read(0);
  }
};

// CPU 1 leaves while it is a target: the shootdown runs on a CPU that runs something else by then.
template <InvalidationDesign kDesign>
class UnloadAgainstLeaving : public Unmapping<kDesign> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign)
                                           ? "shootdown/unload_against_leaving_captured"
                                           : "shootdown/unload_against_leaving_shootdown";
  static constexpr const char* kClaim = "a CPU that left and comes back finds nothing stale";

  UnloadAgainstLeaving() {
    this->put_on(1, this->hat);
    this->access(1, 0, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      this->unload_and_destroy();
      return;
    }
    hat_switch(this->sys, this->sys.kas_hat());
    hat_switch(this->sys, this->hat);
    this->read(0);
  }
};

// Both CPUs run the address space, and each unloads what the other has cached.
template <InvalidationDesign kDesign>
class TwoInitiators : public Unmapping<kDesign> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign) ? "shootdown/two_initiators_captured"
                                                            : "shootdown/two_initiators_shootdown";
  static constexpr const char* kClaim = "CPUs that shoot at one another serve and are served";
  static constexpr Bounds kBounds = HatModel::kBounded;

  TwoInitiators() {
    const uintptr_t size = this->pagesize();
    this->load(this->hat, size, other_);
    for (CpuId cpu = 0; cpu < 2; ++cpu) {
      this->put_on(cpu, this->hat);
      this->access(cpu, cpu == 0 ? size : 0, AccessKind::kRead);
    }
  }
  void thread(int index) {
    if (index == 0) {
      this->unload_and_destroy();
      this->read(this->pagesize());
    } else {
      this->unload(this->hat, this->pagesize());
      page_destroy(this->sys.vm, other_, 0);
      this->read(0);
    }
  }

 private:
  page_t* const other_ = this->new_doomed_page();
};

// With its last mapping the page table goes, and its frame is freed. CPU 1 asks for the other
// address of the same table all the time, which is unmapped: it may cache the pointer entry anew
// between the flush for the leaf and the end of the table.
template <InvalidationDesign kDesign>
class TableAgainstWalk : public Unmapping<kDesign, /*kTableStays=*/false> {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign)
                                           ? "shootdown/end_of_a_table_against_walk_captured"
                                           : "shootdown/end_of_a_table_against_walk_shootdown";
  static constexpr const char* kClaim = "no CPU walks a page table that is gone";

  TableAgainstWalk() { this->put_on(1, this->hat); }
  void thread(int index) {
    if (index == 0) {
      this->unload_and_destroy();
      // Gives the frame back, which the hat had kept as an empty table.
      htable_purge_hat(this->sys, this->hat);
    } else {
      this->read(this->pagesize());
      this->read(this->pagesize());
    }
  }
};

// The pages of a shared address space are reached through the tables of its sharers: what is
// unloaded there must be flushed from all CPUs, at whatever address they know it.
template <InvalidationDesign kDesign>
class SharedUnloadAgainstSharer : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      is_captured(kDesign) ? "shootdown/unload_of_a_shared_page_against_a_sharer_captured"
                           : "shootdown/unload_of_a_shared_page_against_a_sharer_shootdown";
  static constexpr const char* kClaim = "no CPU of a sharer uses a page that its source unloaded";

  SharedUnloadAgainstSharer() : HatModel(with_inval(three_levels(), kDesign)) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_, at_);
    put_on(1, sharer_);
    access(1, at_, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
      page_destroy(sys.vm, page_, 0);
    } else {
      read(at_);
    }
  }
  void check() override { unshare(sharer_, at_); }

 private:
  // Where the second table begins.
  const uintptr_t at_ = 2 * pagesize();
  page_t* const page_ = new_doomed_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

// The same with two sharers on two CPUs.
class SharedUnloadAgainstTwoSharers : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "shootdown/unload_of_a_shared_page_against_two_sharers";
  static constexpr const char* kClaim = "the CPUs of all sharers are reached";

  SharedUnloadAgainstTwoSharers() : HatModel(with_cpus(two_levels(), 3)) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    for (CpuId cpu = 1; cpu <= 2; ++cpu) {
      hat_t* const sharer = sharers_[cpu - 1];
      share(sharer, source_);
      put_on(cpu, sharer);
      access(cpu, 0, AccessKind::kRead);
    }
  }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
      page_destroy(sys.vm, page_, 0);
    } else {
      read(0);
    }
  }
  void check() override {
    for (hat_t* const sharer : sharers_) unshare(sharer);
  }

 private:
  page_t* const page_ = new_doomed_page();
  hat_t* const source_ = new_hat();
  const std::array<hat_t*, 2> sharers_ = {new_hat(), new_hat()};
};

// CPU 1 runs a sharer that stops sharing. The page stays where it is, for its source. It is not the
// first of its table, whose translation goes when the table is unlinked.
class UnshareAgainstAccess : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/unshare_against_access";
  static constexpr const char* kClaim = "no CPU uses what was shared when the unshare has returned";

  UnshareAgainstAccess() : HatModel(two_levels()) {
    load(source_, pagesize(), page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_);
    put_on(1, sharer_);
    access(1, pagesize(), AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      ReaderGuard guard(sharer_->hat_as()->a_lock);
      hat_unshare(sys, sharer_, 0, 2 * pagesize(), 0);
      returned_.store(1, std::memory_order_release);
    } else {
      const bool too_late = returned_.load(std::memory_order_acquire) != 0;
      HAT_ASSERT(!read(pagesize()).ok || !too_late,
                 "read through a table that is not shared any more");
    }
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
  Atomic<int> returned_{0};
};

// --- what a walk may see of what is new

// All free frames are full of what looks like mappings, as left by an earlier life. CPU 1 walks
// while a page table is made in one of them and linked.
class NewTableAgainstWalk : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/new_table_against_walk";
  static constexpr const char* kClaim = "who sees a table sees it zeroed, and then what is mapped";

  NewTableAgainstWalk() : HatModel(two_levels()) {
    put_on(1, hat_);
    PhysMem& mem = sys.machine.mem();
    for (pfn_t pfn = 0; pfn < mem.size(); ++pfn) {
      if (mem.kind(pfn) != FrameKind::kFree) continue;
      for (uint32_t i = 0; i < sys.mmu().ptes_per_table(); ++i) {
        mem.word(pfn, i).store(MAKEPTE(mem.size() - 1, 0) | PT_USER, std::memory_order_relaxed);
      }
    }
  }
  void thread(int index) {
    if (index == 0) {
      load(hat_, 0, page_);
      return;
    }
    HAT_ASSERT(!read(pagesize()).ok, "a walk found what an earlier life had left");
    const AccessResult result = read(0);
    HAT_ASSERT(!result.ok || result.pfn == page_->p_pagenum);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// The page is filled before it is mapped.
class NewMappingAgainstAccess : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/new_mapping_against_access";
  static constexpr const char* kClaim =
      "who sees a mapping sees what was written before it was made";

  NewMappingAgainstAccess() : HatModel(two_levels()) { put_on(1, table_->ht_hat()); }
  void thread(int index) {
    if (index == 0) {
      sys.machine.mem().word(page_->p_pagenum, 0).store(7, std::memory_order_relaxed);
      map(table_, 0, page_);
      return;
    }
    const AccessResult result = read(0);
    HAT_ASSERT(!result.ok || result.value == 7, "the page was mapped before it was filled");
  }

 private:
  page_t* const page_ = new_page();
  htable_t* const table_ = table(new_hat(), 0);
};

// The same without hardware: as a copy or a dump does it, by frame number.
class FrameLookupAgainstNewMapping : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/hat_getpfnum_against_new_mapping";
  static constexpr const char* kClaim =
      "who looks up the frame of a mapping sees what was written to it before";

  FrameLookupAgainstNewMapping() : HatModel(two_levels()) {}
  void thread(int index) {
    Atomic<x86pte_t>& word = sys.machine.mem().word(page_->p_pagenum, 0);
    if (index == 0) {
      word.store(7, std::memory_order_relaxed);
      map(table_, 0, page_);
    } else if (hat_getpfnum(sys, table_->ht_hat(), 0) != PFN_INVALID) {
      HAT_ASSERT(word.load(std::memory_order_relaxed) == 7,
                 "the page was mapped before it was filled");
    }
  }

 private:
  page_t* const page_ = new_page();
  htable_t* const table_ = table(new_hat(), 0);
};

// --- kernel mappings

// A page in the kernel's part, which every CPU may use at any time.
class KernelPage : public HatModel {
 protected:
  explicit KernelPage(const SystemConfig& config = two_levels()) : HatModel(config) {
    hat_memload(sys, sys.kas_hat(), va, page, PROT_READ_ATTR | PROT_WRITE_ATTR, HAT_LOAD);
    kernel_read(1);
  }
  void unload_and_destroy() {
    hat_unload(sys, sys.kas_hat(), va, pagesize(), HAT_UNLOAD);
    page_destroy(sys.vm, page, 0);
  }
  void kernel_read(CpuId cpu) {
    sys.machine.access(cpu, va, AccessKind::kRead, Privilege::kKernel);
  }

  page_t* const page = new_doomed_page();
  const uintptr_t va = sys.kernelbase;
};

template <InvalidationDesign kDesign>
class KernelUnloadAgainstAccess : public KernelPage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = is_captured(kDesign)
                                           ? "shootdown/kernel_unload_against_access_captured"
                                           : "shootdown/kernel_unload_against_access";
  static constexpr const char* kClaim = "all CPUs are targets, whatever they run";

  KernelUnloadAgainstAccess() : KernelPage(with_inval(two_levels(), kDesign)) {}
  void thread(int index) {
    if (index == 0) {
      unload_and_destroy();
    } else {
      kernel_read(1);
    }
  }
};

// An idle CPU is not interrupted but told to flush when it wakes.
class KernelUnloadAgainstIdling : public KernelPage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/kernel_unload_against_an_idle_cpu";
  static constexpr const char* kClaim = "a CPU that wakes flushes before it uses the mapping";

  void thread(int index) {
    if (index == 0) {
      unload_and_destroy();
      return;
    }
    tlb_going_idle(sys);
    tlb_service(sys);
    kernel_read(1);
  }
};

// Two unloads find the CPU halted, awake, or on the way.
class TwoUnloadsAgainstIdling : public KernelPage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/kernel_unload_against_idling_twice";
  static constexpr const char* kClaim = "no request to flush is lost between two sleeps";

  void thread(int index) {
    if (index == 0) {
      unload_and_destroy();
      return;
    }
    for (int i = 0; i < 2; ++i) {
      tlb_going_idle(sys);
      tlb_service(sys);
      kernel_read(1);
    }
  }
};

// A thief of hments unmaps behind the back of a CPU that uses the page.
class HmentStealAgainstAccess : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/hment_steal_against_access";
  static constexpr const char* kClaim = "a stolen mapping is flushed like an unloaded one";

  HmentStealAgainstAccess() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    load(hat_, pagesize(), page_);
    put_on(1, hat_);
    access(1, 0, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 1) {
      read(0);
      return;
    }
    for (int i = 0; i < 2; ++i) {
      hment_t* const hm = hment_steal(sys);
      HAT_ASSERT(hm != nullptr);
      hment_free(sys, hm);
    }
    page_destroy(sys.vm, page_, 0);
  }

 private:
  page_t* const page_ = new_doomed_page();
  hat_t* const hat_ = new_hat();
};

// An address space becomes shared, and CPU 1 runs the first sharer, while one of its pages is
// unloaded: which CPUs are to be captured was decided before.
class CapturedUnloadAgainstFirstSharing : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "shootdown/unload_against_the_first_sharing_captured";
  static constexpr const char* kClaim = "no CPU of a sharer uses a page that its source unloaded";
  static constexpr Bounds kBounds = kBounded;

  CapturedUnloadAgainstFirstSharing()
      : HatModel(with_inval(two_levels(), InvalidationDesign::kCaptured)) {
    load(source_, 0, page_);
    put_on(1, sharer_);
  }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
      page_destroy(sys.vm, page_, 0);
      return;
    }
    load(source_, pagesize(), other_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_);
    read(0);
    read(0);
  }
  void check() override { unshare(sharer_); }

 private:
  page_t* const page_ = new_doomed_page();
  page_t* const other_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> shootdown_scenarios() {
  constexpr auto kA = InvalidationDesign::kCaptured;
  constexpr auto kC = InvalidationDesign::kShootdown;
  return scenario_list<
      UnloadAgainstAccess<kA>, UnloadAgainstAccess<kC>, UnloadAgainstSwitch<kA>,
      UnloadAgainstSwitch<kC>, UnloadAgainstLeaving<kA>, UnloadAgainstLeaving<kC>,
      TwoInitiators<kA>, TwoInitiators<kC>, TableAgainstWalk<kA>, TableAgainstWalk<kC>,
      SharedUnloadAgainstSharer<kA>, SharedUnloadAgainstSharer<kC>, SharedUnloadAgainstTwoSharers,
      UnshareAgainstAccess, NewTableAgainstWalk, NewMappingAgainstAccess,
      FrameLookupAgainstNewMapping, KernelUnloadAgainstAccess<kC>, KernelUnloadAgainstAccess<kA>,
      KernelUnloadAgainstIdling, TwoUnloadsAgainstIdling, HmentStealAgainstAccess,
      CapturedUnloadAgainstFirstSharing>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
