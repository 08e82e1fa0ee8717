#include "stress/evidence.h"

#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace hatcheck {
namespace {

std::string Folder() {
  std::string path = testing::TempDir() + "/evidenceXXXXXX";
  return mkdtemp(path.data());
}

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Evidence, AnOlderFolderIsLeftAlone) {
  const std::string wanted = Folder() + "/e";
  const auto first = Evidence::create(wanted);
  const auto second = Evidence::create(wanted);
  const auto third = Evidence::create(wanted);
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  EXPECT_EQ(second->folder(), first->folder() + "-2");
  EXPECT_EQ(third->folder(), first->folder() + "-3");
}

TEST(Evidence, AFolderThatCannotBeMadeIsAnErrorThatNamesIt) {
  const auto evidence = Evidence::create("/no/such/place/e");
  ASSERT_FALSE(evidence.ok());
  EXPECT_EQ(evidence.status().message(),
            "cannot make the folder /no/such/place/e: No such file or directory");
}

TEST(Evidence, FilesHoldWhatWasAdded) {
  const auto evidence = Evidence::create(Folder() + "/e");
  ASSERT_TRUE(evidence.ok());
  ASSERT_TRUE(evidence->add("failure.txt", "text\n").ok());
  EXPECT_EQ(Read(evidence->folder() + "/failure.txt"), "text\n");
}

TEST(Evidence, SavedMapsAreReadBackInTheSameOrder) {
  const auto evidence = Evidence::create(Folder() + "/e");
  ASSERT_TRUE(evidence.ok());
  std::vector<ProcessMaps> all;
  for (int i = 0; i < 12; ++i) {
    const std::string line = std::to_string(i + 1) + "000-99000 rw-p 00000000 08:01 7 /x\n";
    all.push_back(*parse_maps("m", line));
  }
  ASSERT_TRUE(evidence->add_maps(all).ok());
  const auto read = read_maps_folder(evidence->folder() + "/maps");
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(format_maps((*read)[i]), format_maps(all[i])) << i;
  }
}

}  // namespace
}  // namespace hatcheck
