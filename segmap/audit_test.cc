// Damages one thing at a time and expects the audit to name it: no check of the audit is vacuous.
#include "segmap/audit.h"

#include <utility>

#include "gmock/gmock.h"
#include "hat/htable.h"
#include "segmap/segmap_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::StartsWith;

// Slot 3 is in use for (file, 0), slot 2 cached for (file, 64), slots 1 and 0 are blank. Slots 1
// and 0 are on queue 1, slot 2 is on queue 0.
class AuditTest : public SegmapTest {
 protected:
  explicit AuditTest(bool kpm = false)
      : SegmapTest(toy_segmap(kpm), 4, segmap_system(kpm)), file_(new_file()) {
    window_ = get(file_, 0);
    put(get(file_, 64));
  }
  void TearDown() override {
    put(window_);
    SegmapTest::TearDown();
  }

  std::string verdict(bool expect_no_references = false) {
    return std::string(
        segmap_audit(seg(), {.expect_no_references = expect_no_references}).message());
  }
  smap& slot(uint32_t index) { return seg().smd_sm[index]; }
  smfree& list() { return seg().smd_free[0]; }

  // Sets a field for the length of one audit.
  template <class T, class V>
  std::string with(Guarded<T>& field, V value) {
    const T old = field();
    field = static_cast<T>(value);
    std::string message = verdict();
    field = old;
    return message;
  }
  template <class T, class V>
  std::string with(Atomic<T>& field, V value) {
    const T old = field.exchange(static_cast<T>(value), std::memory_order_relaxed);
    std::string message = verdict();
    field.store(old, std::memory_order_relaxed);
    return message;
  }

  vnode_t* const file_;
  uintptr_t window_;
};

TEST_F(AuditTest, a_sound_segment_is_sound_and_counted) {
  SegmapAuditCounts counts;
  EXPECT_EQ(segmap_audit(seg(), {.expect_no_references = false}, &counts), absl::OkStatus());
  EXPECT_EQ(counts.in_use, 1u);
  EXPECT_EQ(counts.cached, 1u);
  EXPECT_EQ(counts.blank, 2u);
  EXPECT_EQ(counts.translations, 4u);
}

TEST_F(AuditTest, invariant_43_the_flag_names_the_queue) {
  EXPECT_THAT(with(slot(2).sm_flags, slot(2).sm_flags() & ~SM_QNDX_ZERO),
              "invariant 43: slot 2: on queue 0 of list 0, SM_QNDX_ZERO is clear");
  EXPECT_THAT(with(slot(0).sm_flags, SM_QNDX_ZERO),
              "invariant 43: slot 0: on queue 1 of list 0, SM_QNDX_ZERO is set");
}

TEST_F(AuditTest, invariant_43_links_are_set_exactly_on_a_queue) {
  EXPECT_THAT(with(slot(3).sm_next, &slot(3)),
              "invariant 43: slot 3: on no queue, sm_next is set, sm_prev is null");
  EXPECT_THAT(with(slot(3).sm_prev, &slot(3)),
              "invariant 43: slot 3: on no queue, sm_next is null, sm_prev is set");
}

TEST_F(AuditTest, invariant_44_free_slots_have_no_references_and_used_ones_have) {
  EXPECT_THAT(with(slot(2).sm_refcnt, 1), "invariant 44: slot 2: on a queue, sm_refcnt 1");
  EXPECT_THAT(with(slot(3).sm_refcnt, 0), "invariant 44: slot 3: on no queue, sm_refcnt 0");
}

TEST_F(AuditTest, invariant_44_used_slots_have_an_identity) {
  vnode_t* const vp = slot(3).sm_vp();
  {
    MutexGuard guard(slot(3).sm_mtx);
    segmap_hashout(seg(), &slot(3));
  }
  EXPECT_EQ(verdict(), "invariant 44: slot 3: sm_refcnt 1, no identity");
  MutexGuard guard(slot(3).sm_mtx);
  segmap_hashin(seg(), &slot(3), vp, 0);
}

TEST_F(AuditTest, invariant_44_a_stolen_slot_cannot_be) {
  EXPECT_EQ(with(seg().stats.mine().stolen, 1), "invariant 44: 1 slots were found stolen");
}

TEST_F(AuditTest, invariant_45_identity_and_chain_go_together) {
  EXPECT_THAT(with(slot(0).sm_vp, file_), "invariant 45: slot 0: (file1, 0) is on no chain");
  EXPECT_THAT(with(slot(2).sm_vp, nullptr), "invariant 45: slot 2: on a chain without an identity");
  smaphash& bucket = smap_hash_bucket(seg(), file_, 0);
  EXPECT_THAT(with(bucket.sh_hash_list, nullptr), StartsWith("invariant 45: slot"));
}

TEST_F(AuditTest, invariant_46_identities_are_aligned_and_unique) {
  EXPECT_THAT(with(slot(2).sm_off, 65), "invariant 46: slot 2: sm_off 65 is not a multiple of 64");
  EXPECT_THAT(with(slot(2).sm_off, 0), StartsWith("invariant 46: slot"));
}

TEST_F(AuditTest, invariant_47_no_window_is_out_where_none_is_known) {
  EXPECT_EQ(verdict(true), "invariant 47: slot 3: (file1, 0) has sm_refcnt 1, no window is out");
}

TEST_F(AuditTest, invariant_48_a_blank_slot_has_no_translation) {
  page_t* const pp = page_lookup(sys.vm, file_, 0, SE_SHARED);
  const uintptr_t addr = seg().smap_addr(&slot(0));
  hat_memload(sys, sys.kas_hat(), addr, pp, PROT_READ_ATTR, HAT_LOAD);
  EXPECT_THAT(verdict(),
              testing::MatchesRegex(
                  "invariant 48: slot 0 page 0: frame [0-9]+ is mapped, the slot is blank"));
  hat_unload(sys, sys.kas_hat(), addr, pagesize(), HAT_UNLOAD);
  page_unlock(sys.vm, pp);
}

TEST_F(AuditTest, invariant_49_a_translation_leads_to_the_page_of_its_place) {
  const uintptr_t addr = seg().smap_addr(&slot(2));
  hat_unload(sys, sys.kas_hat(), addr, pagesize(), HAT_UNLOAD);
  page_t* const pp = page_lookup(sys.vm, file_, 0, SE_SHARED);
  hat_memload(sys, sys.kas_hat(), addr, pp, PROT_READ_ATTR, HAT_LOAD);
  EXPECT_THAT(verdict(),
              testing::MatchesRegex("invariant 49: slot 2 page 0: frame [0-9]+ is mapped, "
                                    "which is not page 0 of .file1, 64."));
  hat_unload(sys, sys.kas_hat(), addr, pagesize(), HAT_UNLOAD);
  page_unlock(sys.vm, pp);
}

TEST_F(AuditTest, invariant_50_a_bit_stands_for_a_page_that_was_created_here) {
  EXPECT_EQ(with(slot(3).sm_bitmap, 2),
            "invariant 50: slot 3 page 1: its sm_bitmap bit is set, the page is not locked EXCL");
  EXPECT_EQ(with(slot(0).sm_bitmap, 1),
            "invariant 50: slot 0 page 0: its sm_bitmap bit is set, it is not mapped");
}

TEST_F(AuditTest, invariant_52_rings_are_closed_and_slots_are_on_one) {
  EXPECT_THAT(with(slot(1).sm_prev, &slot(1)), StartsWith("invariant 52: queue 1 of list 0"));
  EXPECT_THAT(with(slot(1).sm_next, nullptr), StartsWith("invariant 52: queue 1 of list 0"));
  EXPECT_THAT(with(list().sm_freeq[0].smq_free, &slot(1)),
              StartsWith("invariant 43: slot 1: on queue 0"));
}

TEST_F(AuditTest, invariant_53_the_two_queues_have_the_two_roles) {
  EXPECT_EQ(
      with(list().sm_allocq, &list().sm_freeq[0] == list().sm_releq.load(std::memory_order_relaxed)
                                 ? &list().sm_freeq[0]
                                 : &list().sm_freeq[1]),
      "invariant 53: list 0: sm_allocq and sm_releq are not its two queues");
}

TEST_F(AuditTest, invariant_54_nobody_is_counted_as_waiting_at_rest) {
  EXPECT_EQ(with(seg().smd_wait[0].sw_want, 1), "invariant 54: 1 counted as waiting for list 0");
}

TEST_F(AuditTest, invariant_57_a_cached_slot_was_released_by_its_own_address) {
  EXPECT_EQ(with(slot(2).sm_flags, slot(2).sm_flags() & ~SM_NOTKPM_RELEASED),
            "invariant 57: slot 2: free, (file1, 64), without SM_NOTKPM_RELEASED");
}

class KpmAuditTest : public AuditTest {
 protected:
  KpmAuditTest() : AuditTest(true) {}
};

TEST_F(KpmAuditTest, a_sound_segment_is_sound_and_counted) {
  SegmapAuditCounts counts;
  EXPECT_EQ(segmap_audit(seg(), {.expect_no_references = false}, &counts), absl::OkStatus());
  EXPECT_EQ(counts.kpm_pages, 2u);
}

TEST_F(KpmAuditTest, invariant_55_the_page_lists_the_slot) {
  page_t* const pp = slot(2).sm_kpme.kpe_page.load(std::memory_order_relaxed);
  EXPECT_THAT(with(pp->p_kpmelist, nullptr),
              testing::MatchesRegex(
                  "invariant 55: slot 2: kpe_page is page [0-9]+, which does not list the slot"));
}

TEST_F(KpmAuditTest, invariant_56_the_page_is_that_of_the_slot) {
  page_t* const pp = slot(2).sm_kpme.kpe_page.load(std::memory_order_relaxed);
  EXPECT_THAT(with(pp->p_offset, 640),
              testing::MatchesRegex("invariant 56: slot 2: kpe_page is page [0-9]+, which is not "
                                    ".file1, 64."));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
