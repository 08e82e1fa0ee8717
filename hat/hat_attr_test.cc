#include "gtest/gtest.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class HatAttr : public HatTest {
 protected:
  using AttrCall = void (*)(System&, hat_t*, uintptr_t, uint64_t, uint32_t);
  void change(AttrCall call, uintptr_t va, uint64_t pages, uint32_t attr) {
    ReaderGuard guard(lock());
    call(sys(), hat_, va, pages * pagesize(), attr);
  }
  uint32_t attr_of(uintptr_t va, hat_t* hat = nullptr) {
    uint32_t attr = 0;
    EXPECT_EQ(hat_getattr(sys(), hat != nullptr ? hat : hat_, va, &attr), 0);
    return attr;
  }
};

// --- changing

TEST_F(HatAttr, ChgprotTakesWritingFromEveryCpu) {
  load(0, page_with(1));
  EXPECT_TRUE(write(0, 2, hat_, 1));
  change(&hat_chgprot, 0, 1, kReadOnly);
  EXPECT_FALSE(write(0, 3, hat_, 1));
  EXPECT_EQ(read(0, hat_, 1), 2);
}

TEST_F(HatAttr, TakingWritingMovesModifiedToThePage) {
  page_t* const pp = page_with(1);
  forget_nrm(pp);
  load(0, pp);
  write(0, 2);
  change(&hat_chgprot, 0, 1, kReadOnly);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(pte_at(0) & (PT_REF | PT_MOD), 0u);
}

TEST_F(HatAttr, GivingWritingLetsTheNextWriteThrough) {
  load(0, page_with(1), kReadOnly);
  EXPECT_FALSE(write(0, 2));
  change(&hat_setattr, 0, 1, PROT_WRITE_ATTR);
  EXPECT_TRUE(write(0, 2));
}

TEST_F(HatAttr, SetattrAddsClrattrTakesChgattrReplaces) {
  load(0, page_with(1), kReadOnly);
  EXPECT_EQ(attr_of(0), kReadOnly);
  change(&hat_setattr, 0, 1, PROT_EXEC_ATTR);
  EXPECT_EQ(attr_of(0), kReadOnly | PROT_EXEC_ATTR);
  change(&hat_setattr, 0, 1, PROT_WRITE_ATTR | HAT_NOSYNC);
  EXPECT_EQ(attr_of(0), kReadWrite | PROT_EXEC_ATTR | HAT_NOSYNC);
  change(&hat_clrattr, 0, 1, PROT_EXEC_ATTR);
  EXPECT_EQ(attr_of(0), kReadWrite | HAT_NOSYNC);
  change(&hat_clrattr, 0, 1, PROT_WRITE_ATTR | HAT_NOSYNC);
  EXPECT_EQ(attr_of(0), kReadOnly);
  change(&hat_chgattr, 0, 1, PROT_WRITE_ATTR | HAT_NOSYNC);
  EXPECT_EQ(attr_of(0), kReadWrite | HAT_NOSYNC);
  change(&hat_chgattr, 0, 1, PROT_EXEC_ATTR);
  EXPECT_EQ(attr_of(0), kReadOnly | PROT_EXEC_ATTR);
}

TEST_F(HatAttr, ChgprotLeavesNosyncAlone) {
  load(0, page_with(1), kReadWrite | HAT_NOSYNC);
  change(&hat_chgprot, 0, 1, kReadOnly);
  EXPECT_EQ(attr_of(0), kReadOnly | HAT_NOSYNC);
}

TEST_F(HatAttr, BecomingNosyncSavesTheBitsThenSetsBoth) {
  page_t* const pp = page_with(1);
  forget_nrm(pp);
  load(0, pp);
  read(0);
  change(&hat_setattr, 0, 1, HAT_NOSYNC);
  EXPECT_EQ(nrm(pp), P_REF);
  EXPECT_EQ(pte_at(0) & (PT_REF | PT_MOD), PT_REF | PT_MOD);
  unload(0);
  EXPECT_EQ(nrm(pp), P_REF);
}

TEST_F(HatAttr, ARangeIsChangedToItsEndAndNoFurther) {
  page_t* const large = world_.new_large_page();
  load(page_va(2), page_with(0));
  load_array(page_va(4), run_of(large, 4));
  load(page_va(9), page_with(0));
  load(page_va(10), page_with(0));
  change(&hat_chgprot, page_va(2), 8, kReadOnly);
  EXPECT_EQ(attr_of(page_va(2)), kReadOnly);
  EXPECT_EQ(attr_of(page_va(5)), kReadOnly);
  EXPECT_EQ(attr_of(page_va(9)), kReadOnly);
  EXPECT_EQ(attr_of(page_va(10)), kReadWrite);
}

TEST_F(HatAttr, OffListMappingsAreNotChanged) {
  load(0, page_with(0), kReadWrite, HAT_LOAD_NOCONSIST);
  change(&hat_chgprot, 0, 1, kReadOnly);
  EXPECT_EQ(attr_of(0), kReadWrite | HAT_NOSYNC);
}

TEST_F(HatAttr, ChangesOfUserHatsNeedALock) {
  load(0, page_with(0));
  EXPECT_DEATH(hat_chgprot(sys(), hat_, 0, pagesize(), kReadOnly), "a_lock");
}

// --- syncing

TEST_F(HatAttr, SyncCopiesTheBits) {
  page_t* const pp = page_with(0);
  load(0, pp);
  write(0, 1);
  forget_nrm(pp);
  change(&hat_sync, 0, 1, HAT_SYNC_DONTZERO);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(pte_at(0) & PT_MOD, PT_MOD);
}

TEST_F(HatAttr, SyncWithZeroMovesTheBitsAndSeesTheNextWrite) {
  page_t* const pp = page_with(0);
  load(0, pp);
  write(0, 1);
  forget_nrm(pp);
  change(&hat_sync, 0, 1, HAT_SYNC_ZERORM);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(pte_at(0) & (PT_REF | PT_MOD), 0u);
  EXPECT_TRUE(write(0, 2));
  EXPECT_EQ(pte_at(0) & PT_MOD, PT_MOD);
}

TEST_F(HatAttr, SyncLeavesNosyncMappingsAlone) {
  page_t* const pp = page_with(0);
  load(0, pp, kReadWrite | HAT_NOSYNC);
  forget_nrm(pp);
  change(&hat_sync, 0, 1, HAT_SYNC_ZERORM);
  EXPECT_EQ(nrm(pp), 0u);
  EXPECT_EQ(pte_at(0) & (PT_REF | PT_MOD), PT_REF | PT_MOD);
}

// --- probing

TEST_F(HatAttr, NothingIsFoundWhereNothingIsMapped) {
  uint32_t attr = 0;
  for (const uintptr_t va : {page_va(3), sys().mmu().hole_start(), sys().kmap_addr}) {
    hat_t* const hat = va == sys().kmap_addr ? sys().kas_hat() : hat_;
    EXPECT_FALSE(hat_probe(sys(), hat, va));
    EXPECT_EQ(hat_getpfnum(sys(), hat, va), PFN_INVALID);
    EXPECT_EQ(hat_getattr(sys(), hat, va, &attr), -1);
    EXPECT_EQ(hat_getpagesize(sys(), hat, va), -1);
  }
  EXPECT_EQ(hat_get_mapped_size(sys(), hat_), 0u);
}

TEST_F(HatAttr, NothingIsFoundBesideAMapping) {
  load(page_va(3), page_with(0));
  EXPECT_FALSE(hat_probe(sys(), hat_, page_va(2)));
  EXPECT_EQ(hat_getpagesize(sys(), hat_, page_va(2)), -1);
}

TEST_F(HatAttr, AMappingIsFoundAtEachOfItsAddresses) {
  page_t* const small = page_with(0);
  page_t* const large = world_.new_large_page();
  load(page_va(3), small, kReadOnly);
  load_array(page_va(4), run_of(large, 4));
  EXPECT_TRUE(hat_probe(sys(), hat_, page_va(3) + 8));
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(3) + 8), small->p_pagenum);
  EXPECT_EQ(hat_getpagesize(sys(), hat_, page_va(3)), static_cast<int64_t>(pagesize()));
  EXPECT_EQ(attr_of(page_va(3)), kReadOnly);
  EXPECT_TRUE(hat_probe(sys(), hat_, page_va(6)));
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(6) + 8), large->p_pagenum + 2);
  EXPECT_EQ(hat_getpagesize(sys(), hat_, page_va(6)), static_cast<int64_t>(4 * pagesize()));
  EXPECT_EQ(hat_get_mapped_size(sys(), hat_), 5 * pagesize());
}

TEST_F(HatAttr, TheSegkmapWindowIsProbedDirectly) {
  page_t* const pp = page_with(0);
  hat_t* const kas = sys().kas_hat();
  const uintptr_t va = sys().kmap_addr + 2 * pagesize();
  hat_memload(sys(), kas, va, pp, PROT_READ_ATTR, HAT_LOAD);
  EXPECT_TRUE(hat_probe(sys(), kas, va));
  EXPECT_EQ(hat_getpfnum(sys(), kas, va), pp->p_pagenum);
  EXPECT_EQ(attr_of(va, kas), PROT_READ_ATTR);
  hat_unload(sys(), kas, va, pagesize(), HAT_UNLOAD);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
