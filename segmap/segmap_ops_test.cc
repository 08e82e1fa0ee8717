// The lesser operations of the segment.
#include <cerrno>

#include "gmock/gmock.h"
#include "segmap/segmap_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

using OpsTest = SegmapTest;

TEST_F(OpsTest, checkprot_refuses_what_the_segment_does_not_allow) {
  EXPECT_EQ(segmap_checkprot(seg(), sys.kmap_addr, 64, PROT_READ_ATTR | PROT_WRITE_ATTR), 0);
  EXPECT_EQ(segmap_checkprot(seg(), sys.kmap_addr, 64, PROT_EXEC_ATTR), EACCES);
}

TEST_F(OpsTest, getprot_tells_the_protection_of_each_page) {
  std::vector<uint32_t> prots(4, 0);
  EXPECT_EQ(segmap_getprot(seg(), sys.kmap_addr, 64, prots.data()), 0);
  const uint32_t rw = PROT_READ_ATTR | PROT_WRITE_ATTR;
  EXPECT_THAT(prots, ElementsAre(rw, rw, rw, 0));
}

TEST_F(OpsTest, identity_is_asked_of_the_first_slot_whatever_the_address) {
  vnode_t* const file = new_file();
  std::vector<uintptr_t> windows;
  for (uint64_t i = 0; i < 4; ++i) windows.push_back(segmap_getmap(seg(), file, i * slotsize()));
  const uint64_t off_of_0 = seg().smd_sm[0].sm_off();
  const uintptr_t other = seg().smap_addr(&seg().smd_sm[2]);
  EXPECT_EQ(segmap_getoffset(seg(), other), off_of_0);
  vnode_t* vp = nullptr;
  EXPECT_EQ(segmap_getvp(seg(), other, &vp), 0);
  EXPECT_EQ(vp, file);
  memid_t memid{};
  EXPECT_EQ(segmap_getmemid(seg(), other, &memid), 0);
  EXPECT_EQ(memid.off, off_of_0);
  for (const uintptr_t addr : windows) put(addr);
}

TEST_F(OpsTest, the_rest_is_constant) {
  const uintptr_t addr = sys.kmap_addr;
  EXPECT_EQ(segmap_gettype(seg(), addr), MAP_SHARED_TYPE);
  EXPECT_EQ(segmap_kluster(seg(), addr, 1), 0);
  EXPECT_EQ(segmap_pagelock(seg(), addr, 64), ENOTSUP);
  EXPECT_EQ(segmap_getpolicy(seg(), addr), nullptr);
  EXPECT_EQ(segmap_capable(seg(), 1), 0);
  segmap_free(seg());
}

TEST_F(OpsTest, what_is_not_for_segmap_panics_with_its_name) {
  EXPECT_DEATH(segmap_dup(seg()), "segmap_badop: dup");
  EXPECT_DEATH(segmap_unmap(seg()), "segmap_badop: unmap");
  EXPECT_DEATH(segmap_setprot(seg()), "segmap_badop: setprot");
  EXPECT_DEATH(segmap_swapout(seg()), "segmap_badop: swapout");
  EXPECT_DEATH(segmap_sync(seg()), "segmap_badop: sync");
  EXPECT_DEATH(segmap_incore(seg()), "segmap_badop: incore");
  EXPECT_DEATH(segmap_lockop(seg()), "segmap_badop: lockop");
  EXPECT_DEATH(segmap_advise(seg()), "segmap_badop: advise");
  EXPECT_DEATH(segmap_setpagesize(seg()), "segmap_badop: setpagesize");
}

TEST_F(OpsTest, a_dump_has_the_pages_of_slots_in_use_also_those_that_are_busy) {
  vnode_t* const file = new_file();
  const uintptr_t addr = get(file, 0);
  put(get(file, slotsize()));  // cached only
  page_t* const busy = page_lookup(sys.vm, file, 32, SE_EXCL);
  std::vector<pfn_t> dumped;
  segmap_dump(seg(), [&](pfn_t pfn) { dumped.push_back(pfn); });
  EXPECT_THAT(dumped, UnorderedElementsAre(page_at(file, 0)->p_pagenum, busy->p_pagenum));
  EXPECT_EQ(selock(page_at(file, 0)), 0);
  page_unlock(sys.vm, busy);
  put(addr);
}

TEST_F(OpsTest, statistics_are_summed_over_the_cpus_and_cannot_be_written) {
  vnode_t* const file = new_file();
  for (const CpuId cpu : {0, 1, 2}) {
    CpuBinding binding(cpu);
    put(get(file, 0));
  }
  EXPECT_EQ(stats().getmap, 3u);
  EXPECT_EQ(stats().release, 3u);
  SegmapStatTotals totals;
  totals.getmap = 99;
  EXPECT_EQ(segmap_kstat_update(seg(), &totals, KstatRw::kWrite), EACCES);
  EXPECT_EQ(totals.getmap, 99u);
  EXPECT_EQ(stats().getmap, 3u);
}

class NoStatisticsTest : public SegmapTest {
 protected:
  NoStatisticsTest() : SegmapTest(without()) {}
  static SegmapConfig without() {
    SegmapConfig config = toy_segmap();
    config.statistics = false;
    return config;
  }
};

TEST_F(NoStatisticsTest, nothing_is_counted_where_counting_is_off) {
  put(get(new_file(), 0));
  EXPECT_EQ(stats().getmap, 0u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
