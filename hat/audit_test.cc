// Proof that no check of the audit is vacuous: each test damages one thing in a sound system and expects
// the audit to name exactly that invariant, the object and the field.
#include "hat/audit.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "hat/hat_for_test.h"
#include "hat/hment_index.h"
#include "hat/hment_reserve.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

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
    load(page_va(12), embedded_, kReadWrite, HAT_LOAD, hat_);
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

TEST_F(AuditTest, ASoundSystemPassesAndIsCounted) {
  AuditCounts counts;
  const absl::Status status = hat_audit(sys(), {}, &counts);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(counts.hats, 4u);
  EXPECT_EQ(counts.hments, 3u);
  EXPECT_EQ(counts.longest_list, 3u);
  EXPECT_EQ(counts.embedded, 3u);  // embedded_, large_, the source's page
  EXPECT_EQ(counts.pages, 4u);
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
  Damage damage(listed_->p_offset, listed_->p_offset.load(kRelaxed) + (1u << 20));
  expect_broken("invariant 42: page ");
}

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
  htable_t* const other = htable_create(sys(), user_, page_va(16), 0, nullptr);
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
  const std::string what = absl::StrFormat("invariant 34: htable hat=0 va=%#x level=0 entry 0", va);
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
    core.tlb().psc_insert(PscEntry{.va = page_va(12), .level = 1, .table = table_->ht_pfn()});
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
