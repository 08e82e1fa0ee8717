// Faults, soft locking, page creation and copying, on one thread.
#include "segmap/segmap_fault.h"

#include <cerrno>

#include "segmap/segmap_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class FaultTest : public SegmapTest {
 protected:
  faultcode_t fault(uintptr_t addr, size_t len, fault_type type, seg_rw rw) {
    return segmap_fault(seg(), sys.kas_hat(), addr, len, type, rw);
  }
  uint32_t attr_at(uintptr_t addr) {
    uint32_t attr = 0;
    EXPECT_EQ(hat_getattr(sys, sys.kas_hat(), addr, &attr), 0);
    return attr;
  }
  bool writable(uintptr_t addr) { return (attr_at(addr) & PROT_WRITE_ATTR) != 0; }
  // A window onto a range that no page exists for and that is to be overwritten.
  uintptr_t window(vnode_t* file, uint64_t off = 0) { return get(file, off, S_WRITE, 0); }
  uint32_t bitmap(vnode_t* file) {
    return slot_of(file, 0)->sm_bitmap.load(std::memory_order_relaxed);
  }
};

// ---- F_INVAL

TEST_F(FaultTest, an_inval_fault_loads_the_pages_and_unlocks_them) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_EQ(fault(addr, 64, F_INVAL, S_READ), 0u);
  EXPECT_TRUE(mapped(addr));
  EXPECT_TRUE(mapped(addr + 32));
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  EXPECT_NE(nrm(page_at(file, 0)) & P_REF, 0u);
  put(addr);
}

TEST_F(FaultTest, a_fault_that_crosses_a_slot_panics) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  EXPECT_DEATH(fault(addr + 32, 64, F_INVAL, S_READ), "crosses a slot");
  put(addr);
}

TEST_F(FaultTest, a_fault_on_a_slot_without_identity_is_an_IO_error) {
  EXPECT_EQ(fault(sys.kmap_addr, 32, F_INVAL, S_READ), FC_MAKE_ERR(EIO));
  EXPECT_EQ(segmap_faulta(seg(), sys.kmap_addr), FC_MAKE_ERR(EIO));
}

TEST_F(FaultTest, the_error_of_the_backing_comes_in_the_fault_code_and_nothing_is_held) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  backing(file).fail_reads = true;
  const faultcode_t code = fault(addr, 64, F_SOFTLOCK, S_READ);
  EXPECT_EQ(code & 0xff, FC_OBJERR);
  EXPECT_EQ(FC_ERRNO(code), EIO);
  EXPECT_EQ(page_at(file, 0), nullptr);
  EXPECT_FALSE(mapped(addr));
  put(addr);
}

TEST_F(FaultTest, protections_of_the_segment_are_kept) {
  SegmapConfig config = toy_segmap();
  config.prot = PROT_READ_ATTR;
  const auto read_only = *segmap_create(sys, sys.kmap_addr + 4 * slotsize(), slotsize(), config);
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmapflt(*read_only, file, 0, 64, SM_FAULT, S_WRITE);
  EXPECT_TRUE(mapped(addr));
  EXPECT_FALSE(writable(addr));
  segmap_release(*read_only, addr, 0);
}

TEST_F(FaultTest, a_read_fault_beyond_the_data_does_not_permit_writing) {
  vnode_t* const file = new_file(1);
  const uintptr_t addr = get(file, slotsize(), S_READ);
  EXPECT_FALSE(writable(addr));
  EXPECT_EQ(fault(addr, 32, F_PROT, S_WRITE), 0u);
  EXPECT_TRUE(writable(addr));
  put(addr);
}

TEST_F(FaultTest, a_clean_page_of_a_vmodsort_vnode_is_write_protected_until_the_write_fault) {
  vnode_t* const file = new_file(8, VMODSORT);
  const uintptr_t addr = get(file, 0, S_READ);
  EXPECT_FALSE(writable(addr));
  fill(addr, 4, 1);
  EXPECT_TRUE(writable(addr));
  EXPECT_NE(nrm(page_at(file, 0)) & P_MOD, 0u);
  EXPECT_FALSE(writable(addr + 32)) << "the other page is clean";
  put(addr, SM_WRITE);
  EXPECT_EQ(on_disk(file, 0, 4), std::vector<uint8_t>(4, 1));
}

TEST_F(FaultTest, what_a_clean_page_loses_the_pages_after_it_lose_too) {
  vnode_t* const file = new_file(8, VMODSORT);
  uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr + 32, 4, 1);  // the second page is modified
  page_t* const first = page_lookup(sys.vm, file, 0, SE_EXCL);
  page_destroy(sys.vm, first, 0);
  EXPECT_EQ(fault(addr, 64, F_INVAL, S_READ), 0u);
  EXPECT_FALSE(writable(addr));
  put(addr);
}

TEST_F(FaultTest, a_fault_for_nothing_in_particular_leaves_a_vmodsort_page_writable) {
  vnode_t* const file = new_file(8, VMODSORT);
  const uintptr_t addr = get(file, 0, S_OTHER);
  EXPECT_TRUE(writable(addr));
  EXPECT_EQ(nrm(page_at(file, 0)) & P_MOD, 0u);
  put(addr);
}

// ---- F_SOFTLOCK, F_SOFTUNLOCK

TEST_F(FaultTest, a_soft_locked_page_stays_locked_and_mapped_until_it_is_unlocked) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_EQ(fault(addr, 64, F_SOFTLOCK, S_READ), 0u);
  EXPECT_EQ(selock(page_at(file, 0)), 1);
  EXPECT_EQ(selock(page_at(file, 32)), 1);
  EXPECT_EQ(page_trylock(sys.vm, page_at(file, 0), SE_EXCL), 0) << "so nobody can unload it";
  EXPECT_TRUE(mapped(addr));
  EXPECT_EQ(fault(addr, 64, F_SOFTUNLOCK, S_READ), 0u);
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  put(addr);
}

TEST_F(FaultTest, soft_unlock_notes_what_was_done_with_the_page) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  fault(addr, 64, F_SOFTLOCK, S_OTHER);
  page_t* const pp = page_at(file, 0);
  pp->p_nrm.store(0, std::memory_order_relaxed);
  fault(addr, 32, F_SOFTUNLOCK, S_OTHER);
  EXPECT_EQ(nrm(pp), 0u);
  page_t* const second = page_at(file, 32);
  second->p_nrm.store(0, std::memory_order_relaxed);
  fault(addr + 32, 32, F_SOFTUNLOCK, S_WRITE);
  EXPECT_EQ(nrm(second), uint32_t{P_REF | P_MOD});
  fault(addr, 32, F_SOFTLOCK, S_OTHER);
  pp->p_nrm.store(0, std::memory_order_relaxed);
  fault(addr, 32, F_SOFTUNLOCK, S_READ);
  EXPECT_EQ(nrm(pp), uint32_t{P_REF});
  put(addr);
}

TEST_F(FaultTest, soft_unlock_of_a_page_that_is_not_there_panics) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_DEATH(fault(addr, 32, F_SOFTUNLOCK, S_READ), "invariant 51: segmap_unlock: no page");
  put(addr);
}

// ---- read ahead

TEST_F(FaultTest, read_ahead_brings_one_page_and_maps_nothing) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_EQ(segmap_faulta(seg(), addr + 40), 0u);
  EXPECT_EQ(page_at(file, 0), nullptr);
  ASSERT_NE(page_at(file, 32), nullptr);
  EXPECT_EQ(selock(page_at(file, 32)), 0);
  EXPECT_FALSE(mapped(addr + 32));
  EXPECT_EQ(stats().faulta, 1u);
  put(addr);
}

TEST_F(FaultTest, an_error_of_read_ahead_is_returned) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  backing(file).fail_reads = true;
  EXPECT_EQ(segmap_faulta(seg(), addr), FC_MAKE_ERR(EIO));
  put(addr);
}

// ---- pagecreate, pageunlock

TEST_F(FaultTest, pagecreate_makes_a_locked_mapped_page_without_reading) {
  vnode_t* const file = new_file();
  const uintptr_t addr = window(file);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 32, false), 1);
  EXPECT_EQ(backing(file).reads, 0);
  EXPECT_TRUE(PAGE_EXCL(page_at(file, 0)));
  EXPECT_FALSE(page_iolocked(page_at(file, 0)));
  EXPECT_TRUE(mapped(addr));
  EXPECT_EQ(bitmap(file), 1u);
  expect_sound({.expect_no_references = false});
  fill(addr, 32, 5);
  segmap_pageunlock(seg(), addr, 32, S_WRITE);
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  EXPECT_EQ(bitmap(file), 0u);
  EXPECT_EQ(put(addr, SM_WRITE), 0);
  EXPECT_EQ(on_disk(file, 0, 32), std::vector<uint8_t>(32, 5));
}

TEST_F(FaultTest, pagecreate_of_a_page_that_exists_says_so_and_leaves_it_unlocked) {
  vnode_t* const file = new_file();
  uintptr_t addr = get(file, 0);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 32, false), 0);
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  EXPECT_EQ(bitmap(file), 0u);
  EXPECT_EQ(look(addr, 32), expected(file, 0, 32));
  segmap_pageunlock(seg(), addr, 32, S_WRITE);
  EXPECT_EQ(selock(page_at(file, 0)), 0) << "a page without the bit is left alone";
  put(addr);
}

TEST_F(FaultTest, pagecreate_takes_pages_from_the_cache_list_with_their_data) {
  vnode_t* const file = new_file();
  uintptr_t addr = get(file, 0);
  put(addr, SM_FREE);
  ASSERT_TRUE(PP_ISFREE(page_at(file, 0)));
  addr = window(file);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 32, false), 0);
  EXPECT_EQ(look(addr, 32), expected(file, 0, 32));
  put(addr);
}

TEST_F(FaultTest, pagecreate_rounds_its_range_to_pages) {
  vnode_t* const file = new_file();
  const uintptr_t addr = window(file);
  EXPECT_EQ(segmap_pagecreate(seg(), addr + 30, 4, false), 1);
  EXPECT_EQ(bitmap(file), 3u);
  fill(addr, 64, 1);
  segmap_pageunlock(seg(), addr + 30, 4, S_WRITE);
  EXPECT_EQ(bitmap(file), 0u);
  put(addr);
}

TEST_F(FaultTest, pagecreate_with_softlock_locks_existing_pages_too) {
  vnode_t* const file = new_file();
  uintptr_t addr = segmap_getmapflt(seg(), file, 0, 32, SM_FAULT, S_READ);
  EXPECT_EQ(segmap_pagecreate(seg(), addr, 64, true), 1);
  EXPECT_EQ(selock(page_at(file, 0)), 1);
  EXPECT_TRUE(PAGE_EXCL(page_at(file, 32)));
  fill(addr, 64, 3);
  EXPECT_EQ(fault(addr, 64, F_SOFTUNLOCK, S_WRITE), 0u);
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  EXPECT_EQ(selock(page_at(file, 32)), 0);
  EXPECT_EQ(bitmap(file), 0u);
  put(addr, SM_WRITE);
  EXPECT_EQ(on_disk(file, 0, 64), std::vector<uint8_t>(64, 3));
}

TEST_F(FaultTest, a_created_page_of_a_vmodsort_vnode_counts_as_modified) {
  vnode_t* const file = new_file(8, VMODSORT);
  const uintptr_t addr = window(file);
  segmap_pagecreate(seg(), addr, 32, false);
  EXPECT_NE(nrm(page_at(file, 0)) & P_MOD, 0u);
  fill(addr, 32, 3);
  segmap_pageunlock(seg(), addr, 32, S_WRITE);
  put(addr);
}

TEST_F(FaultTest, pageunlock_notes_what_was_done_with_the_page) {
  vnode_t* const file = new_file();
  const uintptr_t addr = window(file);
  segmap_pagecreate(seg(), addr, 64, false);
  page_t* const one = page_at(file, 0);
  page_t* const two = page_at(file, 32);
  one->p_nrm.store(0, std::memory_order_relaxed);
  two->p_nrm.store(0, std::memory_order_relaxed);
  segmap_pageunlock(seg(), addr, 32, S_READ);
  segmap_pageunlock(seg(), addr + 32, 32, S_WRITE);
  EXPECT_EQ(nrm(one), uint32_t{P_REF});
  EXPECT_EQ(nrm(two), uint32_t{P_REF | P_MOD});
  put(addr);
}

TEST_F(FaultTest, pagecreate_that_crosses_a_slot_panics) {
  vnode_t* const file = new_file();
  const uintptr_t addr = window(file);
  EXPECT_DEATH(segmap_pagecreate(seg(), addr + 32, 40, false), "crosses a slot");
  put(addr);
}

// ---- copying

TEST_F(FaultTest, a_copy_stops_at_the_page_that_cannot_be_had) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmapflt(seg(), file, 0, 32, SM_FAULT, S_READ);
  backing(file).fail_reads = true;
  std::vector<uint8_t> bytes(64);
  size_t done;
  EXPECT_EQ(segmap_copy_from(seg(), addr, absl::MakeSpan(bytes), &done), EIO);
  EXPECT_EQ(done, 32u);
  EXPECT_EQ(segmap_copy_to(seg(), addr, bytes, &done), EIO);
  EXPECT_EQ(done, 32u);
  put(addr);
}

TEST_F(FaultTest, a_write_sets_the_modified_bit_of_the_translation) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_READ);
  page_t* const pp = page_lookup(sys.vm, file, 0, SE_SHARED);
  EXPECT_EQ(hat_pagesync(sys, pp, HAT_SYNC_DONTZERO) & P_MOD, 0u);
  fill(addr + 3, 2, 1);
  EXPECT_NE(hat_pagesync(sys, pp, HAT_SYNC_DONTZERO) & P_MOD, 0u);
  page_unlock(sys.vm, pp);
  put(addr);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
