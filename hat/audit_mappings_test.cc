// The audit of mapping lists, entries and counts.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "hat/audit_for_test.h"
#include "hat/hment_index.h"
#include "hat/hment_reserve.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// --- mapping lists

TEST_F(AuditTest, Invariant1NamesAnEmbeddedMappingThatIsNone) {
  const std::string what = absl::StrCat("invariant 1: page ", embedded_->p_pagenum, ": p_embed ");
  {
    Damage damage(embedded_->p_mapping, static_cast<void*>(nullptr));
    expect_broken(what + "set, p_mapping is no hashed table");
  }
  {
    Damage damage(embedded_->p_mapping, static_cast<void*>(world_.cached(hat_)[0]));
    expect_broken(what + "set, p_mapping is no hashed table");
  }
  Damage damage(embedded_->p_share, 1);
  expect_broken(what + "set, p_share 1");
}

TEST_F(AuditTest, Invariant2NamesAListOfAnotherLength) {
  const std::string what = absl::StrCat("invariant 2: page ", listed_->p_pagenum, ": p_share ");
  {
    Damage damage(listed_->p_share, 2);
    expect_broken(what + "2, list length 3");
  }
  {
    Damage damage(listed_->p_mapping, static_cast<void*>(nullptr));
    expect_broken(what + "3, list length 0");
  }
  Damage damage(hment(listed_, 1)->hm_next, nullptr);
  expect_broken(what + "3, list length 2");
}

TEST_F(AuditTest, Invariant3NamesAListWhoseLinksDisagree) {
  const std::string what = absl::StrCat("invariant 3: page ", listed_->p_pagenum, ": ");
  {
    Damage damage(hment(listed_, 0)->hm_prev, hment(listed_, 1));
    expect_broken(what + "hm_prev of hment 0");
  }
  {
    Damage damage(hment(listed_, 2)->hm_prev, nullptr);
    expect_broken(what + "hm_prev of hment 2");
  }
  Damage damage(hment(listed_, 2)->hm_next, hment(listed_, 0));
  expect_broken(what + "hment 3 of the list is on a list already");
}

TEST_F(AuditTest, Invariant4NamesARecordOfAnotherPage) {
  Damage damage(hment(listed_, 1)->hm_pfn, embedded_->p_pagenum);
  expect_broken(absl::StrCat("invariant 4: page ", listed_->p_pagenum, ": hment 1 has hm_pfn ",
                             embedded_->p_pagenum));
}

TEST_F(AuditTest, Invariant10NamesARecordOfATableThatIsGone) {
  Damage damage(hment(listed_, 1)->hm_htable, world_.cached(hat_)[0]);
  expect_broken(absl::StrCat("invariant 10: page ", listed_->p_pagenum, ": hment 1: hm_htable"));
}

TEST_F(AuditTest, Invariant7NamesARecordWhoseEntryMapsSomethingElse) {
  const std::string of_embedded = absl::StrCat("invariant 7: page ", embedded_->p_pagenum, ": ");
  {
    Damage damage(embedded_->p_mlentry, 1);
    expect_broken(of_embedded + "record of htable hat=1 va=0x0 level=0 entry 1, whose pte is 0x");
  }
  {
    Damage damage(embedded_->p_mlentry, 99);
    expect_broken(of_embedded + "record of htable hat=1 va=0x0 level=0 entry 99: no such entry");
  }
  {
    Damage damage(word(table_, 0), 0);
    expect_broken(of_embedded + "record of htable hat=1 va=0x0 level=0 entry 0, whose pte is 0x0");
  }
  Damage damage(hment(listed_, 1)->hm_entry, 0);
  expect_broken(absl::StrCat("invariant 7: page ", listed_->p_pagenum, ": record of "));
}

TEST_F(AuditTest, Invariant7NamesALargeMappingOfASmallPage) {
  for (page_t* pp : run_of(large_, 4)) pp->p_szc.store(0, kRelaxed);
  expect_broken(absl::StrCat("invariant 7: page ", large_->p_pagenum, ": p_szc 0, mapped by "));
  for (page_t* pp : run_of(large_, 4)) pp->p_szc.store(1, kRelaxed);
}

TEST_F(AuditTest, Invariant9NamesARecordOfAnOffListEntry) {
  Damage damage(word(table_, 2), pte(table_, 2) | PT_NOCONSIST);
  expect_broken(absl::StrCat("invariant 9: page ", listed_->p_pagenum,
                             ": record of htable hat=1 va=0x0 level=0 entry 2"));
}

TEST_F(AuditTest, Invariant6NamesAMappingRecordedTwice) {
  // The two mappings of hat=1 are the last of the list.
  Damage damage(hment(listed_, 2)->hm_entry, hment(listed_, 1)->hm_entry());
  expect_broken(absl::StrCat("invariant 6: page ", listed_->p_pagenum,
                             ": two records of htable hat=1 va=0x0 level=0 entry 3"));
}

TEST_F(AuditTest, Invariant5NamesAListedRecordThatIsNotIndexed) {
  hment_t* const hm = hment(listed_, 1);
  ASSERT_EQ(sys().hment_index->remove(HmentKey{hm->hm_htable(), hm->hm_entry(), hm->hm_pfn()}), hm);
  expect_broken("invariant 5: 3 hments on lists, 2 in the index");
  sys().hment_index->insert(hm);
}

TEST_F(AuditTest, Invariant5NamesAnIndexedRecordThatIsOnNoList) {
  hment_t* const hm = hment_alloc(sys());
  hm->hm_htable = table_;
  hm->hm_entry = 1;
  hm->hm_pfn = off_list_->p_pagenum;
  sys().hment_index->insert(hm);
  expect_broken(absl::StrCat("invariant 5: hment with hm_pfn ", off_list_->p_pagenum,
                             ", hm_entry 1 in bucket "));
  sys().hment_index->remove(HmentKey{table_, 1, off_list_->p_pagenum});
  hment_free(sys(), hm);
}

TEST_F(AuditTest, Invariant5NamesABrokenIndex) {
  Damage damage(hment(listed_, 0)->hm_hash_balance, 5);
  expect_broken("invariant 5: ");
}

TEST_F(AuditTest, Invariant39NamesRecordsThatAreNowhere) {
  {
    Damage damage(sys().hment_reserve.count, 50);
    expect_broken("invariant 39: hment_reserve: count 50, list length ");
  }
  {
    Damage damage(sys().hment_reserve.pool, hment(listed_, 0));
    expect_broken("invariant 39: hment_reserve: hment 0 is in use");
  }
  hment_t* const lost = sys().hment_cache.alloc(KmFlag::kSleep);
  expect_broken(absl::StrCat("invariant 39: ", sys().hment_cache.outstanding(),
                             " hments allocated, 3 listed"));
  sys().hment_cache.free(lost);
}

// --- entries and counts

TEST_F(AuditTest, Invariant36NamesAPageAmongPointers) {
  Damage damage(word(user_->hat_htable(), 1), MAKEPTE(0, 2) | PT_NOCONSIST);
  expect_broken("invariant 36: htable hat=1 va=0x0 level=2 entry 1: page in a table of pointers");
}

TEST_F(AuditTest, Invariant34NamesAMappingWithWrongPrivilege) {
  {
    Damage damage(word(table_, 1), pte(table_, 1) | PT_GLOBAL);
    expect_broken("invariant 34: htable hat=1 va=0x0 level=0 entry 1: pte 0x");
  }
  const uintptr_t va = sys().kmap_addr;
  hat_memload(sys(), sys().kas_hat(), va, off_list_, PROT_READ_ATTR, HAT_LOAD_NOCONSIST);
  htable_t* const kmap = hat_kmap_table(sys(), va);
  const std::string what =
      absl::StrFormat("invariant 34: htable hat=0 va=0x%x level=0 entry 0", va);
  {
    Damage damage(word(kmap, 0), pte(kmap, 0) | PT_USER);
    expect_broken(what);
  }
  {
    Damage damage(word(kmap, 0), pte(kmap, 0) & ~PT_GLOBAL);
    expect_broken(what);
  }
  hat_unload(sys(), sys().kas_hat(), va, pagesize(), HAT_UNLOAD);
}

TEST_F(AuditTest, Invariant35NamesACopyThatDiffersFromTheKernels) {
  const uint32_t entry = sys().mmu().index(sys().kernelbase, 2);
  Damage damage(word(user_->hat_htable(), entry), 0);
  expect_broken(absl::StrCat("invariant 35: htable hat=1 va=0x0 level=2 entry ", entry, ": 0x0, "));
}

TEST_F(AuditTest, Invariant8NamesAMappingWithoutRecord) {
  Damage damage(word(table_, 1), pte(table_, 1) & ~PT_SOFTWARE);
  expect_broken("invariant 8: htable hat=1 va=0x0 level=0 entry 1: pte 0x");
}

TEST_F(AuditTest, Invariant11NamesAWrongCountOfValidEntries) {
  {
    Damage damage(table_->ht_valid_cnt, 3);
    expect_broken("invariant 11: htable hat=1 va=0x0 level=0: ht_valid_cnt 3, valid entries 4");
  }
  Damage damage(user_->hat_htable()->ht_valid_cnt, 4);
  expect_broken("invariant 11: htable hat=1 va=0x0 level=2: ht_valid_cnt 4, valid entries 1");
}

TEST_F(AuditTest, Invariant22NamesLocksThatCannotBe) {
  const std::string what = "invariant 22: htable hat=1 va=0x0 level=0: ht_lock_cnt ";
  {
    Damage damage(table_->ht_lock_cnt, 2);
    expect_broken(what + "2");
    EXPECT_TRUE(hat_audit(sys(), {.expect_no_locks = false}).ok());
  }
  {
    Damage damage(table_->ht_lock_cnt, -1);
    expect_broken(what + "-1", {.expect_no_locks = false});
  }
  {
    Damage damage(sys().kas_hat()->hat_htable()->ht_lock_cnt, 1);
    expect_broken("invariant 22: htable hat=0 va=0x0 level=2: ", {.expect_no_locks = false});
  }
  htable_t* const ht = htable_create(sys(), hat_, page_va(16), 1, nullptr);
  htable_release(sys(), ht);  // upper tables stay when they are empty
  Damage damage(ht->ht_lock_cnt, 1);
  expect_broken("invariant 22: htable hat=3 va=0x200 level=1: ht_lock_cnt 1, ht_valid_cnt 0",
                {.expect_no_locks = false});
}

TEST_F(AuditTest, Invariant23NamesAWrongCountOfMappedPages) {
  {
    Damage damage(user_->hat_pages_mapped[0], 3);
    expect_broken("invariant 23: hat=1: hat_pages_mapped[0] 3, valid pages 4");
  }
  {
    Damage damage(user_->hat_pages_mapped[1], 0);
    expect_broken("invariant 23: hat=1: hat_pages_mapped[1] 0, valid pages 1");
  }
  Damage damage(user_->hat_ism_pgcnt, 2);
  expect_broken("invariant 23: hat=1: hat_ism_pgcnt 2, in shared tables 1");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
