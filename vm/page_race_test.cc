// The page layer under several threads. Nothing here depends on time: a thread that must be asleep
// is recognised by what it has let go of or announced.
#include "gtest/gtest.h"
#include "vm/page_list.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kRounds = kTsan ? 3'000 : 20'000;

class PageRace : public VmTest {
 protected:
  page_t* unlocked_page(uint64_t index) {
    page_t* pp = new_page(file, index);
    page_unlock(vm, pp);
    return pp;
  }
  uint32_t memory_waiters() { return vm.freemem_waiters.load(std::memory_order_relaxed); }
};

TEST_F(PageRace, ALookupNeverReturnsAnotherPageThanItWasAskedFor) {
  // Two identities and pages that keep changing between them: the lock-free probe often hits a page
  // that has moved on by the time it is locked.
  run_together(4, [&](uint32_t cpu) {
    vnode_t* vps[] = {&file, &other};
    for (int i = 0; i < kRounds; ++i) {
      vnode_t* vp = vps[choose(2)];
      const uint64_t off = choose(2) * vm.pagesize;
      if (cpu == 0) {
        page_t* pp = new_page_at(vp, off);
        if (pp == nullptr) pp = page_lookup(vm, vp, off, SE_EXCL);
        if (pp == nullptr) continue;
        if (choose(2) == 0) {
          page_free(vm, pp, 0);
        } else {
          page_destroy(vm, pp, 0);
        }
        continue;
      }
      const se_t se = choose(4) == 0 ? SE_EXCL : SE_SHARED;
      page_t* pp =
          choose(2) == 0 ? page_lookup(vm, vp, off, se) : page_lookup_nowait(vm, vp, off, se);
      if (pp == nullptr) continue;
      HAT_ASSERT(pp->p_vnode.load(std::memory_order_relaxed) == vp);
      HAT_ASSERT(pp->p_offset.load(std::memory_order_relaxed) == off);
      HAT_ASSERT(!PP_ISFREE(pp) && (se == SE_EXCL ? PAGE_EXCL(pp) : PAGE_SHARED(pp)));
      page_release(vm, pp, 0);
    }
  });
}

TEST_F(PageRace, OneOfManyCreatorsWins) {
  Atomic<int> winners{0};
  for (int round = 0; round < 200; ++round) {
    run_together(4, [&](uint32_t) {
      page_t* ring = page_create_va(vm, &file, 0, vm.pagesize, PG_EXCL | PG_WAIT);
      if (ring == nullptr) return;
      winners.fetch_add(1, std::memory_order_relaxed);
      page_io_unlock(vm, ring);
      page_t* pp = ring;
      page_sub(&ring, pp);
      page_unlock(vm, pp);
    });
    page_destroy(vm, lookup(file, 0, SE_EXCL), 0);
  }
  EXPECT_EQ(winners.load(std::memory_order_relaxed), 200);
}

TEST_F(PageRace, CreatorsThatMayWaitAllGetThePageInTurn) {
  Guarded<int> turns{0};
  run_together(4, [&](uint32_t) {
    for (int i = 0; i < 1000; ++i) {
      page_t* ring = page_create_va(vm, &file, 0, vm.pagesize, PG_WAIT);
      turns = turns() + 1;
      page_t* pp = ring;
      page_sub(&ring, pp);
      page_io_unlock(vm, pp);
      switch (choose(3)) {
        case 0:
          page_unlock(vm, pp);
          break;
        case 1:
          page_free(vm, pp, 0);
          break;
        default:
          page_destroy(vm, pp, 0);
      }
    }
  });
  // Exclusive by identity, though not all on one page_t.
  EXPECT_EQ(turns(), 4000);
}

TEST_F(PageRace, WhoMayWaitSleepsUntilMemoryIsFreed) {
  page_t* ring = page_create_va(vm, &other, 0, 32 * vm.pagesize, PG_EXCL);
  page_t* first = ring;
  page_sub(&ring, first);
  page_io_unlock(vm, first);
  page_t* created = nullptr;
  {
    OnCpu waiter(1, [&] { created = new_page(file, 0, PG_WAIT); });
    wait_until([&] { return memory_waiters() == 1; });
    page_free(vm, first, 0);
  }
  EXPECT_EQ(created, first);
  EXPECT_EQ(exists(other, 0), nullptr);
}

TEST_F(PageRace, APromisedPageIsNotReclaimedAndTheLookupWaits) {
  page_t* cached = cached_page(file, 0);
  page_t* ring = page_create_va(vm, &other, 0, 31 * vm.pagesize, PG_EXCL);
  ASSERT_NE(ring, nullptr);
  // The last page is as good as ours, but not yet taken.
  int64_t one = 1;
  ASSERT_TRUE(vm.freemem_count.compare_exchange_strong(one, 0, std::memory_order_relaxed,
                                                       std::memory_order_relaxed));
  page_t* found = nullptr;
  {
    OnCpu waiter(1, [&] { found = lookup(file, 0, SE_SHARED); });
    wait_until([&] { return memory_waiters() == 1; });
    EXPECT_EQ(selock(cached), 0) << "asleep with the page unlocked";
    EXPECT_TRUE(PP_ISFREE(cached));
    page_t* spare = ring->p_prev();
    page_sub(&ring, spare);
    page_io_unlock(vm, spare);
    page_destroy(vm, spare, 0);
  }
  EXPECT_EQ(found, cached);
  page_unlock(vm, found);
  vm.freemem_count.fetch_add(1, std::memory_order_relaxed);
}

TEST_F(PageRace, ALockRequestThatCannotReclaimIsRefused) {
  page_t* cached = cached_page(file, 0);
  vm.freemem_count.fetch_sub(32, std::memory_order_relaxed);  // all promised
  int answer = -1;
  {
    OnCpu waiter(1, [&] { answer = page_lock(vm, cached, SE_SHARED, nullptr, P_RECLAIM); });
    wait_until([&] { return memory_waiters() == 1; });
    page_unpromise(vm, 32);
  }
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(selock(cached), 0);
  EXPECT_TRUE(PP_ISFREE(cached));
}

TEST_F(PageRace, APageThatChangedBetweenProbeAndLockIsNotReturned) {
  page_t* pp = unlocked_page(0);
  for (int i = 0; i < kAttempts; ++i) {
    page_t* found[2];
    {
      MutexGuard guard(page_se_mutex(vm, pp));
      OnCpu* threads[2] = {
          new OnCpu(1, [&] { found[0] = lookup(file, 0, SE_SHARED); }),
          new OnCpu(2, [&] { found[1] = page_lookup_nowait(vm, &file, 0, SE_SHARED); })};
      let_others_get_there();
      pp->p_offset.store(vm.pagesize, std::memory_order_relaxed);
      page_se_mutex(vm, pp).exit();
      for (OnCpu* thread : threads) delete thread;
      page_se_mutex(vm, pp).enter();
    }
    EXPECT_EQ(found[0], nullptr);
    EXPECT_EQ(found[1], nullptr);
    EXPECT_EQ(selock(pp), 0);
    pp->p_offset.store(0, std::memory_order_relaxed);
  }
}

TEST_F(PageRace, AGroupWithAPageThatWasJustTakenIsNotALargePage) {
  Machine small(small_machine(4));
  Vm four(no_thresholds(), small);
  page_t* last = &four.pages[3];
  for (int i = 0; i < kAttempts; ++i) {
    page_t* root = last;
    {
      Mutex& freelock = four.lists[0].page_freelock;
      MutexGuard guard(freelock);
      OnCpu* thread = new OnCpu(1, [&] { root = page_alloc_large(four, nullptr, 0, 1); });
      let_others_get_there();
      last->p_state.store(0, std::memory_order_relaxed);
      freelock.exit();
      delete thread;
      freelock.enter();
    }
    EXPECT_EQ(root, nullptr);
    EXPECT_EQ(selock(last), 0);
    last->p_state.store(P_FREE, std::memory_order_relaxed);
  }
  EXPECT_EQ(vm_audit(four), absl::OkStatus());
}

TEST_F(PageRace, AReservationThatMaySleepIsMetByTheNextUnreserve) {
  for (int i = 0; i < kAttempts; ++i) {
    page_resv(vm, 32, KmFlag::kNoSleep);
    OnCpu waiter(1, [&] { EXPECT_TRUE(page_resv(vm, 2, KmFlag::kSleep)); });
    let_others_get_there();
    page_unresv(vm, 1);
    page_unresv(vm, 33);
  }
  EXPECT_EQ(availrmem(vm), 32);
}

TEST_F(PageRace, AWalkWaitsForABusyPageAndThenDealsWithIt) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  {
    OnCpu walker(1, [&] { EXPECT_EQ(pvn_vplist_dirty(vm, &file, 0, B_INVAL), 0); });
    // A walker puts its marker in front and keeps vph until it sleeps.
    wait_until([&] {
      MutexGuard guard(page_vnode_mutex(vm, &file));
      return file.v_pages.load(std::memory_order_relaxed) != pp;
    });
    page_unlock(vm, pp);
  }
  EXPECT_EQ(exists(file, 0), nullptr);
}

TEST_F(PageRace, ASynchronousWriteBackOfASortedVnodeWaitsForAPageInTransit) {
  page_t* pp = new_page(sorted, 0);
  vm.mapping_ops().hat_page_setattr(pp, P_MOD);
  page_downgrade(vm, pp);
  ASSERT_EQ(pvn_getdirty(vm, pp, 0), 1);
  Atomic<int> returned{0};
  {
    OnCpu walker(1, [&] {
      EXPECT_EQ(pvn_vplist_dirty(vm, &sorted, 0, 0), 0);
      returned.store(1, std::memory_order_relaxed);
    });
    // A walker that cares for the page holds it SHARED, as we do, before it sleeps.
    wait_until([&] { return selock(pp) == 2 || returned.load(std::memory_order_relaxed) != 0; });
    EXPECT_EQ(returned.load(std::memory_order_relaxed), 0);
    pvn_write_done(vm, pp, 0, 0);
  }
  page_destroy(vm, lookup(sorted, 0, SE_EXCL), 0);
}

TEST_F(PageRace, AWalkOverAVnodeSurvivesPagesThatMoveBlockAndLeave) {
  vnode_t* vp = &sorted;
  run_together(4, [&](uint32_t cpu) {
    for (int i = 0; i < kRounds / 4; ++i) {
      const uint64_t off = choose(6) * vm.pagesize;
      if (cpu < 2) {
        pvn_vplist_dirty(vm, vp, 0, cpu == 0 ? 0 : choose(2) == 0 ? B_INVAL : B_ASYNC | B_FREE);
      } else {
        page_t* ring = page_create_va(vm, vp, off, vm.pagesize, PG_WAIT);
        page_t* pp = ring;
        page_sub(&ring, pp);
        vm.mapping_ops().hat_page_setattr(pp, P_MOD);
        page_io_unlock(vm, pp);
        page_unlock(vm, pp);
      }
    }
  });
}

TEST_F(PageRace, LargePagesSmallPagesAndPageTablesShareTheMemory) {
  run_together(4, [&](uint32_t cpu) {
    for (int i = 0; i < kRounds / 4; ++i) {
      const uint64_t off = choose(4) * 4 * vm.pagesize;
      switch (choose(4)) {
        case 0:
          if (page_t* root = page_alloc_large(vm, &file, off, 1)) {
            choose(2) == 0 ? page_free_pages(vm, root) : page_destroy_pages(vm, root);
          }
          break;
        case 1:
          if (page_t* pp = page_get_physical(vm, 100 + cpu)) {
            page_destroy(vm, pp, 0);
            page_unresv(vm, 1);
          }
          break;
        case 2: {
          page_t* ring = page_create_va(vm, &file, off, 3 * vm.pagesize, PG_EXCL | PG_WAIT);
          while (ring != nullptr) {
            page_t* pp = ring;
            page_sub(&ring, pp);
            page_io_unlock(vm, pp);
            page_free(vm, pp, 0);
          }
          break;
        }
        default:
          if (page_t* pp = page_lookup(vm, &file, off, SE_SHARED)) page_release(vm, pp, 0);
      }
    }
  });
  EXPECT_EQ(availrmem(vm), 32);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
