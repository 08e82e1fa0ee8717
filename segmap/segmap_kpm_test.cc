// The kpm variant, on one thread: pages and slots of 64 bytes.
#include "segmap/segmap_kpm.h"

#include <cerrno>

#include "segmap/segmap_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class KpmTest : public SegmapTest {
 protected:
  KpmTest() : SegmapTest(toy_segmap(/*kpm=*/true), 4, segmap_system(/*kpm=*/true)) {}

  bool is_kpm(uintptr_t addr) { return hat_in_kpm(sys, addr); }
  page_t* kpe_page(vnode_t* vp, uint64_t off = 0) {
    return slot_of(vp, off)->sm_kpme.kpe_page.load(std::memory_order_relaxed);
  }
  // Uses up all other slots, so that the one of (vp, 0) is recycled.
  void recycle(vnode_t* vp) {
    for (uint64_t i = 1; i <= 4; ++i) put(segmap_getmap(seg(), vp, i * slotsize()));
  }
  // Page and slot addresses of a window on which both were used: kpm first, then plain.
  uintptr_t both_ways(vnode_t* vp) {
    put(get(vp, 0));
    const uintptr_t plain = segmap_getmap(seg(), vp, 0);
    EXPECT_EQ(segmap_fault(seg(), sys.kas_hat(), plain, 64, F_INVAL, S_READ), 0u);
    return plain;
  }
};

// ---- getmap and release

TEST_F(KpmTest, a_window_is_the_page_s_own_address_and_the_page_is_locked) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  EXPECT_TRUE(is_kpm(addr));
  page_t* const pp = page_at(file, 0);
  EXPECT_EQ(addr, hat_kpm_page2va(sys, pp));
  EXPECT_EQ(selock(pp), 1);
  EXPECT_EQ(kpe_page(file), pp);
  EXPECT_EQ(look(addr, 64), expected(file, 0, 64));
  EXPECT_FALSE(mapped(seg().smap_addr(slot_of(file, 0))));
  expect_sound({.expect_no_references = false});
  put(addr);
  EXPECT_EQ(selock(pp), 0);
  EXPECT_EQ(kpe_page(file), pp) << "kept as a cache";
}

TEST_F(KpmTest, two_windows_on_one_piece_are_one_address_and_two_page_locks) {
  vnode_t* const file = new_file();
  const uintptr_t one = get(file, 0);
  EXPECT_EQ(get(file, 0), one);
  EXPECT_EQ(selock(page_at(file, 0)), 2);
  EXPECT_EQ(page_at(file, 0)->p_kpmref(), 1u);
  put(one);
  put(one);
}

TEST_F(KpmTest, without_a_use_that_is_known_the_window_is_the_slot) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_FALSE(is_kpm(addr));
  put(addr);
}

TEST_F(KpmTest, a_cached_page_is_got_without_the_file_system) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_at(file, 0)->p_nrm.store(0, std::memory_order_relaxed);
  const uintptr_t addr = get(file, 0);
  EXPECT_EQ(backing(file).reads, 1);
  EXPECT_NE(nrm(page_at(file, 0)) & P_REF, 0u);
  put(addr);
}

TEST_F(KpmTest, a_page_that_pageout_unloaded_is_mapped_in_again) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_t* const pp = page_lookup(sys.vm, file, 0, SE_EXCL);
  hat_pageunload(sys, pp);
  page_unlock(sys.vm, pp);
  EXPECT_EQ(kpe_page(file), nullptr);
  const uintptr_t addr = get(file, 0);
  EXPECT_EQ(addr, hat_kpm_page2va(sys, pp));
  EXPECT_EQ(kpe_page(file), pp);
  put(addr);
}

TEST_F(KpmTest, a_page_that_was_freed_and_reused_is_not_taken_for_the_old_one) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_destroy(sys.vm, page_lookup(sys.vm, file, 0, SE_EXCL), 0);
  EXPECT_EQ(kpe_page(file), nullptr);
  expect_reads(file, 0);
}

TEST_F(KpmTest, an_unreadable_file_falls_back_to_the_slot_whose_fault_tells_the_error) {
  vnode_t* const file = new_file();
  backing(file).fail_reads = true;
  const uintptr_t addr = get(file, 0);
  EXPECT_FALSE(is_kpm(addr));
  EXPECT_EQ(segmap_fault(seg(), sys.kas_hat(), addr, 64, F_INVAL, S_READ), FC_MAKE_ERR(EIO));
  put(addr);
}

TEST_F(KpmTest, a_write_window_notes_the_modification_at_the_release) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 64, 7);
  EXPECT_EQ(nrm(page_at(file, 0)) & P_MOD, 0u) << "kpm sets no bits";
  EXPECT_EQ(put(addr, SM_WRITE), 0);
  EXPECT_EQ(on_disk(file, 0, 64), std::vector<uint8_t>(64, 7));
}

TEST_F(KpmTest, a_read_window_notes_the_reference_only) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_READ);
  page_at(file, 0)->p_nrm.store(0, std::memory_order_relaxed);
  put(addr);
  EXPECT_EQ(nrm(page_at(file, 0)), uint32_t{P_REF});
}

TEST_F(KpmTest, the_first_write_to_a_clean_page_goes_to_the_file_system) {
  vnode_t* const file = new_file(1);
  put(get(file, 0, S_READ));
  page_t* const pp = page_at(file, 0);
  // Slow path: vop_getpage, seen by what it does to a page that went meanwhile.
  const uintptr_t addr = get(file, 0, S_WRITE);
  EXPECT_EQ(addr, hat_kpm_page2va(sys, pp));
  put(addr);
  EXPECT_EQ(nrm(pp) & P_MOD, uint32_t{P_MOD});
  put(get(file, 0, S_WRITE));
}

TEST_F(KpmTest, SM_LOCKPROTO_gets_the_slot_where_a_write_needs_the_file_system) {
  vnode_t* const file = new_file(1);
  // Beyond the data.
  uintptr_t addr = segmap_getmapflt(seg(), file, slotsize(), 64, SM_LOCKPROTO, S_READ);
  EXPECT_FALSE(is_kpm(addr));
  EXPECT_FALSE(mapped(addr)) << "forcefault was taken back";
  EXPECT_EQ(selock(page_at(file, slotsize())), 0);
  put(addr);
  addr = segmap_getmapflt(seg(), file, 0, 64, SM_LOCKPROTO, S_READ);
  EXPECT_TRUE(is_kpm(addr));
  put(addr);
}

TEST_F(KpmTest, recycling_maps_the_page_out_and_frees_it) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_t* const pp = page_at(file, 0);
  recycle(file);
  EXPECT_EQ(pp->p_kpmref(), 0u);
  EXPECT_TRUE(PP_ISFREE(pp));
  EXPECT_FALSE(mapped(hat_kpm_page2va(sys, pp)));
}

TEST_F(KpmTest, recycling_passes_over_a_slot_whose_page_is_busy) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_t* const pp = page_lookup(sys.vm, file, 0, SE_EXCL);
  recycle(file);
  EXPECT_NE(slot_of(file, 0), nullptr);
  page_unlock(sys.vm, pp);
}

TEST_F(KpmTest, recycling_unloads_the_slot_s_own_translation_too) {
  vnode_t* const file = new_file();
  const uintptr_t plain = both_ways(file);
  put(plain);
  recycle(file);
  EXPECT_FALSE(mapped(plain));
}

TEST_F(KpmTest, SM_INVAL_of_a_kpm_window_maps_the_page_out_and_destroys_it) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 64, 8);
  EXPECT_EQ(put(addr, SM_INVAL), 0);
  EXPECT_EQ(page_at(file, 0), nullptr);
  EXPECT_EQ(slot_of(file, 0), nullptr);
  EXPECT_EQ(on_disk(file, 0, 64), std::vector<uint8_t>(64, 8));
}

// vop_putpage destroys the page, and with it every translation; only an asynchronous one that finds
// the page busy shows what the release itself has unloaded. B_INVAL waits, so the page must be busy
// for the release but not for B_INVAL: it is memory-locked.
TEST_F(KpmTest, SM_INVAL_of_a_kpm_window_unloads_the_slot_s_own_translation) {
  vnode_t* const file = new_file();
  const uintptr_t plain = both_ways(file);
  put(plain);
  page_t* const pp = page_at(file, 0);
  pp->p_lckcnt = 1;
  const uintptr_t kpm = get(file, 0);
  ASSERT_TRUE(is_kpm(kpm));
  EXPECT_TRUE(mapped(plain));
  EXPECT_EQ(put(kpm, SM_INVAL), 0);
  EXPECT_EQ(page_at(file, 0), pp) << "memory-locked pages stay";
  EXPECT_FALSE(mapped(plain));
  EXPECT_FALSE(mapped(kpm));
  pp->p_lckcnt = 0;
}

TEST_F(KpmTest, SM_INVAL_of_a_plain_window_takes_a_cached_kpm_mapping_away) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_t* const pp = page_at(file, 0);
  const uintptr_t plain = segmap_getmap(seg(), file, 0);
  EXPECT_EQ(put(plain, SM_INVAL), 0);
  EXPECT_EQ(pp->p_kpmref(), 0u);
  EXPECT_FALSE(mapped(hat_kpm_page2va(sys, pp)));
}

TEST_F(KpmTest, mapping_a_kpme_out_that_has_gone_already_is_nothing) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  smap* const slot = slot_of(file, 0);
  MutexGuard guard(slot->sm_mtx);
  segkpm_mapout_validkpme(seg(), &slot->sm_kpme);
  EXPECT_EQ(slot->sm_kpme.kpe_page.load(std::memory_order_relaxed), nullptr);
  segkpm_mapout_validkpme(seg(), &slot->sm_kpme);
}

TEST_F(KpmTest, SM_FREE_frees_the_page_although_the_slot_had_it_cached) {
  vnode_t* const file = new_file();
  EXPECT_EQ(put(get(file, 0), SM_FREE | SM_ASYNC), 0);
  EXPECT_EQ(kpe_page(file), nullptr);
  EXPECT_TRUE(PP_ISFREE(page_at(file, 0)));
}

// ---- pagecreate, faults

TEST_F(KpmTest, a_page_made_for_writing_is_EXCL_until_the_release_and_told_once) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE, SM_PAGECREATE);
  EXPECT_TRUE(is_kpm(addr));
  EXPECT_TRUE(PAGE_EXCL(page_at(file, 0)));
  EXPECT_EQ(backing(file).reads, 0);
  EXPECT_EQ(nrm(page_at(file, 0)), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 64, false), 1);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 64, false), 0);
  fill(addr, 64, 4);
  segmap_pageunlock(seg(), addr, 64, S_WRITE);
  EXPECT_TRUE(PAGE_EXCL(page_at(file, 0)));
  EXPECT_EQ(put(addr, SM_WRITE), 0);
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  EXPECT_EQ(on_disk(file, 0, 64), std::vector<uint8_t>(64, 4));
}

TEST_F(KpmTest, an_existing_page_is_not_told_as_new) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  const uintptr_t addr = get(file, 0, S_WRITE, SM_PAGECREATE);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 64, false), 0);
  EXPECT_EQ(selock(page_at(file, 0)), 1);
  EXPECT_EQ(look(addr, 64), expected(file, 0, 64));
  put(addr);
}

TEST_F(KpmTest, a_new_page_that_nobody_asked_about_is_not_told_to_the_next) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE, SM_PAGECREATE);
  fill(addr, 64, 4);
  put(addr);
  EXPECT_EQ(get(file, 0, S_WRITE, SM_PAGECREATE), addr);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 64, false), 0);
  put(addr);
}

TEST_F(KpmTest, faults_on_a_kpm_address_do_nothing_but_note_the_use) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  page_t* const pp = page_at(file, 0);
  pp->p_nrm.store(0, std::memory_order_relaxed);
  hat_t* const kas = sys.kas_hat();
  EXPECT_EQ(segmap_fault(seg(), kas, addr, 64, F_SOFTLOCK, S_WRITE), 0u);
  EXPECT_EQ(segmap_fault(seg(), kas, addr, 64, F_INVAL, S_WRITE), 0u);
  EXPECT_EQ(nrm(pp), 0u);
  EXPECT_EQ(selock(pp), 1);
  EXPECT_EQ(segmap_fault(seg(), kas, addr, 64, F_SOFTUNLOCK, S_OTHER), 0u);
  EXPECT_EQ(nrm(pp), 0u);
  EXPECT_EQ(segmap_fault(seg(), kas, addr, 64, F_SOFTUNLOCK, S_READ), 0u);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF});
  EXPECT_EQ(segmap_fault(seg(), kas, addr, 64, F_SOFTUNLOCK, S_WRITE), 0u);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(selock(pp), 1);
  put(addr);
}

TEST_F(KpmTest, the_slot_of_a_kpm_address_is_found_by_hint_and_by_search) {
  vnode_t* const file = new_file();
  const uintptr_t one = get(file, 0);
  const uintptr_t two = get(file, slotsize());
  // Without analysis: get_smap_kpm enters the slot.
  const auto look = [&](uintptr_t addr) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    page_t* pp = nullptr;
    smap* const smp = get_smap_kpm(seg(), addr, &pp);
    EXPECT_EQ(smp, slot_of(file, addr == one ? 0 : slotsize()));
    EXPECT_EQ(addr, hat_kpm_page2va(sys, pp));
    smp->sm_mtx.exit();
  };
  for (const uintptr_t addr : {one, two, two, one}) look(addr);
  put(one);
  put(two);
}

TEST_F(KpmTest, a_kpm_address_that_is_not_out_is_reported) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(addr);
  EXPECT_DEATH(put(addr), "invariant 56: kpm address of page .* is not out");
}

TEST_F(KpmTest, a_slot_that_has_another_page_mapped_in_is_reported) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  put(get(file, slotsize()));
  page_t* const other = page_at(file, slotsize());
  kpme& k = slot_of(file, 0)->sm_kpme;
  page_t* const own = k.kpe_page.load(std::memory_order_relaxed);
  k.kpe_page.store(other, std::memory_order_relaxed);
  EXPECT_DEATH(get(file, 0), "invariant 56: slot .*: kpe_page is page");
  k.kpe_page.store(own, std::memory_order_relaxed);
}

TEST_F(KpmTest, made_up_addresses_have_the_colour_of_the_offset) {
  EXPECT_NE(segkpm_create_va(seg(), 0), segkpm_create_va(seg(), 0));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
