#include "hat/audit.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "hat/audit_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

TEST_F(AuditTest, ASoundSystemPassesAndIsCounted) {
  AuditCounts counts;
  const absl::Status status = hat_audit(sys(), {}, &counts);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(counts.hats, 4u);
  EXPECT_EQ(counts.hments, 3u);
  EXPECT_EQ(counts.longest_list, 3u);
  EXPECT_EQ(counts.embedded, 4u);  // embedded_, large_, the source's page, one of the kernel's heap
  EXPECT_EQ(counts.pages, 5u);
  EXPECT_EQ(counts.tlb_entries, 1u);
  EXPECT_GE(counts.mappings, 7u);
  EXPECT_GE(counts.tables, 12u);
}

TEST_F(AuditTest, TheDumpNamesEveryHatAndMapping) {
  const std::string dump = hat_dump(sys());
  EXPECT_TRUE(absl::StrContains(dump, "hat=0 (kernel)")) << dump;
  EXPECT_TRUE(absl::StrContains(dump, "hat=2 HAT_SHARED")) << dump;
  EXPECT_TRUE(absl::StrContains(dump, " shared\n")) << dump;
  EXPECT_TRUE(absl::StrContains(dump, absl::StrFormat("pte %#018x", pte(table_, 0)))) << dump;
}

// --- pages on their own (vm_audit)

TEST_F(AuditTest, Invariants40To42AreThoseOfThePageLayer) {
  {
    Damage damage(listed_->p_selock, SE_EWANTED);
    expect_broken("invariant 41: page ");
  }
  {
    page_t* free_page = page_first(sys().vm);
    while (!PP_ISFREE(free_page)) free_page = page_next(sys().vm, free_page);
    Damage damage(free_page->p_nrm, uint8_t{P_MOD});
    expect_broken("invariant 40: page ");
  }
  Damage damage(listed_->p_vnode, nullptr);
  expect_broken("invariant 42: page ");
}

// --- CPUs

TEST_F(AuditTest, Invariant27NamesACpuThatRunsSomethingElse) {
  Atomic<hat_t*>& current = sys().cpus[2].cpu_current_hat;
  {
    Damage damage(current, nullptr);
    expect_broken("invariant 27: cpu 2: cpu_current_hat is no hat");
  }
  {
    Damage damage(current, hat_);
    expect_broken("invariant 27: cpu 2: runs hat=3, but cr3 is frame ");
  }
  {
    user_->hat_cpus.del(1);
    expect_broken("invariant 27: cpu 1: runs hat=1, but is not in its set");
    user_->hat_cpus.add(1);
  }
  {
    sys().khat_cpuset.del(3);
    expect_broken("invariant 27: cpu 3: runs hat=0, but is not in its set");
    sys().khat_cpuset.add(3);
  }
  {
    source_->hat_cpus.add(2);
    expect_broken("invariant 27: hat=2: cpu 2 is in hat_cpus and runs another hat");
    source_->hat_cpus.del(2);
  }
  {
    Damage damage(sys().cpus[1].mcpu_tlb_info, TLB_CPU_HALTED);
    expect_broken("invariant 27: cpu 1: runs hat=1, mcpu_tlb_info 1");
  }
  Damage damage(sys().cpus[3].mcpu_tlb_info, TLB_INVAL_ALL);
  expect_broken("invariant 27: cpu 3: runs hat=0, mcpu_tlb_info 2");
}

TEST_F(AuditTest, Invariant29NamesAMappingThatWasRemovedWithoutAFlush) {
  Damage entry(word(table_, 1), 0);
  Damage valid(table_->ht_valid_cnt, 3);
  Damage mapped(user_->hat_pages_mapped[0], 3);
  expect_broken("invariant 29: cpu 1 TLB va=0x20 level=0");
}

TEST_F(AuditTest, Invariant29NamesAFrameThatBeganANewLife) {
  sys().machine.mem().set_kind(off_list_->p_pagenum, FrameKind::kData);
  expect_broken("invariant 29: cpu 1 TLB va=0x20 level=0");
  on_core(1, [](Core& core) { core.flush_all(); });
}

TEST_F(AuditTest, Invariant29NamesAnEntryFromAnotherTable) {
  TlbEntry entry = embedded_entry();
  entry.table = find(hat_, 0, 0)->ht_pfn();
  expect_broken_with(entry, "invariant 29: cpu 1 TLB va=0x0 level=0");
}

TEST_F(AuditTest, Invariant29NamesAPointerThatWasUnlinkedWithoutAFlush) {
  on_core(1, [this](Core& core) {
    core.tlb().psc_insert(PscEntry{page_va(12), 1, table_->ht_pfn(), {}});
  });
  expect_broken("invariant 29: cpu 1 paging structures va=0x180 level=1: stale pointer");
  on_core(1, [](Core& core) { core.flush_all(); });
}

TEST_F(AuditTest, AnIdleCpuThatWillFlushIsExcused) {
  run_on(2, sys().kas_hat());
  on_core(2, [this](Core& core) {
    TlbEntry entry = embedded_entry();  // of a hat that it does not run
    core.tlb().insert(entry);
  });
  expect_broken("invariant 29: cpu 2 TLB");
  Damage damage(sys().cpus[2].mcpu_tlb_info, TLB_CPU_HALTED | TLB_INVAL_ALL);
  EXPECT_TRUE(hat_audit(sys()).ok());
  on_core(2, [](Core& core) { core.flush_all(); });
}

TEST_F(AuditTest, Invariant30NamesRightsThatTheTablesDoNotGive) {
  const std::string what = "invariant 30: cpu 1 TLB va=0x0 level=0";
  Damage ref(word(table_, 0), pte(table_, 0) | PT_REF);
  TlbEntry entry = embedded_entry();
  expect_broken_with(entry, "");  // as it should be
  entry.dirty = true;
  expect_broken_with(entry, what);
  entry.dirty = false;
  entry.nx = false;
  expect_broken_with(entry, what);
  entry.nx = true;
  {
    Damage damage(word(table_, 0), pte(table_, 0) & ~PT_WRITABLE);
    expect_broken_with(entry, what);
  }
  Damage damage(word(table_, 0), pte(table_, 0) & ~PT_USER);
  expect_broken_with(entry, what);
}

TEST_F(AuditTest, Invariant31NamesAnEntryCachedWithoutRef) {
  const std::string what = "invariant 31: cpu 1 TLB va=0x0 level=0";
  TlbEntry entry = embedded_entry();
  expect_broken_with(entry, what);  // REF is not in the tables
  entry.pte &= ~PT_REF;
  expect_broken_with(entry, what);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
