// Free lists and the two waiting protocols.
#include "segmap/smap_freelist.h"

#include "gmock/gmock.h"
#include "segmap/segmap_for_test.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

SegmapConfig with(WaitingDesign waiting, uint32_t lists = 1) {
  SegmapConfig config = toy_segmap();
  config.waiting = waiting;
  config.nfreelist = lists;
  return config;
}

// What holds with either protocol.
class FreelistTest : public SegmapTest, public testing::WithParamInterface<WaitingDesign> {
 protected:
  explicit FreelistTest(uint32_t lists = 1, uint32_t slots = 4)
      : SegmapTest(with(GetParam(), lists), slots) {}

  uint32_t take(uint32_t list = 0) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    smap* const smp = get_free_smp(seg(), list);
    smp->sm_mtx.exit();
    taken_.push_back(smp);
    return smp->sm_index;
  }
  void give(uint32_t index) {
    MutexGuard guard(seg().smd_sm[index].sm_mtx);
    segmap_smapadd(seg(), &seg().smd_sm[index]);
    std::erase(taken_, &seg().smd_sm[index]);
  }
  void TearDown() override {
    while (!taken_.empty()) give(taken_.back()->sm_index);
    SegmapTest::TearDown();
  }
  uint32_t role_of_release(uint32_t list = 0) {
    const smfree& l = seg().smd_free[list];
    return l.sm_releq.load(std::memory_order_relaxed) == &l.sm_freeq[0] ? 0 : 1;
  }

 private:
  std::vector<smap*> taken_;
};

std::string name_of(const testing::TestParamInfo<WaitingDesign>& info) {
  return info.param == WaitingDesign::kCounted ? "counted" : "published";
}

INSTANTIATE_TEST_SUITE_P(Both, FreelistTest,
                         testing::Values(WaitingDesign::kCounted, WaitingDesign::kPublished),
                         name_of);

TEST_P(FreelistTest, slots_are_taken_from_the_head_and_given_back_at_the_tail) {
  EXPECT_EQ(take(), 3u);
  EXPECT_EQ(take(), 2u);
  give(3);
  EXPECT_THAT(queue(1), ElementsAre(1, 0));
  EXPECT_THAT(queue(0), ElementsAre(3));
  give(2);
  EXPECT_THAT(queue(0), ElementsAre(3, 2));
}

TEST_P(FreelistTest, the_queues_change_roles_when_the_allocation_queue_is_empty) {
  EXPECT_EQ(role_of_release(), 1u);
  take();
  EXPECT_EQ(role_of_release(), 0u);
  give(3);
  take(), take(), take();
  EXPECT_EQ(role_of_release(), 0u);
  EXPECT_EQ(take(), 3u);
  EXPECT_EQ(role_of_release(), 1u);
  EXPECT_THAT(queue(0), IsEmpty());
}

TEST_P(FreelistTest, a_slot_knows_its_queue_whatever_its_role) {
  take();
  give(3);
  EXPECT_NE(seg().smd_sm[3].sm_flags() & SM_QNDX_ZERO, 0u);
  EXPECT_EQ(seg().smd_sm[0].sm_flags() & SM_QNDX_ZERO, 0u);
  // Off its queue by that knowledge alone.
  MutexGuard guard(seg().smd_sm[3].sm_mtx);
  smap_unqueue(seg(), &seg().smd_sm[3]);
  EXPECT_THAT(queue(0), IsEmpty());
  segmap_smapadd(seg(), &seg().smd_sm[3]);
}

TEST_P(FreelistTest, a_busy_slot_is_passed_over) {
  MutexGuard busy(seg().smd_sm[3].sm_mtx);
  EXPECT_EQ(take(), 2u);
  EXPECT_THAT(queue(1), ElementsAre(3, 1, 0));
}

TEST_P(FreelistTest, adding_a_slot_that_is_on_a_queue_or_in_use_panics) {
  MutexGuard guard(seg().smd_sm[0].sm_mtx);
  EXPECT_DEATH(segmap_smapadd(seg(), &seg().smd_sm[0]), "invariant 44: .* is on a queue");
  smap_unqueue(seg(), &seg().smd_sm[0]);
  seg().smd_sm[0].sm_refcnt = 1;
  EXPECT_DEATH(segmap_smapadd(seg(), &seg().smd_sm[0]), "invariant 44: .* has refcnt 1");
  seg().smd_sm[0].sm_refcnt = 0;
  segmap_smapadd(seg(), &seg().smd_sm[0]);
}

TEST_P(FreelistTest, any_slot_of_a_ring_can_be_taken_out) {
  for (const uint32_t index : {1u, 3u, 0u, 2u}) {
    MutexGuard guard(seg().smd_sm[index].sm_mtx);
    smap_unqueue(seg(), &seg().smd_sm[index]);
  }
  EXPECT_THAT(queue(1), IsEmpty());
  for (const uint32_t index : {0u, 1u, 2u, 3u}) {
    MutexGuard guard(seg().smd_sm[index].sm_mtx);
    segmap_smapadd(seg(), &seg().smd_sm[index]);
  }
  EXPECT_THAT(queue(1), ElementsAre(0, 1, 2, 3));
}

class ListsTest : public FreelistTest {
 protected:
  ListsTest() : FreelistTest(4, 4) {}
};
INSTANTIATE_TEST_SUITE_P(Both, ListsTest,
                         testing::Values(WaitingDesign::kCounted, WaitingDesign::kPublished),
                         name_of);

TEST_P(ListsTest, an_empty_list_sends_the_allocator_to_the_next) {
  EXPECT_EQ(take(2), 2u);
  EXPECT_EQ(take(2), 3u);
  EXPECT_EQ(take(2), 0u);
  give(2);
  EXPECT_THAT(queue(0, 2), UnorderedElementsAre(2)) << "back on its own list";
}

TEST_P(ListsTest, a_cpu_goes_round_the_lists) {
  vnode_t* const file = new_file();
  std::vector<uint32_t> slots;
  for (uint64_t i = 0; i < 4; ++i) {
    const uintptr_t addr = segmap_getmap(seg(), file, i * slotsize());
    slots.push_back(static_cast<uint32_t>((addr - sys.kmap_addr) / slotsize()));
    put(addr);
  }
  EXPECT_THAT(slots, ElementsAre(1, 2, 3, 0));
}

class ColoursTest : public SegmapTest {
 protected:
  ColoursTest() : SegmapTest(two_colours()) {}
  static SegmapConfig two_colours() {
    SegmapConfig config = toy_segmap();
    config.shmsize = 2 * config.maxbsize;
    return config;
  }
};

TEST_F(ColoursTest, a_piece_gets_a_slot_of_its_colour) {
  vnode_t* const file = new_file();
  for (uint64_t i = 0; i < 6; ++i) {
    const uintptr_t addr = segmap_getmap(seg(), file, i * slotsize());
    EXPECT_EQ((addr - sys.kmap_addr) / slotsize() % 2, i % 2);
    put(addr);
  }
}

// ---- Waiting: real threads. Each test ends only if nobody sleeps for ever.

class WaitingTest : public SegmapTest {
 protected:
  WaitingTest() : SegmapTest(with(WaitingDesign::kCounted, 2), 2) {}

  uintptr_t getmap(uint64_t piece) { return segmap_getmap(seg(), file_, piece * slotsize()); }
  // Until so many are counted in as waiting.
  void wait_for(uint32_t waiters) {
    wait_until([&] { return seg().waiting->waiting(seg(), 0) == waiters; });
  }

  vnode_t* const file_ = new_file();
};

TEST_F(WaitingTest, a_release_wakes_the_one_who_waits_whatever_list_it_goes_to) {
  for (const uint64_t first : {0, 1}) {
    const uintptr_t a = getmap(0);
    const uintptr_t b = getmap(1);
    {
      OnCpu waiter(1, [&] { put(getmap(2)); });
      wait_for(1);
      put(first == 0 ? a : b);
    }
    put(first == 0 ? b : a);
  }
  EXPECT_GE(stats().get_nofree, 1u);
}

TEST_F(WaitingTest, two_releases_wake_two) {
  for (int round = 0; round < 20; ++round) {
    const uintptr_t a = getmap(0);
    const uintptr_t b = getmap(1);
    // Each keeps its slot until the other has one too: neither can do with the other's.
    Atomic<int> have{0};
    const auto want = [&](uint64_t piece) {
      const uintptr_t addr = getmap(piece);
      have.fetch_add(1, std::memory_order_acq_rel);
      wait_until([&] { return have.load(std::memory_order_acquire) == 2; });
      put(addr);
    };
    OnCpu one(1, [&] { want(2); });
    OnCpu two(2, [&] { want(3); });
    wait_for(2);
    put(a);
    put(b);
  }
}

TEST_F(WaitingTest, a_slot_that_is_busy_for_a_moment_is_waited_for) {
  const uintptr_t a = getmap(0);
  smap& other = seg().smd_sm[(a - sys.kmap_addr) / slotsize() == 0 ? 1 : 0];
  {
    other.sm_mtx.enter();
    OnCpu waiter(1, [&] { put(getmap(2)); });
    // Whether it looks before or after, it must not end up asleep.
    for (int i = 0; i < 50; ++i) yield();
    other.sm_mtx.exit();
  }
  put(a);
}

TEST_F(WaitingTest, the_audit_s_explanation_names_the_free_slot_and_its_queue) {
  EXPECT_EQ(segmap_explain_waiting(seg()), "");
  smwait& wait = seg().smd_wait[0];
  wait.sw_want.store(2, std::memory_order_relaxed);
  EXPECT_EQ(segmap_explain_waiting(seg()),
            "2 wait for a slot of list 0; slot 0 is free on queue 1 of list 0, the release queue, "
            "slot 1 is free on queue 1 of list 1, the release queue");
  wait.sw_want.store(0, std::memory_order_relaxed);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
