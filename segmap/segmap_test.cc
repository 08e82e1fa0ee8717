// Creation of a segment, windows and their release, on one thread.
#include "segmap/segmap.h"

#include <cerrno>

#include "gmock/gmock.h"
#include "segmap/segmap_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- segmap_create

class Create : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Segmap>> create(const SegmapConfig& config, uint64_t size = 256) {
    return segmap_create(sys_, sys_.kmap_addr, size, config);
  }
  System sys_{segmap_system()};
};

TEST_F(Create, all_slots_are_blank_and_on_the_release_queues_the_last_one_first) {
  SegmapConfig config = toy_segmap();
  config.nfreelist = 2;
  const auto seg = create(config);
  ASSERT_TRUE(seg.ok());
  EXPECT_EQ((*seg)->smd_npages(), 4u);
  ASSERT_EQ((*seg)->smd_free.size(), 2u);
  const smfree& list = (*seg)->smd_free[1];
  EXPECT_EQ(list.sm_releq.load(std::memory_order_relaxed), &list.sm_freeq[1]);
  EXPECT_EQ(list.sm_freeq[0].smq_free(), nullptr);
  EXPECT_EQ(list.sm_freeq[1].smq_free()->sm_index, 3u);
  SegmapAuditCounts counts;
  EXPECT_EQ(segmap_audit(**seg, {}, &counts), absl::OkStatus());
  EXPECT_EQ(counts.blank, 4u);
}

TEST_F(Create, free_lists_are_as_many_as_cpus_and_a_power_of_two) {
  SegmapConfig config = toy_segmap();
  config.nfreelist = 0;
  EXPECT_EQ((*create(config))->smd_nfree, 4u);
  config.nfreelist = 3;
  EXPECT_EQ((*create(config))->smd_nfree, 4u);
  config.nfreelist = 16;
  EXPECT_EQ((*create(config))->smd_nfree, 16u);
}

TEST_F(Create, more_than_four_free_lists_per_cpu_are_refused) {
  SegmapConfig config = toy_segmap();
  config.nfreelist = 17;
  EXPECT_THAT(std::string(create(config).status().message()), HasSubstr("expected at most 16"));
}

TEST_F(Create, slots_that_do_not_fit_the_pages_are_refused) {
  SegmapConfig config = toy_segmap();
  config.maxbsize = 16;
  EXPECT_THAT(std::string(create(config).status().message()), HasSubstr("1 to 16 pages"));
  config.maxbsize = 1024;
  EXPECT_THAT(std::string(create(config).status().message()), HasSubstr("1 to 16 pages"));
}

TEST_F(Create, colours_come_from_shmsize_and_are_two_at_most) {
  SegmapConfig config = toy_segmap();
  EXPECT_EQ((*create(config))->smd_ncolor, 1u);
  config.shmsize = 2 * config.maxbsize;
  EXPECT_EQ((*create(config))->smd_ncolor, 2u);
  EXPECT_EQ((*create(config))->smd_nfree, 2u);
  config.shmsize = 16 * config.maxbsize;
  EXPECT_EQ((*create(config))->smd_ncolor, 2u);
}

TEST_F(Create, fewer_slots_than_a_chain_is_long_still_have_a_chain) {
  EXPECT_EQ((*create(toy_segmap(), 64))->smd_hash.size(), 1u);
  EXPECT_EQ((*create(toy_segmap(), 512))->smd_hash.size(), 2u);
}

TEST_F(Create, kpm_is_off_where_pages_are_not_slots) {
  SegmapConfig config = toy_segmap();
  config.kpm = true;
  EXPECT_FALSE((*create(config))->segmap_kpm);
}

TEST_F(Create, kpm_needs_users_to_be_recorded) {
  SegmapConfig config = toy_segmap();
  config.kpm = true;
  config.maxbsize = 32;
  EXPECT_THAT(std::string(create(config).status().message()), HasSubstr("on-demand"));
}

TEST_F(Create, an_unaligned_base_or_size_panics) {
  EXPECT_DEATH((void)create(toy_segmap(), 100), "must be multiples of 64");
  EXPECT_DEATH((void)segmap_create(sys_, sys_.kmap_addr + 32, 64, toy_segmap()), "multiples");
}

// ---- getmap

TEST_F(SegmapTest, a_window_shows_the_bytes_of_the_file) {
  vnode_t* const file = new_file();
  expect_reads(file, 0);
  expect_reads(file, 3 * slotsize());
  EXPECT_EQ(stats().getmap, 2u);
}

TEST_F(SegmapTest, getmap_returns_the_start_of_the_slot_whatever_the_offset_in_it) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, slotsize() + 5);
  EXPECT_EQ((addr - sys.kmap_addr) % slotsize(), 0u);
  EXPECT_EQ(look(addr + 5, 3), expected(file, slotsize() + 5, 3));
  put(addr);
}

TEST_F(SegmapTest, getmap_of_a_range_in_two_slots_panics) {
  vnode_t* const file = new_file();
  EXPECT_DEATH(segmap_getmapflt(seg(), file, 32, 40, SM_FAULT, S_READ), "crosses a slot");
}

TEST_F(SegmapTest, the_same_piece_in_use_is_the_same_slot_with_one_reference_more) {
  vnode_t* const file = new_file();
  const uintptr_t one = get(file, 0);
  const uintptr_t two = get(file, 0);
  EXPECT_EQ(one, two);
  EXPECT_EQ(slot_of(file, 0)->sm_refcnt(), 2u);
  EXPECT_EQ(stats().get_use, 1u);
  put(one);
  EXPECT_EQ(slot_of(file, 0)->sm_refcnt(), 1u);
  put(two);
}

TEST_F(SegmapTest, a_cached_slot_is_reclaimed_with_its_translations) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(addr);
  EXPECT_TRUE(mapped(addr));
  EXPECT_EQ(get(file, 0), addr);
  EXPECT_EQ(stats().get_reclaim, 1u);
  EXPECT_EQ(backing(file).reads, 1);
  EXPECT_FALSE(smap_on_queue(slot_of(file, 0)));
  put(addr);
}

TEST_F(SegmapTest, files_do_not_share_slots) {
  vnode_t* const one = new_file();
  vnode_t* const two = new_file();
  const uintptr_t a = get(one, 0);
  const uintptr_t b = get(two, 0);
  EXPECT_NE(a, b);
  EXPECT_EQ(look(b, 8), expected(two, 0, 8));
  put(a);
  put(b);
}

TEST_F(SegmapTest, a_block_device_is_known_by_its_common_vnode) {
  vnode_t* const common = new_file();
  vnode_t* const alias = new_file();
  alias->v_common = common;
  const uintptr_t addr = get(alias, 0);
  EXPECT_EQ(slot_of(common, 0)->sm_refcnt(), 1u);
  EXPECT_EQ(look(addr, 8), expected(common, 0, 8));
  put(addr);
}

TEST_F(SegmapTest, getmap_without_forcefault_loads_nothing) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmap(seg(), file, 0);
  EXPECT_FALSE(mapped(addr));
  EXPECT_EQ(backing(file).reads, 0);
  put(addr);
}

TEST_F(SegmapTest, forcefault_loads_only_the_pages_of_the_range) {
  vnode_t* const file = new_file();
  const uintptr_t addr = segmap_getmapflt(seg(), file, 40, 4, SM_FAULT, S_READ);
  EXPECT_FALSE(mapped(addr));
  EXPECT_TRUE(mapped(addr + 32));
  put(addr);
}

TEST_F(SegmapTest, forcefault_does_not_fault_what_is_mapped) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  const uint64_t faults = stats().fault;
  put(get(file, 0));
  EXPECT_EQ(stats().fault, faults);
}

TEST_F(SegmapTest, a_failing_forcefault_is_told_when_the_window_is_used) {
  vnode_t* const file = new_file();
  backing(file).fail_reads = true;
  const uintptr_t addr = get(file, 0);
  std::vector<uint8_t> bytes(4);
  size_t done;
  EXPECT_EQ(segmap_copy_from(seg(), addr, absl::MakeSpan(bytes), &done), EIO);
  EXPECT_EQ(done, 0u);
  backing(file).fail_reads = false;
  EXPECT_EQ(look(addr, 4), expected(file, 0, 4));
  put(addr);
}

TEST_F(SegmapTest, a_file_larger_than_all_slots_reads_as_it_is) {
  vnode_t* const file = new_file(20);
  for (uint64_t i = 0; i < 20; ++i) expect_reads(file, i * slotsize());
  EXPECT_EQ(stats().get_reuse, 16u);
}

TEST_F(SegmapTest, a_recycled_slot_has_lost_its_translations) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(addr);
  for (uint64_t i = 1; i <= 4; ++i) put(segmap_getmap(seg(), file, i * slotsize()));
  EXPECT_EQ(slot_of(file, 0), nullptr);
  EXPECT_FALSE(mapped(addr));
}

TEST_F(SegmapTest, recycling_frees_clean_pages_and_leaves_dirty_ones) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 4, 1);  // the first page only
  put(addr);
  for (uint64_t i = 1; i <= 4; ++i) put(segmap_getmap(seg(), file, i * slotsize()));
  EXPECT_EQ(stats().free, 1u);
  EXPECT_EQ(stats().free_dirty, 1u);
  EXPECT_TRUE(PP_ISFREE(page_at(file, 32)));
  EXPECT_FALSE(PP_ISFREE(page_at(file, 0)));
}

TEST_F(SegmapTest, recycling_leaves_a_page_alone_that_somebody_holds) {
  vnode_t* const file = new_file();
  put(get(file, 0));
  page_t* const held = page_lookup(sys.vm, file, 0, SE_SHARED);
  page_t* const mapped_elsewhere = page_lookup(sys.vm, file, 32, SE_SHARED);
  hat_memload(sys, sys.kas_hat(), sys.kmap_eaddr - 32, mapped_elsewhere, PROT_READ_ATTR, HAT_LOAD);
  page_unlock(sys.vm, mapped_elsewhere);
  for (uint64_t i = 1; i <= 4; ++i) put(segmap_getmap(seg(), file, i * slotsize()));
  EXPECT_EQ(stats().free_notfree, 1u) << "the mapped one; the held one is not even looked at";
  EXPECT_EQ(stats().free, 0u);
  EXPECT_FALSE(PP_ISFREE(held));
  page_unlock(sys.vm, held);
  hat_unload(sys, sys.kas_hat(), sys.kmap_eaddr - 32, 32, HAT_UNLOAD);
}

// ---- release

TEST_F(SegmapTest, the_last_release_puts_the_slot_at_the_tail_of_the_release_queue) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  EXPECT_THAT(queue(1), ElementsAre(2, 1, 0));
  EXPECT_THAT(queue(0), IsEmpty()) << "the roles were exchanged to get at the first slot";
  put(addr);
  EXPECT_THAT(queue(0), ElementsAre(3));
}

TEST_F(SegmapTest, release_of_an_address_inside_a_slot_panics) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  EXPECT_DEATH(put(addr + 32), "not the start of a slot");
  EXPECT_DEATH(put(sys.kmap_addr + 4 * slotsize()), "is not in");
  put(addr);
}

TEST_F(SegmapTest, release_of_a_free_slot_panics) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(addr);
  EXPECT_DEATH(put(addr), "invariant 47: .* has no references");
}

TEST_F(SegmapTest, a_plain_release_writes_nothing) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 8, 0xaa);
  EXPECT_EQ(put(addr), 0);
  EXPECT_EQ(backing(file).writes, 0);
  EXPECT_EQ(stats().release, 1u);
}

TEST_F(SegmapTest, SM_WRITE_brings_the_bytes_to_the_file) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr + 30, 8, 0xaa);
  EXPECT_EQ(put(addr, SM_WRITE), 0);
  EXPECT_EQ(on_disk(file, 30, 8), std::vector<uint8_t>(8, 0xaa));
  EXPECT_EQ(on_disk(file, 38, 8), expected(file, 38, 8));
  EXPECT_EQ(stats().rel_write, 1u);
}

TEST_F(SegmapTest, SM_ASYNC_passes_over_pages_that_are_busy) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 64, 0xaa);
  page_t* const busy = page_lookup(sys.vm, file, 0, SE_EXCL);
  EXPECT_EQ(put(addr, SM_WRITE | SM_ASYNC), 0);
  page_unlock(sys.vm, busy);
  EXPECT_EQ(on_disk(file, 0, 4), expected(file, 0, 4));
  EXPECT_EQ(on_disk(file, 32, 4), std::vector<uint8_t>(4, 0xaa));
  EXPECT_EQ(stats().rel_async, 1u);
}

TEST_F(SegmapTest, SM_FREE_frees_the_pages_with_the_last_reference_only) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  get(file, 0);
  EXPECT_EQ(put(addr, SM_FREE | SM_ASYNC), 0);
  EXPECT_FALSE(PP_ISFREE(page_at(file, 0)));
  EXPECT_EQ(stats().rel_free, 0u);
  EXPECT_EQ(put(addr, SM_FREE | SM_ASYNC), 0);
  EXPECT_TRUE(PP_ISFREE(page_at(file, 0)));
  EXPECT_FALSE(mapped(addr));
  EXPECT_EQ(stats().rel_free, 1u);
}

TEST_F(SegmapTest, SM_DONTNEED_alone_calls_no_file_system_and_with_SM_FREE_is_reused_first) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 4, 9);
  EXPECT_EQ(put(addr, SM_DONTNEED), 0);
  EXPECT_EQ(backing(file).writes, 0);
  get(file, 0);
  EXPECT_EQ(put(addr, SM_FREE | SM_DONTNEED), 0);
  EXPECT_EQ(backing(file).writes, 1);
  EXPECT_EQ(stats().rel_dontneed, 2u);
}

TEST_F(SegmapTest, SM_INVAL_writes_and_destroys_the_pages_and_blanks_the_slot) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 4, 0xbb);
  smap* const slot = slot_of(file, 0);
  EXPECT_EQ(put(addr, SM_INVAL), 0);
  EXPECT_EQ(on_disk(file, 0, 4), std::vector<uint8_t>(4, 0xbb));
  EXPECT_EQ(page_at(file, 0), nullptr);
  EXPECT_EQ(slot->sm_vp(), nullptr);
  EXPECT_FALSE(mapped(addr));
  EXPECT_EQ(stats().rel_abort, 1u);
}

TEST_F(SegmapTest, SM_INVAL_with_another_reference_keeps_the_slot) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  get(file, 0);
  fill(addr, 4, 0xbb);
  EXPECT_EQ(put(addr, SM_INVAL), 0);
  EXPECT_EQ(slot_of(file, 0)->sm_refcnt(), 1u);
  EXPECT_EQ(page_at(file, 0), nullptr) << "the pages go all the same";
  EXPECT_EQ(look(addr, 4), std::vector<uint8_t>(4, 0xbb)) << "and come back";
  put(addr);
}

TEST_F(SegmapTest, SM_DESTROY_throws_modifications_away) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 64, 0xcc);
  EXPECT_EQ(put(addr, SM_DESTROY), 0);
  EXPECT_EQ(backing(file).writes, 0);
  EXPECT_EQ(slot_of(file, 0), nullptr);
  expect_reads(file, 0);
}

TEST_F(SegmapTest, an_error_of_the_backing_is_returned_and_loses_nothing) {
  vnode_t* const file = new_file();
  uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 4, 0xdd);
  backing(file).fail_writes = true;
  EXPECT_EQ(put(addr, SM_WRITE), EIO);
  EXPECT_NE(nrm(page_at(file, 0)) & P_MOD, 0u);
  addr = get(file, 0);
  EXPECT_EQ(put(addr, SM_INVAL), EIO);
  addr = get(file, 0);
  EXPECT_EQ(look(addr, 4), std::vector<uint8_t>(4, 0xdd));
  backing(file).fail_writes = false;
  EXPECT_EQ(put(addr, SM_WRITE), 0);
  EXPECT_EQ(on_disk(file, 0, 4), std::vector<uint8_t>(4, 0xdd));
}

TEST_F(SegmapTest, pageout_of_a_window_in_use_is_made_good_at_the_next_access) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0, S_WRITE);
  fill(addr, 4, 0xee);
  page_t* const pp = page_lookup(sys.vm, file, 0, SE_EXCL);
  hat_pageunload(sys, pp);
  page_unlock(sys.vm, pp);
  EXPECT_FALSE(mapped(addr));
  EXPECT_EQ(look(addr, 4), std::vector<uint8_t>(4, 0xee));
  put(addr);
}

TEST_F(SegmapTest, a_recycled_vnode_leaves_a_slot_without_translations) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(addr);
  EXPECT_EQ(vn_recycle(sys.vm, file), 0);
  EXPECT_FALSE(mapped(addr));
  EXPECT_EQ(slot_of(file, 0)->sm_vp(), file) << "a soft reference";
  expect_reads(file, 0);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
