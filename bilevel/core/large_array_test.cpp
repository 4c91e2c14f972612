#include "bilevel/core/large_array.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/files.h"

namespace bilevel {
namespace {

constexpr size_t kMany = LargeMemory::kKept / sizeof(int64_t) + 1000;

bool counts_up(const LargeArray<int64_t>& array) {
  for (size_t i = 0; i < array.size(); ++i) {
    if (array[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

TEST(LargeArray, KeepsItsValuesWhileItGrows) {
  LargeArray<int64_t> array;
  EXPECT_TRUE(array.empty());
  for (int64_t i = 0; i < 1000; ++i) array.push_back(i);
  std::vector<int64_t> more(500);
  std::iota(more.begin(), more.end(), 1000);
  array.append(more);
  EXPECT_EQ(array.size(), 1500U);
  EXPECT_TRUE(counts_up(array));
  const LargeMemory memory = std::move(array).memory();
  EXPECT_EQ(memory.capacity(), 1500 * sizeof(int64_t));
  EXPECT_FALSE(memory.in_file());
}

TEST(LargeArray, LivesInAFileWhereItIsLarge) {
  const TemporaryFolder folder;
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(folder.path("")),
                         std::filesystem::directory_iterator());
  };
  {
    const LargeMemoryFolder large(folder.path(""));
    LargeArray<int64_t> array;
    for (size_t i = 0; i < kMany; ++i) array.push_back(static_cast<int64_t>(i));
    EXPECT_TRUE(counts_up(array));
    LargeArray<int64_t> moved = std::move(array);
    moved.resize(kMany - 10);
    const LargeMemory memory = std::move(moved).memory();
    EXPECT_TRUE(memory.in_file());
    EXPECT_EQ(memory.capacity(), (kMany - 10) * sizeof(int64_t));
    EXPECT_EQ(reinterpret_cast<const int64_t*>(memory.data())[kMany - 11], static_cast<int64_t>(kMany - 11));
    EXPECT_EQ(files(), 0) << "the file has no name";
  }
  LargeMemory ordinary;  // without a folder
  ordinary.resize(LargeMemory::kKept + 1);
  EXPECT_FALSE(ordinary.in_file());
}

TEST(LargeArray, RefusesWhatFindsNoRoom) {
  const TemporaryFolder folder;
  const LargeMemoryFolder large(folder.path(""));
  LargeMemory memory;
  try {
    memory.resize(size_t{1} << 60);
    FAIL() << "there is no such disk";
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find("a temporary file of 1152921504607 MB finds no room"),
              std::string::npos)
        << error.what();
  }
  EXPECT_EQ(memory.capacity(), 0U);
}

}  // namespace
}  // namespace bilevel
