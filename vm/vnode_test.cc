// The calls that move pages between backings and memory; one thread.
#include "vm/vnode.h"

#include <fcntl.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "vm/file_for_test.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using Fault = FaultyBacking::Fault;
using Op = FaultyBacking::Op;

class Vnode : public VmTest {
 protected:
  Vnode() : VmTest(small_machine(32)) {
    auto memory = std::make_unique<MemoryBacking>(16 * 32, 16 * 32);
    memory_ = memory.get();
    for (uint8_t i = 0; i < 16; ++i) memory_->write(i * 32, Bytes(32, i));
    auto faulty =
        std::make_unique<FaultyBacking>(std::move(memory), [this](Op op, uint64_t off, uint64_t n) {
          ++transfers_;
          const bool there = off <= fault_off_ && fault_off_ - off < n;
          return op == fault_op_ && there ? fault_ : Fault::kNone;
        });
    data = std::make_unique<vnode_t>("data", 9, 0, std::move(faulty));
    vm.set_mapping_ops(&mappings);
  }

  void spoil(Op op, uint64_t index, Fault fault) {
    fault_op_ = op;
    fault_off_ = index * 32;
    fault_ = fault;
  }
  page_t* get(uint64_t index, seg_rw rw = S_READ) {
    page_t* pp = nullptr;
    EXPECT_EQ(vop_getpage(vm, data.get(), index * 32, rw, &pp), 0);
    return pp;
  }
  uint8_t byte_of(page_t* pp) {
    uint8_t byte = 0;
    machine.mem().read_bytes(pp->p_pagenum, 5, absl::MakeSpan(&byte, 1));
    return byte;
  }
  // What a CPU's write leaves behind.
  void modify(page_t* pp, uint8_t value) {
    machine.mem().write_bytes(pp->p_pagenum, 0, Bytes(32, value));
    pp->p_nrm.fetch_or(P_MOD, std::memory_order_relaxed);
  }
  page_t* dirty_page(uint64_t index, uint8_t value) {
    page_t* pp = get(index, S_WRITE);
    modify(pp, value);
    page_unlock(vm, pp);
    return pp;
  }
  int put(uint64_t index, uint32_t flags) {
    return vop_putpage(vm, data.get(), index * 32, 32, flags);
  }
  uint8_t stored(uint64_t index) { return read_back(*memory_, index * 32 + 5, 1)[0]; }

  std::unique_ptr<vnode_t> data;
  MemoryBacking* memory_ = nullptr;
  int transfers_ = 0;

 private:
  Op fault_op_ = Op::kRead;
  uint64_t fault_off_ = 0;
  Fault fault_ = Fault::kNone;
};

TEST_F(Vnode, GetpageReadsOnceAndFindsThePageAfterwards) {
  page_t* pp = get(3);
  EXPECT_EQ(byte_of(pp), 3);
  EXPECT_EQ(selock(pp), 1);
  EXPECT_FALSE(page_iolocked(pp));
  EXPECT_EQ(get(3), pp);
  EXPECT_EQ(transfers_, 1);
  page_unlock(vm, pp);
  page_unlock(vm, pp);
  page_free(vm, page_lookup(vm, data.get(), 3 * 32, SE_EXCL), 0);
  EXPECT_EQ(get(3), pp) << "from the cache list";
  EXPECT_EQ(byte_of(pp), 3);
  EXPECT_EQ(transfers_, 1);
  page_unlock(vm, pp);
}

TEST_F(Vnode, GetpageCoversTheRangeInOrder) {
  page_t* pages[4] = {};
  uint32_t prot = 0;
  EXPECT_EQ(vop_getpage(vm, data.get(), 64, 3 * 32 - 7, &prot, absl::MakeSpan(pages), S_READ), 0);
  EXPECT_EQ(prot, PROT_ALL_PAGE);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(byte_of(pages[i]), 2 + i);
    page_unlock(vm, pages[i]);
  }
  EXPECT_EQ(pages[3], nullptr);
  EXPECT_EQ(transfers_, 1) << "none was there: one transfer for all";
}

TEST_F(Vnode, GetpageReadsPageByPageWhereSomeAreThere) {
  page_unlock(vm, get(3));
  page_t* pages[4] = {};
  EXPECT_EQ(vop_getpage(vm, data.get(), 64, 96, nullptr, absl::MakeSpan(pages), S_READ), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(byte_of(pages[i]), 2 + i);
    EXPECT_EQ(selock(pages[i]), 1);
    page_unlock(vm, pages[i]);
  }
  EXPECT_EQ(transfers_, 3);
}

TEST_F(Vnode, GetpageBeyondTheDataGivesZeroesAndNoWritePermission) {
  page_t* pages[2] = {};
  uint32_t prot = 0;
  memory_->resize(15 * 32 + 1);
  EXPECT_EQ(vop_getpage(vm, data.get(), 15 * 32, 32, &prot, absl::MakeSpan(pages), S_READ), 0);
  EXPECT_EQ(byte_of(pages[0]), 0);
  EXPECT_EQ(prot, PROT_ALL_PAGE & ~PROT_WRITE_PAGE);
  page_unlock(vm, pages[0]);
  EXPECT_EQ(vop_getpage(vm, data.get(), 15 * 32, 32, &prot, absl::MakeSpan(pages), S_WRITE), 0);
  EXPECT_EQ(prot, PROT_ALL_PAGE);
  page_unlock(vm, pages[0]);
}

TEST_F(Vnode, GetpageForCreationGivesAZeroedExclusivePageWithoutReading) {
  page_t* pp = get(4, S_CREATE);
  EXPECT_TRUE(PAGE_EXCL(pp));
  EXPECT_EQ(byte_of(pp), 0);
  EXPECT_EQ(transfers_, 0);
  page_unlock(vm, pp);
}

TEST_F(Vnode, GetpageWithoutAListReadsAhead) {
  EXPECT_EQ(vop_getpage(vm, data.get(), 64, 32, nullptr, {}, S_READ), 0);
  page_t* pp = page_exists(vm, data.get(), 64);
  ASSERT_NE(pp, nullptr);
  EXPECT_EQ(selock(pp), 0);
  EXPECT_EQ(transfers_, 1);
}

TEST_F(Vnode, AFailedReadLeavesNoPageAndNoLock) {
  for (const Fault fault : {Fault::kEio, Fault::kShort}) {
    spoil(Op::kRead, 2, fault);
    page_t* pages[4] = {};
    EXPECT_EQ(vop_getpage(vm, data.get(), 0, 3 * 32, nullptr, absl::MakeSpan(pages), S_READ), EIO);
    EXPECT_EQ(page_exists(vm, data.get(), 64), nullptr);
    EXPECT_EQ(selock(page_exists(vm, data.get(), 0)), 0);
    EXPECT_EQ(selock(page_exists(vm, data.get(), 32)), 0);
  }
  spoil(Op::kRead, 2, Fault::kNone);
  EXPECT_EQ(byte_of(get(2)), 2) << "the next attempt succeeds";
  page_unlock(vm, page_exists(vm, data.get(), 64));
}

TEST_F(Vnode, AVnodeWithoutBackingCannotBeRead) {
  page_t* pp = nullptr;
  EXPECT_EQ(vop_getpage(vm, &file, 0, S_READ, &pp), ENOSYS);
  EXPECT_EQ(vop_getpage(vm, &file, 0, S_CREATE, &pp), 0);
  page_unlock(vm, pp);
}

TEST_F(Vnode, PutpageWritesModifiedPagesOnly) {
  page_unlock(vm, get(0));
  page_t* pp = dirty_page(1, 0x55);
  mappings.mapped[pp] = 1;
  transfers_ = 0;
  EXPECT_EQ(vop_putpage(vm, data.get(), 0, 4 * 32, 0), 0);
  EXPECT_EQ(transfers_, 1);
  EXPECT_EQ(stored(1), 0x55);
  EXPECT_FALSE(PP_ISMOD(pp));
  EXPECT_FALSE(PP_ISFREE(pp)) << "mapped pages stay";
  EXPECT_EQ(selock(pp), 0);
  EXPECT_TRUE(PP_ISFREE(page_exists(vm, data.get(), 0))) << "unmapped clean pages are released";
}

TEST_F(Vnode, PutpageCollectsTheHardwareBitsBeforeItDecides) {
  page_t* pp = get(1);
  machine.mem().write_bytes(pp->p_pagenum, 0, Bytes(32, 0x66));
  page_unlock(vm, pp);
  mappings.mapped[pp] = 1;
  mappings.hardware[pp] = P_MOD | P_REF;
  EXPECT_EQ(put(1, 0), 0);
  EXPECT_EQ(stored(1), 0x66);
  EXPECT_EQ(mappings.log[0], "sync zero");
  EXPECT_EQ(mappings.log[1], "clear");
}

TEST_F(Vnode, BInvalWritesAndDestroys) {
  page_t* pp = dirty_page(1, 0x55);
  mappings.mapped[pp] = 3;
  EXPECT_EQ(put(1, B_INVAL), 0);
  EXPECT_EQ(stored(1), 0x55);
  EXPECT_EQ(page_exists(vm, data.get(), 32), nullptr);
  EXPECT_EQ(mappings.mapped[pp], 0u);
}

TEST_F(Vnode, BTruncDestroysWithoutWriting) {
  dirty_page(1, 0x55);
  EXPECT_EQ(put(1, B_INVAL | B_TRUNC), 0);
  EXPECT_EQ(stored(1), 1);
  EXPECT_EQ(page_exists(vm, data.get(), 32), nullptr);
}

TEST_F(Vnode, BFreeWritesAndFrees) {
  page_t* pp = dirty_page(1, 0x55);
  mappings.mapped[pp] = 1;
  EXPECT_EQ(put(1, B_FREE), 0);
  EXPECT_EQ(stored(1), 0x55);
  EXPECT_TRUE(PP_ISFREE(pp));
  EXPECT_EQ(page_exists(vm, data.get(), 32), pp) << "on the cache list";
}

TEST_F(Vnode, BFreeKeepsAPageThatWasUsedDuringTheTransfer) {
  page_t* pp = dirty_page(1, 0x55);
  ASSERT_EQ(page_lookup(vm, data.get(), 32, SE_EXCL), pp);
  ASSERT_TRUE(pvn_getdirty(vm, pp, B_FREE));
  EXPECT_EQ(selock(pp), 1) << "readers may come while it is written";
  EXPECT_TRUE(page_iolocked(pp));
  mappings.mapped[pp] = 1;
  mappings.hardware[pp] = P_REF;
  pvn_write_done(vm, pp, B_FREE, 0);
  EXPECT_FALSE(PP_ISFREE(pp));
  EXPECT_EQ(mappings.mapped[pp], 1u) << "its mappings stay";
  EXPECT_EQ(selock(pp), 0);
}

TEST_F(Vnode, AFailedWriteLeavesThePageModified) {
  for (const uint32_t flags : {0u, B_FREE, B_INVAL}) {
    page_t* pp = dirty_page(1, 0x55);
    spoil(Op::kWrite, 1, Fault::kEio);
    EXPECT_EQ(put(1, flags), EIO);
    EXPECT_TRUE(PP_ISMOD(pp));
    EXPECT_FALSE(PP_ISFREE(pp));
    EXPECT_FALSE(page_iolocked(pp));
    EXPECT_EQ(selock(pp), 0);
  }
  EXPECT_EQ(put(1, B_INVAL | B_FORCE), EIO);
  EXPECT_EQ(page_exists(vm, data.get(), 32), nullptr) << "B_FORCE gives the data up";
}

TEST_F(Vnode, OneFailedWriteDoesNotKeepOtherPagesFromBeingWritten) {
  dirty_page(1, 0x51);
  dirty_page(2, 0x52);
  spoil(Op::kWrite, 1, Fault::kShort);
  EXPECT_EQ(vop_putpage(vm, data.get(), 0, 0, 0), EIO);
  EXPECT_EQ(stored(2), 0x52);
  spoil(Op::kWrite, 1, Fault::kNone);
  EXPECT_EQ(vop_putpage(vm, data.get(), 0, 0, 0), 0);
  EXPECT_EQ(stored(1), 0x51);
}

TEST_F(Vnode, BytesBeyondTheEndOfTheDataAreNotWritten) {
  memory_->resize(32 + 10);
  dirty_page(1, 0x55);
  dirty_page(2, 0x56);
  EXPECT_EQ(vop_putpage(vm, data.get(), 0, 0, 0), 0);
  EXPECT_EQ(memory_->size(), 42u);
  EXPECT_EQ(read_back(*memory_, 41, 2), (Bytes{0x55, 0}));
}

TEST_F(Vnode, AsynchronousWritesPassOverBusyPages) {
  page_t* pp = dirty_page(1, 0x55);
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(put(1, B_ASYNC), 0);
  EXPECT_EQ(vop_putpage(vm, data.get(), 0, 0, B_ASYNC), 0);
  page_downgrade(vm, pp);
  page_io_lock(vm, pp);
  EXPECT_EQ(put(1, B_ASYNC), 0);
  EXPECT_EQ(stored(1), 1);
  page_io_unlock(vm, pp);
  EXPECT_EQ(put(1, B_ASYNC), 0);
  EXPECT_EQ(stored(1), 0x55);
  page_unlock(vm, pp);
}

TEST_F(Vnode, MemoryLockedPagesAreNotTakenAway) {
  page_t* pp = dirty_page(1, 0x55);
  pp->p_lckcnt = 1;
  EXPECT_EQ(put(1, B_INVAL), 0);
  EXPECT_EQ(page_exists(vm, data.get(), 32), pp);
  EXPECT_EQ(vn_recycle(vm, data.get()), EBUSY);
  pp->p_lckcnt = 0;
  EXPECT_EQ(vn_recycle(vm, data.get()), 0);
}

TEST_F(Vnode, TheWalkCoversPagesFromTheOffsetOn) {
  for (uint64_t i = 0; i < 6; ++i) dirty_page(i, static_cast<uint8_t>(0x50 + i));
  EXPECT_EQ(pvn_vplist_dirty(vm, data.get(), 3 * 32, B_INVAL), 0);
  for (uint64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(page_exists(vm, data.get(), i * 32) == nullptr, i >= 3) << i;
    EXPECT_EQ(stored(i), i >= 3 ? 0x50 + i : i);
  }
}

TEST_F(Vnode, TheWalkSkipsCleanPagesOfASortedVnode) {
  vnode_t* vp = &sorted;
  for (uint64_t i = 0; i < 3; ++i) page_unlock(vm, new_page(*vp, i));
  mappings.log.clear();
  EXPECT_EQ(pvn_vplist_dirty(vm, vp, 0, 0), 0);
  EXPECT_TRUE(mappings.log.empty()) << "not even synced";
}

TEST_F(Vnode, RecyclingDestroysAllPagesAlsoCachedAndLargeOnes) {
  dirty_page(1, 0x55);
  page_free(vm, page_lookup(vm, data.get(), (page_unlock(vm, get(2)), 64), SE_EXCL), 0);
  page_t* root = page_alloc_large(vm, data.get(), 4 * 32, 1);
  for (int i = 0; i < 4; ++i) page_unlock(vm, root + i);
  EXPECT_EQ(vn_recycle(vm, data.get()), 0);
  EXPECT_FALSE(vn_has_cached_data(data.get()));
  EXPECT_EQ(freemem(vm), 32);
  EXPECT_EQ(stored(1), 1) << "nothing is written";
}

TEST(FileVnode, APageWrittenThroughTheCacheReachesTheFile) {
  TempFile temp;
  std::ofstream(temp.path()) << std::string(5000, 'x');
  Machine machine(amd64_machine(16));
  Vm vm(VmConfig{}, machine);
  auto backing = FileBacking::open(temp.path(), O_RDWR);
  ASSERT_TRUE(backing.ok());
  vnode_t vp("temp", 1, 0, std::move(*backing));
  page_t* pp = nullptr;
  ASSERT_EQ(vop_getpage(vm, &vp, 4096, S_WRITE, &pp), 0);
  Bytes bytes(4096);
  machine.mem().read_bytes(pp->p_pagenum, 0, absl::MakeSpan(bytes));
  EXPECT_EQ(bytes[903], 'x');
  EXPECT_EQ(bytes[904], 0);
  machine.mem().write_bytes(pp->p_pagenum, 900, Bytes(50, 'y'));
  vm.mapping_ops().hat_page_setattr(pp, P_REF | P_MOD);
  page_unlock(vm, pp);
  EXPECT_EQ(vop_putpage(vm, &vp, 0, 0, B_FREE), 0);
  EXPECT_EQ(temp.contents(), std::string(4996, 'x') + "yyyy") << "the file does not grow by itself";
  EXPECT_EQ(vn_recycle(vm, &vp), 0);
  EXPECT_EQ(vm_audit(vm), absl::OkStatus());
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
