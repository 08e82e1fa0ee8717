// Common to the tests of the audit: a system with one of everything, and ways to damage it.
//
// The tests prove that no check of the audit is vacuous: each damages one thing in a sound system
// and expects the audit to name exactly that invariant, the object and the field.
#ifndef HATCHECK_HAT_AUDIT_FOR_TEST_H_
#define HATCHECK_HAT_AUDIT_FOR_TEST_H_

#include <functional>
#include <string>
#include <type_traits>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "hat/audit.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

// Gives a field another value for a scope.
template <class T>
class Damage {
 public:
  Damage(Guarded<T>& field, std::type_identity_t<T> value)
      : old_(field()), restore_([&field](T v) { field = v; }) {
    field = value;
  }
  Damage(Atomic<T>& field, std::type_identity_t<T> value)
      : old_(field.load(kRelaxed)), restore_([&field](T v) { field.store(v, kRelaxed); }) {
    field.store(value, kRelaxed);
  }
  ~Damage() { restore_(old_); }
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;

 private:
  const T old_;
  const std::function<void(T)> restore_;
};

// A system with one of everything. Pages of the first address space (the newest hat, so hat=1):
//   0  embedded       1  off-list (and the only one that CPU 1 has cached)
//   2  listed         4-7 large          8-11 shared with hat=2, the source
// The listed page is mapped at 3 as well, and in hat=3.
class AuditTest : public HatTest {
 protected:
  explicit AuditTest(const SystemConfig& config = toy_config())
      : HatTest(config), source_(world_.new_hat()), user_(world_.new_hat()) {
    embedded_ = page_with(0);
    load(page_va(0), embedded_, kReadWrite, HAT_LOAD, user_);
    off_list_ = page_with(0);
    load(page_va(1), off_list_, kReadWrite, HAT_LOAD_NOCONSIST, user_);
    listed_ = page_with(0);
    load(page_va(2), listed_, kReadWrite, HAT_LOAD, user_);
    load(page_va(3), listed_, kReadWrite, HAT_LOAD, user_);
    load(page_va(2), listed_, kReadWrite, HAT_LOAD, hat_);
    large_ = world_.new_large_page();
    load_array(page_va(4), run_of(large_, 4), HAT_LOAD, user_);
    load(page_va(0), page_with(0), kReadWrite, HAT_LOAD_SHARE, source_);
    {
      WriterGuard guard(user_->hat_as()->a_lock);
      hat_share(sys(), user_, page_va(8), source_, 0, page_va(4), 0);
    }
    // Leaves a table in the cache.
    load(page_va(12), page_with(0), kReadWrite, HAT_LOAD, hat_);
    unload(page_va(12), 1, HAT_UNLOAD, hat_);
    write(page_va(1), 1, user_, 1);
    table_ = world_.find(user_, 0, 0);
  }
  void TearDown() override {
    {
      WriterGuard guard(user_->hat_as()->a_lock);
      hat_unshare(sys(), user_, page_va(8), page_va(4), 0);
    }
    HatTest::TearDown();
  }

  void expect_broken(const std::string& start, const AuditOptions& options = {}) {
    const absl::Status status = hat_audit(sys(), options);
    EXPECT_TRUE(absl::StartsWith(status.message(), start))
        << "expected: " << start << "\n     got: " << status.message();
  }
  Atomic<x86pte_t>& word(const htable_t* ht, uint32_t entry) {
    return sys().machine.mem().word(ht->ht_pfn(), entry);
  }
  x86pte_t pte(const htable_t* ht, uint32_t entry) { return word(ht, entry).load(kRelaxed); }
  htable_t* find(hat_t* hat, uint64_t page, level_t level) {
    return world_.find(hat, page_va(page), level);
  }
  hment_t* hment(const page_t* pp, int index) {
    auto* hm = static_cast<hment_t*>(pp->p_mapping.load(kRelaxed));
    for (; index > 0; --index) hm = hm->hm_next();
    return hm;
  }
  uint32_t bucket_of(const htable_t* ht) {
    return htable_hash(sys(), ht->ht_hat(), ht->ht_vaddr(), ht->ht_level());
  }
  void on_core(CpuId cpu, absl::FunctionRef<void(Core&)> f) { sys().machine.with_core(cpu, f); }
  // An entry for page 0 as a CPU would have cached it.
  TlbEntry embedded_entry() {
    const x86pte_t value = pte(table_, 0) | PT_REF;
    return TlbEntry{.va = 0,
                    .pfn = embedded_->p_pagenum,
                    .pte = value,
                    .table = table_->ht_pfn(),
                    .index = 0,
                    .level = 0,
                    .writable = true,
                    .user = true,
                    .nx = true,
                    .global = false,
                    .dirty = false,
                    .life = sys().machine.mem().life(embedded_->p_pagenum),
                    .table_life = sys().machine.mem().life(table_->ht_pfn())};
  }
  void expect_broken_with(const TlbEntry& entry, const std::string& start) {
    on_core(1, [&entry](Core& core) { core.tlb().insert(entry); });
    expect_broken(start);
    on_core(1, [](Core& core) { core.flush_all(); });
  }

  hat_t* const source_;  // hat=2; hat_ is hat=3
  hat_t* const user_;    // hat=1
  page_t* embedded_;
  page_t* off_list_;
  page_t* listed_;
  page_t* large_;
  htable_t* table_;  // of user_, level 0, pages 0 to 3
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_AUDIT_FOR_TEST_H_
