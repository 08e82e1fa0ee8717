// What is asked and told about the attributes of a page or a mapping, without a race.
#include <array>
#include <string>

#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Who only wants to know whether a page is in use asks for no more than that: what is known already
// is the answer, and the first mapping that knows it ends the search.
class PagesyncThatMayStop : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "refmod/pagesync_that_may_stop";
  static constexpr const char* kClaim = "it looks as far as it must and no further";

  PagesyncThatMayStop() : HatModel(roomy()) {
    for (hat_t*& hat : hats_) {
      hat = new_hat();
      load(hat, 0, page_);
    }
  }
  void thread(int) {
    known_bits_are_the_answer();
    the_first_mapping_that_knows_is_enough();
    read_only_is_not_modified();
    many_mappings_are_use_enough();
  }

 private:
  static constexpr uint32_t kPoShare = 8;

  static SystemConfig roomy() {
    SystemConfig config = two_levels();
    config.machine.nframes = 40;
    return config;
  }
  void use(hat_t* hat, AccessKind kind) {
    put_on(0, hat);
    HAT_ASSERT(access(0, 0, kind, 5).ok);
    put_on(0, sys.kas_hat());
  }
  // Nothing is known of the page, and the first two mappings have been read, or written.
  void begin(AccessKind first, AccessKind second) {
    hat_pagesync(sys, page_, HAT_SYNC_ZERORM);
    use(hats_[0], first);
    use(hats_[1], second);
    page_->p_nrm.store(0, std::memory_order_relaxed);
  }
  bool ask_modified(uint32_t flags) { return (hat_pagesync(sys, page_, flags) & P_MOD) != 0; }

  void known_bits_are_the_answer() {
    begin(AccessKind::kWrite, AccessKind::kRead);
    page_->p_nrm.store(P_REF, std::memory_order_relaxed);
    HAT_ASSERT(!ask_modified(HAT_SYNC_STOPON_REF), "P_REF was known");
    HAT_ASSERT(ask_modified(HAT_SYNC_STOPON_MOD), "P_REF is not what was asked for");
    // Who clears wants it everywhere.
    hat_pagesync(sys, page_, HAT_SYNC_ZERORM | HAT_SYNC_STOPON_RM);
    for (hat_t* const hat : {hats_[0], hats_[1]}) {
      HAT_ASSERT((x86pte_get(sys, find(hat, 0), 0) & (PT_REF | PT_MOD)) == 0);
    }
  }
  void the_first_mapping_that_knows_is_enough() {
    begin(AccessKind::kWrite, AccessKind::kRead);
    const bool once = ask_modified(HAT_SYNC_STOPON_REF);
    begin(AccessKind::kRead, AccessKind::kWrite);
    HAT_ASSERT(ask_modified(HAT_SYNC_STOPON_REF) != once, "both mappings were looked at, or none");
    begin(AccessKind::kRead, AccessKind::kWrite);
    HAT_ASSERT(ask_modified(HAT_SYNC_STOPON_MOD), "it stopped at one that was read only");
    begin(AccessKind::kWrite, AccessKind::kRead);
    HAT_ASSERT(ask_modified(HAT_SYNC_STOPON_MOD), "it stopped at one that was read only");
  }
  void read_only_is_not_modified() {
    begin(AccessKind::kRead, AccessKind::kRead);
    page_->p_nrm.store(P_RO, std::memory_order_relaxed);
    HAT_ASSERT(hat_pagesync(sys, page_, HAT_SYNC_STOPON_MOD) == P_RO);
    HAT_ASSERT(hat_pagesync(sys, page_, HAT_SYNC_STOPON_REF) == (P_RO | P_REF));
  }
  void many_mappings_are_use_enough() {
    for (uint32_t count = kPoShare; count <= kPoShare + 1; ++count) {
      for (size_t i = 0; records(page_) < count; ++i) load(hats_[i], pagesize(), page_);
      begin(AccessKind::kWrite, AccessKind::kRead);
      HAT_ASSERT(ask_modified(HAT_SYNC_STOPON_SHARED) == (count <= kPoShare));
    }
  }

  page_t* const page_ = new_page();
  std::array<hat_t*, 5> hats_{};
};

// Each call changes what it names, in its range and nowhere else.
class AttributesOfAMapping : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "refmod/attributes_set_cleared_and_replaced";
  static constexpr const char* kClaim = "a mapping has the attributes that it was given last";

  AttributesOfAMapping() : HatModel(two_levels()) {
    load(hat_, 0, page_, kReadWrite | PROT_EXEC_ATTR);
    load(hat_, pagesize(), page_, kReadWrite);
  }
  void thread(int) {
    ReaderGuard guard(hat_->hat_as()->a_lock);
    expect(kReadWrite | PROT_EXEC_ATTR);
    hat_clrattr(sys, hat_, 0, pagesize(), PROT_WRITE_ATTR);
    expect(kReadOnly | PROT_EXEC_ATTR);
    hat_setattr(sys, hat_, 0, pagesize(), PROT_WRITE_ATTR);
    expect(kReadWrite | PROT_EXEC_ATTR);
    hat_clrattr(sys, hat_, 0, pagesize(), PROT_EXEC_ATTR);
    expect(kReadWrite);
    hat_setattr(sys, hat_, 0, pagesize(), HAT_NOSYNC);
    expect(kReadWrite | HAT_NOSYNC);
    hat_chgprot(sys, hat_, 0, pagesize(), kReadOnly);
    expect(kReadOnly | HAT_NOSYNC);
    hat_chgprot(sys, hat_, 0, pagesize(), kReadWrite | PROT_EXEC_ATTR);
    expect(kReadWrite | PROT_EXEC_ATTR | HAT_NOSYNC);
    hat_clrattr(sys, hat_, 0, pagesize(), HAT_NOSYNC);
    expect(kReadWrite | PROT_EXEC_ATTR);
    hat_setattr(sys, hat_, 0, pagesize(), HAT_NOSYNC);
    hat_chgattr(sys, hat_, 0, pagesize(), kReadOnly);
    expect(kReadOnly);
  }

 private:
  void expect(uint32_t wanted) {
    uint32_t attr = 0;
    HAT_ASSERT(hat_getattr(sys, hat_, 0, &attr) == 0 && attr == wanted,
               "attributes " + std::to_string(attr) + ", expected " + std::to_string(wanted));
    HAT_ASSERT(hat_getattr(sys, hat_, pagesize(), &attr) == 0 && attr == kReadWrite,
               "the page behind the range was changed");
  }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A range of three mappings, of which the one in the middle is on no list: nobody changes it or
// collects its bits.
class RangeWithAnOffListMapping : public HatModel {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "refmod/range_with_an_off_list_mapping";
  static constexpr const char* kClaim = "bits are cleared as asked, off-list mappings left alone";

  RangeWithAnOffListMapping() : HatModel(wide()) {
    for (uint64_t i = 0; i < 3; ++i) {
      load(hat_, i * pagesize(), page_, kReadWrite, i == 1 ? HAT_LOAD_NOCONSIST : HAT_LOAD);
    }
    put_on(0, hat_);
    for (uint64_t i = 0; i < 3; ++i) access(0, i * pagesize(), AccessKind::kWrite, i);
    page_->p_nrm.store(0, std::memory_order_relaxed);
  }
  void thread(int) {
    const x86pte_t off_list = pte(1);
    ReaderGuard guard(hat_->hat_as()->a_lock);
    hat_sync(sys, hat_, 0, 2 * pagesize(), HAT_SYNC_DONTZERO);
    HAT_ASSERT(nrm(page_) == (P_REF | P_MOD) && (pte(0) & kBoth) == kBoth);
    page_->p_nrm.store(0, std::memory_order_relaxed);
    hat_sync(sys, hat_, 0, 2 * pagesize(), HAT_SYNC_ZERORM);
    HAT_ASSERT(nrm(page_) == (P_REF | P_MOD) && (pte(0) & kBoth) == 0, "the bits were not cleared");
    hat_chgprot(sys, hat_, 0, 2 * pagesize(), kReadOnly);
    HAT_ASSERT((pte(0) & PT_WRITABLE) == 0 && pte(1) == off_list,
               "an off-list mapping was changed");
    HAT_ASSERT((pte(2) & (kBoth | PT_WRITABLE)) == (kBoth | PT_WRITABLE), "it is not in the range");
  }
  void check() override { put_on(0, sys.kas_hat()); }

 private:
  static constexpr x86pte_t kBoth = PT_REF | PT_MOD;
  static SystemConfig wide() {
    SystemConfig config = two_levels();
    config.machine.mmu.bits_per_level = 2;
    return config;
  }
  x86pte_t pte(uint32_t entry) { return x86pte_get(sys, find(hat_, 0), entry); }

  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> attribute_scenarios() {
  return scenario_list<PagesyncThatMayStop, AttributesOfAMapping, RangeWithAnOffListMapping>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
