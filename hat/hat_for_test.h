// Common to the tests of loading, unloading, attributes, sharing and the audit: programs that run
// on address spaces, and an audit at the end of every test.
#ifndef HATCHECK_HAT_HAT_FOR_TEST_H_
#define HATCHECK_HAT_HAT_FOR_TEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hat/audit.h"
#include "hat/hat.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/htable_for_test.h"
#include "hat/htable_walk.h"
#include "hat/shootdown.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr uint32_t kReadOnly = PROT_READ_ATTR | PROT_USER_ATTR;
inline constexpr uint32_t kReadWrite = kReadOnly | PROT_WRITE_ATTR;

// Toy machines have pages of 32 bytes, large pages of 4, and user addresses 0 to 1023.
class HatTest : public ::testing::Test {
 protected:
  explicit HatTest(const SystemConfig& config = toy_config())
      : world_(config), hat_(world_.new_hat()) {}

  void TearDown() override {
    for (CpuId cpu = 0; cpu < sys().machine.ncpus(); ++cpu) run_on(cpu, sys().kas_hat());
    expect_sound();
  }

  System& sys() { return world_.sys; }
  RwLock& lock() { return hat_->hat_as()->a_lock; }
  uintptr_t page_va(uint64_t page) { return page * sys().mmu().pagesize(); }
  uint64_t pagesize() { return sys().mmu().pagesize(); }

  void expect_sound(const AuditOptions& options = {}) {
    const absl::Status status = hat_audit(sys(), options);
    EXPECT_TRUE(status.ok()) << status.message();
  }

  // --- programs
  void run_on(CpuId cpu, hat_t* hat) {
    CpuBinding binding(cpu);
    hat_switch(sys(), hat);
  }
  // What a user program of hat on the CPU reads at va; nothing if it faults.
  std::optional<uint64_t> read(uintptr_t va, hat_t* hat = nullptr, CpuId cpu = 0) {
    run_on(cpu, hat != nullptr ? hat : hat_);
    const AccessResult result = sys().machine.access(cpu, va, AccessKind::kRead, Privilege::kUser);
    return result.ok ? std::optional<uint64_t>(result.value) : std::nullopt;
  }
  bool write(uintptr_t va, uint64_t value, hat_t* hat = nullptr, CpuId cpu = 0) {
    run_on(cpu, hat != nullptr ? hat : hat_);
    return sys().machine.access(cpu, va, AccessKind::kWrite, Privilege::kUser, value).ok;
  }

  // --- pages
  page_t* page_with(uint64_t value) {
    page_t* const pp = world_.new_page();
    sys().machine.mem().word(pp->p_pagenum, 0).store(value, std::memory_order_relaxed);
    return pp;
  }
  uint64_t value_in(const page_t* pp) {
    return sys().machine.mem().word(pp->p_pagenum, 0).load(std::memory_order_relaxed);
  }
  static uint32_t nrm(const page_t* pp) { return pp->p_nrm.load(std::memory_order_relaxed); }
  static void forget_nrm(page_t* pp) { pp->p_nrm.store(0, std::memory_order_relaxed); }
  std::vector<page_t*> run_of(page_t* first, uint64_t count) {
    std::vector<page_t*> pages;
    for (uint64_t i = 0; i < count; ++i) {
      pages.push_back(page_numtopp_nolock(sys().vm, first->p_pagenum + i));
    }
    return pages;
  }

  // --- calls under a_lock
  void load(uintptr_t va, page_t* pp, uint32_t attr = kReadWrite, uint32_t flags = HAT_LOAD,
            hat_t* hat = nullptr) {
    hat = hat != nullptr ? hat : hat_;
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_memload(sys(), hat, va, pp, attr, flags);
  }
  void load_array(uintptr_t va, std::vector<page_t*> pages, uint32_t flags = HAT_LOAD,
                  hat_t* hat = nullptr) {
    hat = hat != nullptr ? hat : hat_;
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_memload_array(sys(), hat, va, pages.size() * pagesize(), pages.data(), kReadWrite, flags);
  }
  void unload(uintptr_t va, uint64_t pages = 1, uint32_t flags = HAT_UNLOAD, hat_t* hat = nullptr) {
    hat = hat != nullptr ? hat : hat_;
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_unload(sys(), hat, va, pages * pagesize(), flags);
  }

  // --- a look at the tables
  x86pte_t pte_at(uintptr_t va, hat_t* hat = nullptr) {
    uint32_t entry;
    x86pte_t pte = 0;
    htable_t* const ht = htable_getpte(sys(), hat != nullptr ? hat : hat_, va, &entry, &pte,
                                       sys().mmu().max_page_level);
    if (ht != nullptr) htable_release(sys(), ht);
    return pte;
  }
  static int64_t mapped(const hat_t* hat, level_t level) {
    return hat->hat_pages_mapped[static_cast<size_t>(level)].load(std::memory_order_relaxed);
  }

  TestWorld world_;
  hat_t* const hat_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_FOR_TEST_H_
