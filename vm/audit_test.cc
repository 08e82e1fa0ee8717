// The audit names what is broken: each test breaks one thing, looks, and mends it.
#include "vm/audit.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using ::testing::ContainsRegex;

class VmAudit : public VmTest {
 protected:
  std::string verdict() { return std::string(vm_audit(vm).message()); }

  page_t* used = unlocked(0);
  page_t* cached = cached_page(file, 1);
  page_t* free_page = &vm.pages[31];

 private:
  page_t* unlocked(uint64_t index) {
    page_t* pp = new_page(file, index);
    page_unlock(vm, pp);
    return pp;
  }
};

TEST_F(VmAudit, ASoundSystemPasses) { EXPECT_EQ(verdict(), ""); }

TEST_F(VmAudit, PageLocksWithImpossibleValues) {
  used->p_selock.store(-7, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 41: page 0 .p_selock -7.*impossible"));
  used->p_selock.store(SE_EWANTED, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 41: page 0 .*SE_EWANTED"));
  used->p_selock.store(0, std::memory_order_relaxed);
  cached->p_selock.store(1, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 41: page 1 .*free and locked"));
  cached->p_selock.store(0, std::memory_order_relaxed);
}

TEST_F(VmAudit, ListsThatDoNotMatchTheFreeBits) {
  used->p_state.store(P_FREE, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant F2: page 0 .* on 0 lists instead of 1"));
  used->p_state.store(0, std::memory_order_relaxed);
  free_page->p_state.store(0, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant F2: page 31 .* is on free list .* not P_FREE"));
  free_page->p_state.store(P_FREE, std::memory_order_relaxed);
}

TEST_F(VmAudit, ListsThatAreNotRings) {
  page_t* prev = free_page->p_prev();
  free_page->p_prev = used;
  EXPECT_THAT(verdict(), ContainsRegex("invariant F2: page .* p_next and p_prev disagree"));
  free_page->p_prev = prev;
}

TEST_F(VmAudit, PagesOnTheWrongKindOfList) {
  free_page->p_vnode.store(&other, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant F3: page 31 .* has an identity and is on free"));
  free_page->p_vnode.store(nullptr, std::memory_order_relaxed);
}

TEST_F(VmAudit, CountersThatDoNotAddUp) {
  vm.freemem_count.fetch_add(1, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant F1: freemem 32, pages on lists 31"));
  vm.freemem_count.fetch_sub(1, std::memory_order_relaxed);
  page_list_t& list = vm.lists[free_page->p_pagenum >> vm.list_shift];
  list.free_count = list.free_count() + 1;
  EXPECT_THAT(verdict(), ContainsRegex("invariant F1: free list .* has 4 pages, its count says 5"));
  list.free_count = list.free_count() - 1;
  vm.freemem_waiters.store(1, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant F1: 1 threads wait for memory"));
  vm.freemem_waiters.store(0, std::memory_order_relaxed);
}

TEST_F(VmAudit, FreePagesThatAreStillInUse) {
  vm.set_mapping_ops(&mappings);
  mappings.mapped[cached] = 1;
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 1 .* is free and has 1 mappings"));
  mappings.mapped[cached] = 0;
  cached->p_nrm.store(P_MOD, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 1 .*p_nrm 0x1"));
  cached->p_nrm.store(0, std::memory_order_relaxed);
  cached->p_kpmref = 1;
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 1 .*p_kpmref 1"));
  cached->p_kpmref = 0;
  cached->p_lckcnt = 1;
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 1 .*p_lckcnt 1"));
  cached->p_lckcnt = 0;
  vm.set_mapping_ops(nullptr);
}

TEST_F(VmAudit, FramesOfTheWrongKind) {
  machine.mem().set_kind(0, FrameKind::kFree);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 0 .* is in use, its frame is free"));
  machine.mem().set_kind(0, FrameKind::kData);
  machine.mem().set_kind(31, FrameKind::kTable);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 40: page 31 .* is free, its frame is table"));
  machine.mem().set_kind(31, FrameKind::kFree);
}

TEST_F(VmAudit, IdentitiesThatAreNotHashedOrHashedTwice) {
  used->p_offset.store(vm.pagesize, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42: page [01] "));
  used->p_offset.store(0, std::memory_order_relaxed);
  page_trylock(vm, used, SE_EXCL);
  page_hashout(vm, used);
  used->p_vnode.store(&file, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42: page 0 .* is on 0 hash chains instead of 1"));
  used->p_vnode.store(nullptr, std::memory_order_relaxed);
  used->p_vpnext = used;
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42a: page 0 .* linked on a v_pages ring"));
  used->p_vpnext = nullptr;
  page_free(vm, used, 0);
}

TEST_F(VmAudit, TwoPagesWithOneIdentityOnOneChain) {
  Machine tiny_machine(small_machine(4));
  Vm tiny(VmConfig::tiny(), tiny_machine);
  page_t* ring = page_create_va(tiny, &other, 0, 2 * tiny.pagesize, PG_EXCL);
  ring->p_offset.store(tiny.pagesize, std::memory_order_relaxed);
  EXPECT_THAT(std::string(vm_audit(tiny).message()),
              ContainsRegex("invariant 42: page 0 .* has the identity of page 1"));
}

TEST_F(VmAudit, RingsThatMissAPageOrHoldAMarker) {
  page_t* next = used->p_vpnext();
  page_t marker;
  used->p_vpnext = &marker;
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42: page 0 .*p_vpnext and p_vpprev disagree"));
  used->p_vpnext = next;
  page_t* head = file.v_pages.load(std::memory_order_relaxed);
  file.v_pages.store(&marker, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42: v_pages of file"));
  file.v_pages.store(nullptr, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant 42: v_pages of file is empty"));
  file.v_pages.store(head, std::memory_order_relaxed);
}

TEST_F(VmAudit, LargePagesThatDisagreeOnTheirSize) {
  page_t* root = page_alloc_large(vm, nullptr, 0, 1);
  root[1].p_szc.store(0, std::memory_order_relaxed);
  EXPECT_THAT(verdict(), ContainsRegex("invariant G: page [0-9]+ .* disagrees on p_szc"));
  root[1].p_szc.store(1, std::memory_order_relaxed);
  page_destroy_pages(vm, root);
}

TEST_F(VmAudit, AvailrmemOutOfRange) {
  page_unresv(vm, 1);
  EXPECT_THAT(verdict(), ContainsRegex("invariant R: availrmem is 33 of 32 pages"));
  page_resv(vm, 1, KmFlag::kNoSleep);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
