// REF and MOD: the hardware sets them while software reads, clears and takes away.
//
// In all of these CPU 1 writes, once, and what it wrote must not be forgotten: P_MOD of the page,
// or MOD of a valid PTE, says so in the end (invariant 32).
#include "hat/hment_reserve.h"
#include "hat/shootdown.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr bool is_blind(ModVariant variant) { return variant == ModVariant::kBlindDirty; }

// CPU 1 runs `hat` and has read through the mapping of `page` at 0: a clean writable TLB entry.
template <ModVariant kVariant, InvalidationDesign kDesign = InvalidationDesign::kShootdown>
class Writer : public HatModel {
 public:
  static constexpr int kThreads = 2;

  void thread(int index) {
    if (index == 0) {
      software();
      returned_.store(1, std::memory_order_release);
      return;
    }
    const bool too_late = returned_.load(std::memory_order_acquire) != 0;
    const bool written = write(0, 7).ok;
    HAT_ASSERT(!(written && too_late && faults_afterwards()),
               "a write went through after write permission was taken");
    written_ = written;
  }
  void check() override {
    if (written_()) {
      HAT_ASSERT(is_modified(), "invariant 32: written, but neither page nor PTE knows");
    }
  }

 protected:
  explicit Writer(bool is_sorted = false)
      : HatModel(config()), page(new_page(is_sorted ? &sorted_file : &file)) {
    load(hat, 0, page);
    page->p_nrm.store(0, std::memory_order_relaxed);
    put_on(1, hat);
    access(1, 0, AccessKind::kRead);
  }
  virtual void software() = 0;
  // Whether a write that begins when software() has returned must fault.
  virtual bool faults_afterwards() const { return false; }

  bool is_modified() {
    if ((nrm(page) & P_MOD) != 0) return true;
    htable_t* const ht = find(hat, 0);
    if (ht == nullptr) return false;
    const x86pte_t pte = x86pte_get(sys, ht, 0);
    return PTE_ISVALID(pte) && (pte & PT_MOD) != 0;
  }

  page_t* const page;
  hat_t* const hat = new_hat();

 private:
  static SystemConfig config() {
    SystemConfig config = with_inval(two_levels(), kDesign);
    config.machine.mod_variant = kVariant;
    return config;
  }

  Atomic<int> returned_{0};
  Guarded<bool> written_{false};
};

template <ModVariant kVariant>
class PagesyncAgainstWrite : public Writer<kVariant> {
 public:
  static constexpr const char* kName =
      is_blind(kVariant) ? "refmod/pagesync_against_write_blind" : "refmod/pagesync_against_write";
  static constexpr const char* kClaim = "clearing REF and MOD of a page loses no write";

  void software() override {
    hat_pagesync(this->sys, this->page, HAT_SYNC_ZERORM);
    HAT_ASSERT((this->nrm(this->page) & P_REF) != 0, "what had been read is forgotten");
  }
};

template <ModVariant kVariant>
class SyncAgainstWrite : public Writer<kVariant> {
 public:
  static constexpr const char* kName =
      is_blind(kVariant) ? "refmod/hat_sync_against_write_blind" : "refmod/hat_sync_against_write";
  static constexpr const char* kClaim = "clearing REF and MOD of a range loses no write";

  void software() override {
    ReaderGuard guard(this->hat->hat_as()->a_lock);
    hat_sync(this->sys, this->hat, 0, this->pagesize(), HAT_SYNC_ZERORM);
  }
};

template <ModVariant kVariant>
class ProtectAgainstWrite : public Writer<kVariant> {
 public:
  static constexpr const char* kName =
      is_blind(kVariant) ? "refmod/chgprot_against_write_blind" : "refmod/chgprot_against_write";
  static constexpr const char* kClaim = "a write comes before the change and counts, or faults";

  void software() override {
    ReaderGuard guard(this->hat->hat_as()->a_lock);
    hat_chgprot(this->sys, this->hat, 0, this->pagesize(), kReadOnly);
  }
  bool faults_afterwards() const override { return true; }
};

// CPU 1 reads, which caches the entry anew if it was flushed too early, and then writes.
class ProtectAgainstReadAndWrite : public ProtectAgainstWrite<ModVariant::kBlindDirty> {
 public:
  static constexpr const char* kName = "refmod/chgprot_against_read_and_write";

  void thread(int index) {
    if (index == 1) read(0);
    Writer::thread(index);
  }
};

// The page's vnode keeps its modified pages apart: clearing P_MOD makes the next write fault.
template <ModVariant kVariant>
class ClearModAgainstWrite : public Writer<kVariant> {
 public:
  static constexpr const char* kName =
      is_blind(kVariant) ? "refmod/clrmod_against_write_blind" : "refmod/clrmod_against_write";
  static constexpr const char* kClaim = "on a VMODSORT vnode a later write is seen as a fault";

  ClearModAgainstWrite() : Writer<kVariant>(/*is_sorted=*/true) {
    this->page->p_nrm.store(P_MOD, std::memory_order_relaxed);
  }
  void software() override { hat_page_clrattr(this->sys, this->page, P_MOD); }
  bool faults_afterwards() const override { return true; }
};

// Two writes: one that may come while the software is at it, and one that may come afterwards.
class ProtectAgainstTwoWrites : public ProtectAgainstWrite<ModVariant::kBlindDirty> {
 public:
  static constexpr const char* kName = "refmod/chgprot_against_two_writes_blind";

  void thread(int index) {
    if (index == 1) write(0, 6);
    Writer::thread(index);
  }
};

class ClearModAgainstTwoWrites : public ClearModAgainstWrite<ModVariant::kRecheck> {
 public:
  static constexpr const char* kName = "refmod/clrmod_against_two_writes";

  void thread(int index) {
    if (index == 1) write(0, 6);
    Writer::thread(index);
  }
};

template <ModVariant kVariant, InvalidationDesign kDesign>
class UnloadAgainstWrite : public Writer<kVariant, kDesign> {
 public:
  static constexpr const char* kName =
      kDesign == InvalidationDesign::kCaptured
          ? (is_blind(kVariant) ? "refmod/unload_against_write_captured_blind"
                                : "refmod/unload_against_write_captured")
          : (is_blind(kVariant) ? "refmod/unload_against_write_shootdown_blind"
                                : "refmod/unload_against_write_shootdown");
  static constexpr const char* kClaim = "an unload takes the last MOD of the hardware to the page";
  // Hardware that does not look again writes MOD into the cleared PTE while the shootdown is on its
  // way: the one gap between the two designs (hat-facts 3.14).
  static constexpr Expectation kExpected =
      is_blind(kVariant) && kDesign == InvalidationDesign::kShootdown
          ? Expectation::violated(Kind::kAssertion)
          : Expectation::clean();

  void software() override { this->unload(this->hat, 0); }
  bool faults_afterwards() const override { return true; }
};

// A refault that changes the permission keeps what the hardware has noted in the old entry.
template <ModVariant kVariant>
class ReloadAgainstWrite : public Writer<kVariant> {
 public:
  static constexpr const char* kName =
      is_blind(kVariant) ? "refmod/reload_against_write_blind" : "refmod/reload_against_write";
  static constexpr const char* kClaim = "REF and MOD are carried over to the new entry";

  void software() override { this->load(this->hat, 0, this->page, kReadOnly); }
  bool faults_afterwards() const override { return true; }
};

// The hardware sets REF and MOD in an entry that it has not cached.
class UncachedWrite : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/unload_against_the_first_walk";
  static constexpr const char* kClaim = "an entry without REF is cached nowhere, flush or not";

  UncachedWrite() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    put_on(1, hat_);
  }
  void thread(int index) {
    if (index == 0) {
      unload(hat_, 0);
      // What the writer did is on the page by now, and nothing of it is left anywhere.
      is_modified_ = (nrm(page_) & P_MOD) != 0;
      page_destroy(sys.vm, page_, 0);
    } else {
      written_ = write(0, 7).ok;
    }
  }
  void check() override {
    HAT_ASSERT(!written_() || is_modified_(), "invariant 32: the write was forgotten");
  }

 private:
  page_t* const page_ = new_doomed_page();
  hat_t* const hat_ = new_hat();
  Guarded<bool> written_{false};
  Guarded<bool> is_modified_{false};
};

// A thief of hments collects REF and MOD like any unmapper.
class HmentStealAgainstWrite : public Writer<ModVariant::kRecheck> {
 public:
  static constexpr const char* kName = "refmod/hment_steal_against_write";
  static constexpr const char* kClaim = "a stolen mapping leaves its MOD to the page";

  HmentStealAgainstWrite() { load(other_, 0, page); }
  void software() override {
    for (int i = 0; i < 2; ++i) {
      hment_t* const hm = hment_steal(sys);
      if (hm != nullptr) hment_free(sys, hm);
    }
  }

 private:
  hat_t* const other_ = new_hat();
};

// Two threads change one PTE, each from what it saw.
class ProtectAgainstUnload : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/chgprot_against_unload";
  static constexpr const char* kClaim = "a mapping that is gone is not brought back";

  ProtectAgainstUnload() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 0) {
      ReaderGuard guard(hat_->hat_as()->a_lock);
      hat_chgprot(sys, hat_, 0, pagesize(), kReadOnly);
    } else {
      unload(hat_, 0);
    }
  }
  void check() override { HAT_ASSERT(!is_mapped(hat_, 0) && records(page_) == 0); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

class TwoProtects : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/two_changes_of_one_mapping";
  static constexpr const char* kClaim = "a change that lost a race is done again, on what is there";

  TwoProtects() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    ReaderGuard guard(hat_->hat_as()->a_lock);
    if (index == 0) {
      hat_clrattr(sys, hat_, 0, pagesize(), PROT_WRITE_ATTR);
    } else {
      hat_setattr(sys, hat_, 0, pagesize(), PROT_EXEC_ATTR);
    }
  }
  void check() override {
    uint32_t attr = 0;
    HAT_ASSERT(hat_getattr(sys, hat_, 0, &attr) == 0);
    HAT_ASSERT(attr == (PROT_READ_ATTR | PROT_EXEC_ATTR | PROT_USER_ATTR));
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// S18: nobody collects REF and MOD of such a mapping, so it has both from the start, and the
// hardware never writes the entry.
class NosyncAgainstPagesync : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/pagesync_of_a_mapping_that_is_not_synced";
  static constexpr const char* kClaim = "the entry keeps both bits, and the page gets neither";

  NosyncAgainstPagesync() : HatModel(two_levels()) {
    load(hat_, 0, page_, kReadWrite | HAT_NOSYNC);
    page_->p_nrm.store(0, std::memory_order_relaxed);
    put_on(1, hat_);
  }
  void thread(int index) {
    if (index == 0) {
      hat_pagesync(sys, page_, HAT_SYNC_ZERORM);
    } else {
      write(0, 7);
    }
  }
  void check() override {
    constexpr x86pte_t kBoth = PT_REF | PT_MOD;
    HAT_ASSERT((x86pte_get(sys, find(hat_, 0), 0) & kBoth) == kBoth);
    HAT_ASSERT((nrm(page_) & (P_REF | P_MOD)) == 0);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// S26: the mapping that is to be changed goes away, and its page is written back.
class ProtectAgainstUnloadAndClean : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/chgprot_against_unload_and_cleaning_of_the_page";
  static constexpr const char* kClaim = "a page that is clean and not mapped stays clean";

  ProtectAgainstUnloadAndClean() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    put_on(1, hat_);
    access(1, 0, AccessKind::kWrite, 7);
  }
  void thread(int index) {
    if (index == 0) {
      ReaderGuard guard(hat_->hat_as()->a_lock);
      hat_chgprot(sys, hat_, 0, pagesize(), kReadOnly);
    } else {
      unload(hat_, 0);
      hat_page_clrattr(sys, page_, P_MOD);
    }
  }
  void check() override { HAT_ASSERT((nrm(page_) & P_MOD) == 0, "nobody has written to it since"); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A sharer has no entries of its own to clear: REF and MOD stay for the source to collect.
class SyncThroughSharer : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/hat_sync_through_a_sharer_against_write";
  static constexpr const char* kClaim = "a sharer reads the bits, and changes no shared entry";

  SyncThroughSharer() : HatModel(two_levels()) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_);
    page_->p_nrm.store(0, std::memory_order_relaxed);
    put_on(1, sharer_);
    access(1, 0, AccessKind::kWrite, 6);
  }
  void thread(int index) {
    if (index == 1) {
      write(0, 7);
      return;
    }
    ReaderGuard guard(sharer_->hat_as()->a_lock);
    hat_sync(sys, sharer_, 0, pagesize(), HAT_SYNC_ZERORM);
    HAT_ASSERT((nrm(page_) & P_MOD) != 0, "the write before is not known");
  }
  void check() override {
    HAT_ASSERT((x86pte_get(sys, find(source_, 0), 0) & PT_MOD) != 0);
    put_on(1, sys.kas_hat());
    unshare(sharer_);
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
};

// Through a sharer, at another address than the source's.
class SharedUnloadAgainstWrite : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      "refmod/unload_of_a_shared_page_against_write_captured_blind";
  static constexpr const char* kClaim = "the CPUs of sharers are captured too";

  SharedUnloadAgainstWrite() : HatModel(blind()) {
    load(source_, 0, page_, kReadWrite, HAT_LOAD_SHARE);
    share(sharer_, source_, at_);
    page_->p_nrm.store(0, std::memory_order_relaxed);
    put_on(1, sharer_);
    access(1, at_, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
    } else {
      written_ = write(at_, 7).ok;
    }
  }
  void check() override {
    HAT_ASSERT(!written_() || (nrm(page_) & P_MOD) != 0, "invariant 32: the write was forgotten");
    put_on(1, sys.kas_hat());
    unshare(sharer_, at_);
  }

 private:
  static SystemConfig blind() {
    SystemConfig config = with_inval(three_levels(), InvalidationDesign::kCaptured);
    config.machine.mod_variant = ModVariant::kBlindDirty;
    return config;
  }
  // Where the second table begins.
  const uintptr_t at_ = 2 * pagesize();
  page_t* const page_ = new_page();
  hat_t* const source_ = new_hat();
  hat_t* const sharer_ = new_hat();
  Guarded<bool> written_{false};
};

// While the page's mlist is waited for, another page takes its place, and is written.
class SyncAgainstReplacement : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/hat_sync_against_replacement_of_the_page";
  static constexpr const char* kClaim = "bits go to the page that they are about";
  static constexpr Bounds kBounds = kBounded;

  SyncAgainstReplacement() : HatModel(two_levels()) {
    load(hat_, 0, old_);
    put_on(1, hat_);
    old_->p_nrm.store(0, std::memory_order_relaxed);
  }
  void thread(int index) {
    if (index == 0) {
      ReaderGuard guard(hat_->hat_as()->a_lock);
      hat_sync(sys, hat_, 0, pagesize(), 0);
    } else {
      unload(hat_, 0);
      load(hat_, 0, new_);
      HAT_ASSERT(write(0, 7).ok);
    }
  }
  void check() override {
    HAT_ASSERT((nrm(old_) & P_MOD) == 0, "nobody has written to the page that was there before");
  }

 private:
  page_t* const old_ = new_page();
  page_t* const new_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A large mapping is recorded at its first page; the bits are those of all its pages.
class PagesyncOfALargePage : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/pagesync_of_half_a_large_page_against_write";
  static constexpr const char* kClaim = "a write to any part of a large page is known of each";

  PagesyncOfALargePage() : HatModel(two_levels()) {
    load_large(hat_, 0, large_);
    put_on(1, hat_);
    for (page_t* const half : {large_, large_ + 1}) {
      half->p_nrm.store(0, std::memory_order_relaxed);
    }
  }
  void thread(int index) {
    if (index == 1) {
      written_.store(write(0, 7).ok ? 1 : 0, std::memory_order_release);
      return;
    }
    const bool before = written_.load(std::memory_order_acquire) != 0;
    const bool known = (hat_pagesync(sys, large_ + 1, HAT_SYNC_ZERORM) & P_MOD) != 0;
    HAT_ASSERT(known || !before, "the write is not known");
  }
  void check() override {
    hat_pageunload(sys, large_, HAT_FORCE_PGUNLOAD);
    HAT_ASSERT((nrm(large_) & nrm(large_ + 1) & P_MOD) != 0, "the write is not known of one page");
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
  Atomic<int> written_{0};
};

// The first page of a large one is also mapped small, and written there.
class PagesyncBesideASmallMapping : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "refmod/pagesync_of_a_page_beside_one_that_is_written";
  static constexpr const char* kClaim = "a write to one page of a large one is not the other's";

  PagesyncBesideASmallMapping() : HatModel(two_levels()) {
    load(hat_, 0, large_);
    put_on(1, hat_);
    access(1, 0, AccessKind::kWrite, 5);
  }
  void thread(int) {
    HAT_ASSERT((hat_pagesync(sys, large_ + 1, 0) & P_MOD) == 0);
    HAT_ASSERT((nrm(large_) & P_MOD) == 0, "what was asked for is the other page");
    HAT_ASSERT((hat_pagesync(sys, large_, 0) & P_MOD) != 0);
  }

 private:
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// The page is about to be thrown away, or is known to be modified: nobody wants the bits.
class UnloadWithoutSync : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "refmod/unload_without_syncing_against_write";
  static constexpr const char* kClaim = "the bits are thrown away with the mapping";

  UnloadWithoutSync() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    page_->p_nrm.store(0, std::memory_order_relaxed);
    put_on(1, hat_);
  }
  void thread(int index) {
    if (index == 0) {
      unload(hat_, 0, 1, HAT_UNLOAD_NOSYNC);
    } else {
      write(0, 7);
    }
  }
  void check() override { HAT_ASSERT(nrm(page_) == 0, "the page has bits that nobody wanted"); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// From now on nobody collects REF and MOD of the mapping: what they were goes to the page.
class NosyncAgainstWrite : public Writer<ModVariant::kRecheck> {
 public:
  static constexpr const char* kName = "refmod/setattr_to_not_synced_against_write";
  static constexpr const char* kClaim = "the bits so far go to the page, the entry has both";

  void software() override {
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_setattr(sys, hat, 0, pagesize(), HAT_NOSYNC);
    constexpr x86pte_t kBoth = PT_REF | PT_MOD;
    HAT_ASSERT((x86pte_get(sys, find(hat, 0), 0) & kBoth) == kBoth);
  }
  void check() override { HAT_ASSERT((nrm(page) & P_REF) != 0, "what had been read is forgotten"); }
};

}  // namespace

std::vector<AnyScenario> refmod_scenarios() {
  constexpr auto kRecheck = ModVariant::kRecheck;
  constexpr auto kBlind = ModVariant::kBlindDirty;
  constexpr auto kA = InvalidationDesign::kCaptured;
  constexpr auto kC = InvalidationDesign::kShootdown;
  return scenario_list<
      PagesyncAgainstWrite<kRecheck>, PagesyncAgainstWrite<kBlind>, SyncAgainstWrite<kRecheck>,
      SyncAgainstWrite<kBlind>, ProtectAgainstWrite<kRecheck>, ProtectAgainstWrite<kBlind>,
      ProtectAgainstReadAndWrite, ProtectAgainstTwoWrites, ClearModAgainstTwoWrites,
      ClearModAgainstWrite<kRecheck>, ClearModAgainstWrite<kBlind>,
      UnloadAgainstWrite<kRecheck, kA>, UnloadAgainstWrite<kBlind, kA>,
      UnloadAgainstWrite<kRecheck, kC>, UnloadAgainstWrite<kBlind, kC>,
      ReloadAgainstWrite<kRecheck>, ReloadAgainstWrite<kBlind>, UncachedWrite,
      HmentStealAgainstWrite, ProtectAgainstUnload, TwoProtects, NosyncAgainstPagesync,
      ProtectAgainstUnloadAndClean, SyncThroughSharer, SyncAgainstReplacement, PagesyncOfALargePage,
      NosyncAgainstWrite, PagesyncBesideASmallMapping, UnloadWithoutSync,
      SharedUnloadAgainstWrite>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
