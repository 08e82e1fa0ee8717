#include "vm/vnode_backing.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "gtest/gtest.h"
#include "vm/file_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

TEST(MemoryBacking, ReadsZeroesBeyondItsEndAndRefusesMoreThanItsCapacity) {
  MemoryBacking backing(8);
  EXPECT_EQ(backing.size(), 0u);
  EXPECT_EQ(backing.write(2, {1, 2, 3}), 0);
  EXPECT_EQ(backing.size(), 5u);
  EXPECT_EQ(read_back(backing, 1, 6), (Bytes{0, 1, 2, 3, 0, 0}));
  EXPECT_EQ(read_back(backing, 100, 2), (Bytes{0, 0}));
  EXPECT_EQ(backing.write(7, {1, 2}), ENOSPC);
  EXPECT_EQ(backing.resize(9), ENOSPC);
  EXPECT_EQ(backing.resize(3), 0);
  EXPECT_EQ(backing.resize(8), 0);
  EXPECT_EQ(read_back(backing, 0, 8), (Bytes{0, 0, 1, 0, 0, 0, 0, 0})) << "cut off means gone";
}

TEST(FileBacking, ReadsAndWritesARealFile) {
  TempFile file;
  auto backing = FileBacking::open(file.path(), O_RDWR);
  ASSERT_TRUE(backing.ok()) << backing.status();
  EXPECT_EQ((*backing)->write(3, {'a', 'b', 'c'}), 0);
  EXPECT_EQ((*backing)->size(), 6u);
  EXPECT_EQ(read_back(**backing, 4, 4), (Bytes{'b', 'c', 0, 0})) << "zeroes past the end";
  EXPECT_EQ(read_back(**backing, 100, 1), (Bytes{0}));
  EXPECT_EQ((*backing)->resize(4), 0);
  EXPECT_EQ((*backing)->sync(), 0);
  EXPECT_EQ(file.contents(), std::string("\0\0\0a", 4));
}

TEST(FileBacking, SaysWhichFileCannotBeOpened) {
  auto backing = FileBacking::open("/no/such/file", O_RDONLY);
  EXPECT_TRUE(absl::IsNotFound(backing.status()));
  EXPECT_NE(backing.status().message().find("/no/such/file"), std::string::npos);
}

TEST(FileBacking, GivesErrorsAsErrnoValues) {
  TempFile file;
  auto backing = FileBacking::open(file.path(), O_RDONLY);
  ASSERT_TRUE(backing.ok());
  EXPECT_EQ((*backing)->write(0, {1}), EBADF);
  EXPECT_EQ((*backing)->resize(1), EINVAL);
}

TEST(FaultyBacking, SpoilsWhatThePlanSaysAndPassesOnTheRest) {
  auto inner = std::make_unique<MemoryBacking>(8, 8);
  MemoryBacking* memory = inner.get();
  FaultyBacking backing(std::move(inner), [](FaultyBacking::Op op, uint64_t off, uint64_t bytes) {
    EXPECT_EQ(bytes, 4u);
    if (off == 0) return FaultyBacking::Fault::kNone;
    return op == FaultyBacking::Op::kWrite ? FaultyBacking::Fault::kShort
                                           : FaultyBacking::Fault::kEio;
  });
  EXPECT_EQ(backing.write(0, {1, 2, 3, 4}), 0);
  EXPECT_EQ(read_back(backing, 0, 4), (Bytes{1, 2, 3, 4}));
  EXPECT_EQ(backing.write(4, {5, 6, 7, 8}), EIO);
  EXPECT_EQ(read_back(*memory, 4, 4), (Bytes{5, 6, 0, 0})) << "half was transferred";
  Bytes bytes(4);
  EXPECT_EQ(backing.read(4, absl::MakeSpan(bytes)), EIO);
  EXPECT_EQ(backing.size(), 8u);
  EXPECT_EQ(backing.resize(2), 0);
  EXPECT_EQ(memory->size(), 2u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
