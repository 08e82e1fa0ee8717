// The audit of hats and page tables.
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hat/audit_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// --- hats

TEST_F(AuditTest, Invariant26NamesTheBrokenLink) {
  hat_t* const kas = sys().kas_hat();
  {
    Damage damage(user_->hat_prev, source_);
    expect_broken("invariant 26: hat=1: hat_prev");
  }
  {
    Damage damage(hat_->hat_prev, nullptr);
    expect_broken("invariant 26: hat=3: hat_prev");
  }
  {
    Damage damage(kas->hat_prev, user_);
    expect_broken("invariant 26: hat=0: hat_prev is not the tail");
  }
  {
    Damage damage(hat_->hat_next, user_);
    expect_broken("invariant 26: hat after hat=3 is hat=1 again");
  }
  Damage damage(source_->hat_next, nullptr);
  Damage tail(kas->hat_prev, source_);
  expect_broken("invariant 26: 4 hats allocated, 3 on the list");
}

TEST_F(AuditTest, Invariant24NamesAHatThatNobodyRobs) {
  Damage damage(source_->hat_flags, HAT_SHARED | HAT_VICTIM);
  expect_broken("invariant 24: hat=2: HAT_VICTIM");
}

TEST_F(AuditTest, Invariant25NamesAnExitingHatThatRuns) {
  {
    Damage damage(sys().kas_hat()->hat_flags, HAT_FREEING);
    expect_broken("invariant 25: hat=0: hat_flags 1");
  }
  Damage damage(user_->hat_flags, HAT_FREEING);
  expect_broken("invariant 25: hat=1: HAT_FREEING, but cpu 1");
}

TEST_F(AuditTest, InvariantUNamesUnmappersThatAreNotThere) {
  {
    Damage damage(source_->hat_unmappers, 1);
    expect_broken("invariant U: hat=2: hat_unmappers 1");
  }
  Damage damage(sys().hat_free_waiters, 2);
  expect_broken("invariant U: hat_free_waiters 2");
}

TEST_F(AuditTest, Invariant58NamesADepthThatWasNotTakenBack) {
  Damage damage(sys().cpus[2].t_hatdepth, 1);
  expect_broken("invariant 58: cpu 2: t_hatdepth 1");
}

class AuditTestByThread : public AuditTest {
 protected:
  static SystemConfig config() {
    SystemConfig config = toy_config();
    config.reserves = ReserveDesign::kThread;
    return config;
  }
  AuditTestByThread() : AuditTest(config()) {}
};

TEST_F(AuditTestByThread, Invariant59NamesTheOwnerOfTheReserves) {
  sys().reserve_ownership->enter(sys(), HAT_NO_KALLOC);
  {
    Damage damage(sys().me().t_hatdepth, 0);
    expect_broken("invariant 59: cpu 0 still owns the reserves");
  }
  sys().reserve_ownership->exit(sys(), HAT_NO_KALLOC);
}

// --- where tables are

TEST_F(AuditTest, Invariant17NamesATableUnderAWrongIdentity) {
  {
    Damage damage(table_->ht_vaddr, page_va(2));
    expect_broken("invariant 17: htable hat=1 va=0x40 level=0: no such table");
  }
  {
    Damage damage(table_->ht_level, 3);
    expect_broken("invariant 17: htable hat=1 va=0x0 level=3: no such table");
  }
  {
    Damage damage(table_->ht_vaddr, page_va(4));
    expect_broken("invariant 17: htable hat=1 va=0x80 level=0 is in bucket ");
  }
}

TEST_F(AuditTest, Invariant17NamesATableThatExistsTwice) {
  // Another table of the same hat and bucket takes its identity.
  htable_t* const other = htable_create(sys(), user_, page_va(12), 0, nullptr);
  ASSERT_EQ(bucket_of(other), bucket_of(table_)) << "choose another address";
  {
    Damage damage(other->ht_vaddr, 0);
    expect_broken("invariant 17: htable hat=1 va=0x0 level=0 exists twice");
  }
  htable_release(sys(), other);
}

TEST_F(AuditTest, Invariant18NamesATableInAWrongPlace) {
  {
    Damage damage(table_->ht_prev, table_);
    expect_broken("invariant 18: htable hat=1 va=0x0 level=0: ht_prev");
  }
  {
    Damage damage(table_->ht_next, table_);
    expect_broken("invariant 18: htable hat=1 va=0x0 level=0 is hashed twice");
  }
  {
    Damage damage(table_->ht_hat, hat_);
    expect_broken("invariant 18: htable hat=3 va=0x0 level=0 is hashed in hat=1");
  }
  {
    Damage damage(user_->hat_htable, table_);
    expect_broken("invariant 18: hat=1: hat_htable");
  }
  {
    Damage damage(user_->hat_ht_cached, table_);
    expect_broken("invariant 18: htable hat=1 va=0x0 level=0 is in the cache of hat=1 and in an");
  }
  {
    Damage damage(sys().htable_reserve.pool, table_);
    expect_broken("invariant 18: htable hat=1 va=0x0 level=0 is on the reserve and in an");
  }
  htable_t* const lost = sys().htable_cache.alloc(KmFlag::kSleep);
  expect_broken(absl::StrCat("invariant 18: ", sys().htable_cache.outstanding(), " htables"));
  sys().htable_cache.free(lost);
}

TEST_F(AuditTest, Invariant19NamesACachedTableThatIsNotEmpty) {
  htable_t* const cached = world_.cached(hat_)[0];
  const std::string what = "invariant 19: table in the cache of hat=3: ";
  {
    Damage damage(cached->ht_hat, user_);
    expect_broken(what + "ht_hat is hat=1");
  }
  {
    Damage damage(cached->ht_pfn, PFN_INVALID);
    expect_broken(what + "ht_pfn 18446744073709551615");
  }
  {
    Damage damage(cached->ht_flags, HTABLE_SHARED_PFN);
    expect_broken(what + "ht_pfn ");
  }
  {
    Damage damage(cached->ht_valid_cnt, 1);
    expect_broken(what + "ht_valid_cnt 1");
  }
  {
    Damage damage(cached->ht_busy, 1);
    expect_broken(what + "ht_valid_cnt 0, ht_busy 1");
  }
  {
    Damage damage(word(cached, 3), PT_REF);
    EXPECT_TRUE(hat_audit(sys()).ok()) << "a leftover bit is tolerated";
  }
  Damage damage(word(cached, 3), PT_VALID);
  expect_broken(absl::StrCat(what, "frame ", cached->ht_pfn(), " entry 3 has pte 0x1"));
}

TEST_F(AuditTest, Invariant20NamesAReserveTableInUseAndAWrongCount) {
  htable_t* const reserved = sys().htable_reserve.pool();
  ASSERT_NE(reserved, nullptr);
  {
    Damage damage(reserved->ht_hat, user_);
    expect_broken("invariant 20: table on the reserve: ht_pfn 18446744073709551615, ht_hat hat=1");
  }
  {
    Damage damage(reserved->ht_pfn, pfn_t{5});
    expect_broken("invariant 20: table on the reserve: ht_pfn 5, ht_hat null");
  }
  Damage damage(sys().htable_reserve.count, 77);
  expect_broken("invariant 20: htable_reserve: count 77, list length ");
}

TEST_F(AuditTest, Invariant21NamesTheFrameOfATable) {
  const std::string what = "invariant 21: htable hat=1 va=0x0 level=0: ";
  const pfn_t pfn = table_->ht_pfn();
  page_t* const pp = page_numtopp_nolock(sys().vm, pfn);
  {
    Damage damage(table_->ht_pfn, PFN_INVALID - 1);
    expect_broken(what + "ht_pfn 18446744073709551614 is no memory");
  }
  {
    Damage damage(pp->p_selock, 0);
    expect_broken(absl::StrCat(what, "page ", pfn, " has p_selock 0"));
  }
  {
    Damage damage(pp->p_mapping, static_cast<void*>(table_));
    expect_broken(absl::StrCat(what, "page ", pfn, " is mapped"));
  }
  {
    sys().machine.mem().set_kind(pfn, FrameKind::kData);
    expect_broken(absl::StrCat(what, "frame ", pfn, " has kind data"));
    sys().machine.mem().set_kind(pfn, FrameKind::kTable);
    on_core(1, [](Core& core) { core.flush_all(); });
  }
  htable_t* const cached = world_.cached(hat_)[0];
  Damage damage(cached->ht_pfn, find(hat_, 0, 1)->ht_pfn());
  Damage entry(word(find(hat_, 0, 1), 0), 0);  // or it would not be empty
  expect_broken("invariant 21: htable hat=3 va=0x180 level=0: ht_pfn ");
}

TEST_F(AuditTest, Invariant21NamesTheOwnerOfATablesPage) {
  page_t* const pp = page_numtopp_nolock(sys().vm, table_->ht_pfn());
  // As another file's page: its name too, or the page layer would complain.
  page_unlock(sys().vm, pp);
  ASSERT_EQ(page_trylock(sys().vm, pp, SE_EXCL), 1);
  vnode_t* const vp = pp->p_vnode.load(kRelaxed);
  const uint64_t off = pp->p_offset.load(kRelaxed);
  page_hashout(sys().vm, pp);
  page_hashin(sys().vm, pp, &world_.file, uint64_t{1} << 30);
  page_downgrade(sys().vm, pp);
  expect_broken(absl::StrCat("invariant 21: htable hat=1 va=0x0 level=0: page ", pp->p_pagenum,
                             " belongs to file"));
  ASSERT_EQ(page_tryupgrade(sys().vm, pp), 1);
  page_hashout(sys().vm, pp);
  if (vp != nullptr) page_hashin(sys().vm, pp, vp, off);
  page_downgrade(sys().vm, pp);
}

TEST_F(AuditTest, Invariant60NamesWrongCountsOfFrames) {
  {
    Damage damage(sys().active_ptables, 3);
    expect_broken("invariant 60: active_ptables 3");
  }
  HATSTAT_INC(sys(), hs_ptable_allocs);
  expect_broken("invariant 60: active_ptables ");
  HATSTAT_INC(sys(), hs_ptable_frees);
}

TEST_F(AuditTest, Invariant62NamesASharerThatIsNotLikeItsSource) {
  htable_t* const sharer = find(user_, 8, 0);
  htable_t* const sharee = find(source_, 0, 0);
  const std::string what = "invariant 62: htable hat=1 va=0x100 level=0";
  {
    Damage damage(sharer->ht_flags, 0);
    expect_broken(what + ": ht_shares set without");
  }
  {
    Damage damage(sharer->ht_shares, nullptr);
    expect_broken(what + ": ht_shares is no hashed table");
  }
  {
    Damage damage(sharer->ht_shares, table_);
    expect_broken(what + ": ht_pfn ");
  }
  {
    Damage damage(source_->hat_flags, 0);
    expect_broken(what + " shares htable hat=2 va=0x0 level=0, whose hat is not shared");
  }
  {
    Damage damage(sharer->ht_lock_cnt, 1);
    expect_broken(what + ": shared, ht_lock_cnt 1");
  }
  Damage damage(sharee->ht_flags, HTABLE_SHARED_PFN);
  Damage shares(sharee->ht_shares, sharee);
  expect_broken("invariant 62: htable hat=");
}

TEST_F(AuditTest, Invariant62NamesARecordInASharersTable) {
  page_t* const pp = page_numtopp_nolock(sys().vm, PTE2PFN(pte(find(source_, 0, 0), 0), 0));
  Damage damage(pp->p_mapping, static_cast<void*>(find(user_, 8, 0)));
  expect_broken(absl::StrCat("invariant 62: page ", pp->p_pagenum,
                             ": record of htable hat=1 va=0x100 level=0 entry 0"));
}

// --- how tables hang together

TEST_F(AuditTest, Invariant16NamesAChildThatItsParentDoesNotKnow) {
  htable_t* const parent = table_->ht_parent();
  const std::string what = "invariant 16: htable hat=1 va=0x0 level=0";
  {
    Damage damage(table_->ht_parent, nullptr);
    expect_broken(what + ": ht_parent is no hashed table");
  }
  {
    Damage damage(table_->ht_parent, find(hat_, 0, 1));
    expect_broken(what + ": ht_parent is htable hat=3 va=0x0 level=1");
  }
  {
    Damage damage(word(parent, 0), pte(parent, 0) + 0x1000);
    expect_broken(absl::StrCat(what, ": ht_pfn ", table_->ht_pfn(), ", parent's entry 0 is 0x"));
  }
  {
    Damage damage(user_->hat_htable()->ht_parent, table_);
    expect_broken("invariant 16: htable hat=1 va=0x0 level=2: top table with ht_parent");
  }
  Damage damage(word(parent, 3), MAKEPTP(table_->ht_pfn()));
  expect_broken("invariant 16: htable hat=1 va=0x0 level=1 entry 3: pointer 0x");
}

TEST_F(AuditTest, Invariant14NamesAHoldTooManyAndTooFew) {
  {
    Damage damage(table_->ht_busy, 1);
    expect_broken("invariant 14: htable hat=1 va=0x0 level=0: ht_busy 1, children 0, sharers 0, p");
  }
  {
    Damage damage(find(source_, 0, 0)->ht_busy, 0);
    expect_broken("invariant 14: htable hat=2 va=0x0 level=0: ht_busy 0, children 0, sharers 1, p");
  }
  Damage damage(find(user_, 0, 1)->ht_busy, 1);
  expect_broken("invariant 14: htable hat=1 va=0x0 level=1: ht_busy 1, children 2, sharers 0, p");
}

TEST_F(AuditTest, Invariant15NamesAnEmptyTableThatNobodyHolds) {
  htable_t* const ht = htable_create(sys(), hat_, page_va(24), 0, nullptr);
  {
    Damage damage(ht->ht_busy, 0);
    expect_broken("invariant 15: htable hat=3 va=0x300 level=0: ht_busy 0 and ht_valid_cnt 0");
  }
  htable_release(sys(), ht);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
