#include "stress/maps.h"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace hatcheck {
namespace {

std::string Folder() {
  std::string path = testing::TempDir() + "/mapsXXXXXX";
  return mkdtemp(path.data());
}

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(MapsLine, AFileMappingIsReadFieldByField) {
  const auto line =
      parse_maps_line("7f1000-7f3000 r-xp 00002000 08:01 1234                 /usr/lib/libc.so.6");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->start, 0x7f1000u);
  EXPECT_EQ(line->end, 0x7f3000u);
  EXPECT_TRUE(line->read);
  EXPECT_FALSE(line->write);
  EXPECT_TRUE(line->exec);
  EXPECT_FALSE(line->shared);
  EXPECT_EQ(line->offset, 0x2000u);
  EXPECT_EQ(line->device, "08:01");
  EXPECT_EQ(line->inode, 1234u);
  EXPECT_EQ(line->path, "/usr/lib/libc.so.6");
  EXPECT_TRUE(line->is_file());
}

TEST(MapsLine, AnAnonymousMappingHasNoPath) {
  const auto line = parse_maps_line("1000-2000 rw-s 00000000 00:00 0 ");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_TRUE(line->shared);
  EXPECT_FALSE(line->is_file());
  EXPECT_EQ(line->path, "");
}

TEST(MapsLine, APathMayHoldBlanks) {
  const auto line = parse_maps_line("1000-2000 r--p 0 00:01 9 /a b (deleted)");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->path, "/a b (deleted)");
}

TEST(MapsLine, EachMalformedFieldIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"hello", "START-END"},
      {"1000-zz r--p 0 00:00 0", "end address"},
      {"1001-2000 r--p 0 00:00 0", "page-aligned"},
      {"2000-1000 r--p 0 00:00 0", "START < END"},
      {"1000-2000 rwx 0 00:00 0", "permissions"},
      {"1000-2000 r--p xyz 00:00 0", "file offset"},
      {"1000-2000 r--p 0 0000 0", "device"},
      {"1000-2000 r--p 0 00:00 inode", "inode"},
  };
  for (const auto& [text, wanted] : cases) {
    const auto line = parse_maps_line(text);
    ASSERT_FALSE(line.ok()) << text;
    EXPECT_NE(line.status().message().find(wanted), std::string::npos) << line.status();
  }
}

TEST(MapsFile, ABadLineIsReportedWithFileAndLine) {
  const auto maps = parse_maps("saved/7", "1000-2000 r--p 0 00:00 0\n\n3000-4000 bad\n");
  ASSERT_FALSE(maps.ok());
  EXPECT_EQ(maps.status().message().substr(0, 10), "saved/7:3:");
}

TEST(MapsFile, OverlappingLinesAreRefused) {
  const auto maps = parse_maps("m", "1000-3000 r--p 0 00:00 0\n2000-4000 r--p 0 00:00 0\n");
  ASSERT_FALSE(maps.ok());
  EXPECT_NE(maps.status().message().find("m:2: overlaps"), std::string::npos);
}

TEST(MapsFile, WhatIsWrittenIsReadBackTheSame) {
  const std::string text =
      "1000-3000 r-xp 00002000 08:01 1234 /a b (deleted)\n"
      "7ffff000-80000000 rw-s 00000000 00:00 0 \n";
  const auto maps = parse_maps("m", text);
  ASSERT_TRUE(maps.ok()) << maps.status();
  EXPECT_EQ(format_maps(*maps), text);
}

TEST(MapsFile, AnEmptyFileHasNoLines) {
  const auto maps = parse_maps("m", "\n  \n");
  ASSERT_TRUE(maps.ok());
  EXPECT_TRUE(maps->lines.empty());
}

TEST(MapsFolder, FilesAreReadInNameOrder) {
  const std::string folder = Folder();
  Write(folder + "/b", "1000-2000 r--p 0 00:00 0\n");
  Write(folder + "/a", "5000-6000 r--p 0 00:00 0\n");
  const auto all = read_maps_folder(folder);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].lines[0].start, 0x5000u);
}

TEST(MapsFolder, AMissingFolderIsAnErrorThatNamesIt) {
  const auto all = read_maps_folder("/no/such/folder");
  ASSERT_FALSE(all.ok());
  EXPECT_NE(all.status().message().find("/no/such/folder"), std::string::npos);
}

TEST(MapsFolder, AFolderWithoutMapsIsAnError) { EXPECT_FALSE(read_maps_folder(Folder()).ok()); }

TEST(LiveMaps, TheRunningTestIsAmongTheProcesses) {
  const auto all = read_live_maps();
  ASSERT_TRUE(all.ok()) << all.status();
  const std::string mine = "/proc/" + std::to_string(getpid()) + "/maps";
  bool found = false;
  for (const ProcessMaps& p : *all) found |= p.name == mine && !p.lines.empty();
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace hatcheck
