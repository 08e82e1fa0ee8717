// p_selock and the I/O lock under several threads: who sleeps, who is woken, who gets the page.
// Nothing here depends on time: a thread that must be asleep is recognised by the mutex it has let
// go of.
#include <functional>

#include "gtest/gtest.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kRounds = kTsan ? 3'000 : 20'000;

class PageLockRace : public VmTest {
 protected:
  page_t* unlocked_page(uint64_t index) {
    page_t* pp = new_page(file, index);
    page_unlock(vm, pp);
    return pp;
  }

  inline static constexpr LockClass kOuter{"outer", 29};
  Mutex outer{kOuter};
};

// Runs a page_lock on another CPU under `outer`, and `meanwhile` once it sleeps. Returns its
// answer.
int lock_and_sleep(Vm& vm, page_t* pp, se_t se, Mutex& outer, int es_flags,
                   const std::function<void()>& meanwhile) {
  Atomic<bool> entered{false};
  int answer = -1;
  {
    OnCpu sleeper(1, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      outer.enter();
      entered.store(true, std::memory_order_release);
      answer = page_lock(vm, pp, se, &outer, P_NO_RECLAIM, es_flags);
      EXPECT_TRUE(outer.held());
      outer.exit();
    });
    wait_until([&] { return entered.load(std::memory_order_acquire); });
    // The sleeper had `outer` before it said so and gives it up only to sleep.
    MutexGuard guard(outer);
    meanwhile();
  }
  return answer;
}

TEST_F(PageLockRace, ABlockedRequestDropsTheMutexSleepsOnceAndIsRefused) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_SHARED, outer, 0, [&] { page_unlock(vm, pp); }), 0);
  EXPECT_EQ(selock(pp), 0);
}

TEST_F(PageLockRace, TheLastReaderWakesAWriter) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_SHARED);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_EXCL, outer, 0, [&] { page_unlock(vm, pp); }), 0);
}

TEST_F(PageLockRace, ADowngradeWakesReaders) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_SHARED, outer, 0, [&] { page_downgrade(vm, pp); }), 0);
  page_unlock(vm, pp);
}

TEST_F(PageLockRace, LosingItsIdentityWakesThoseWhoWaitForAPage) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(
      lock_and_sleep(vm, pp, SE_SHARED, outer, 0, [&] { page_destroy(vm, pp, /*dontfree=*/1); }),
      0);
  EXPECT_TRUE(PAGE_EXCL(pp)) << "woken although the page is still locked";
  page_free(vm, pp, 0);
}

TEST_F(PageLockRace, RetiringAPageWakesThoseWhoWaitForIt) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  page_hashout(vm, pp);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_SHARED, outer, 0, [&] { page_lock_delete(vm, pp); }), 0);
}

TEST_F(PageLockRace, AStarvingWriterKeepsReadersOutAndGetsThePage) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_SHARED);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_EXCL, outer, SE_EXCL_WANTED,
                           [&] {
                             EXPECT_EQ(selock(pp), SE_EWANTED | 1);
                             EXPECT_FALSE(page_trylock(vm, pp, SE_SHARED));
                             EXPECT_FALSE(page_tryupgrade(vm, pp));
                             page_unlock(vm, pp);
                           }),
            0);
  EXPECT_FALSE(page_trylock(vm, pp, SE_SHARED)) << "still his turn";
  EXPECT_TRUE(page_lock(vm, pp, SE_EXCL, nullptr, P_NO_RECLAIM, SE_EXCL_WANTED));
  page_unlock(vm, pp);
}

TEST_F(PageLockRace, AStarvingWriterIsNotRememberedAgainstAWriter) {
  page_t* pp = unlocked_page(0);
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(lock_and_sleep(vm, pp, SE_EXCL, outer, SE_EXCL_WANTED,
                           [&] {
                             EXPECT_EQ(selock(pp), -1);
                             page_unlock(vm, pp);
                           }),
            0);
  EXPECT_EQ(selock(pp), 0);
}

TEST_F(PageLockRace, WritersExcludeEverybodyAndNobodyIsForgotten) {
  page_t* pp = unlocked_page(0);
  Guarded<int> value{0};
  run_together(4, [&](uint32_t cpu) {
    for (int i = 0; i < kRounds; ++i) {
      const bool writes = choose(2) == 0;
      const int flags = writes && cpu == 0 ? SE_EXCL_WANTED : 0;
      while (!page_lock(vm, pp, writes ? SE_EXCL : SE_SHARED, nullptr, P_NO_RECLAIM, flags)) {
      }
      if (writes) {
        value = value() + 1;
        if (choose(4) == 0) page_downgrade(vm, pp);
      } else if (page_tryupgrade(vm, pp)) {
        value = value() + 1;
      }
      (void)value();
      page_unlock(vm, pp);
    }
  });
  EXPECT_GE(value(), kRounds);
  EXPECT_EQ(selock(pp), 0);
}

TEST_F(PageLockRace, TheIoLockIsHandedOn) {
  page_t* pp = unlocked_page(0);
  Guarded<int> value{0};
  run_together(4, [&](uint32_t) {
    for (int i = 0; i < kRounds / 4; ++i) {
      while (!page_lock(vm, pp, SE_SHARED, nullptr, P_NO_RECLAIM)) {
      }
      if (choose(2) == 0 || !page_io_trylock(vm, pp)) page_io_lock(vm, pp);
      value = value() + 1;
      if (i % 64 == 0) yield();  // so that others do fall asleep
      page_io_unlock(vm, pp);
      page_io_wait(vm, pp);
      page_unlock(vm, pp);
    }
  });
  EXPECT_EQ(value(), kRounds);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
