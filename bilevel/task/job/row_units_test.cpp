#include "bilevel/task/job/row_units.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/files.h"

namespace bilevel {
namespace row_units_test {

using Units = std::vector<int64_t>;

/// Columns as they are read: numbers, but y and who, which are words.
std::vector<ReadColumn> read(const std::vector<std::string>& names, CellReading as = CellReading::number) {
  std::vector<ReadColumn> columns;
  for (const std::string& name : names) columns.push_back({name, {.as = as}});
  return columns;
}

class RowUnitsTest : public testing::Test {
 protected:
  void add(const std::string& role, const std::string& name, const std::string& text) {
    files.add(role, folder_.write(name, text), {});
  }
  JobFiles files;

 private:
  TemporaryFolder folder_;
};

TEST_F(RowUnitsTest, RowsThatAreTheSameInWhatIsRead) {
  add("train", "a.csv", "id,x,y\n1,3,a\n2,4,a\n3,3,b\n4,5,b\n");
  EXPECT_EQ(row_units(files, read({"x"}), "").unit_of, (Units{0, 1, 0, 3})) << "whatever their labels are";
  EXPECT_EQ(row_units(files, read({"x"}), "").copies, 1);
  EXPECT_TRUE(row_units(files, read({"x", "y"}), "").unit_of.empty());
  EXPECT_TRUE(row_units(files, read({"id"}), "").unit_of.empty());
}

TEST_F(RowUnitsTest, CellsAreNotRunTogether) {
  add("train", "a.csv", "x,z,y\nab,c,1\na,bc,2\n,abc,1\n");
  EXPECT_TRUE(row_units(files, read({"x", "z"}), "").unit_of.empty());
}

TEST_F(RowUnitsTest, NumbersAreTheSameHoweverTheyAreWritten) {
  add("train", "a.csv", "x,y\n1.5,a\n1.50,b\n+1.5,b\n0,b\n-0,a\n7,a\n");
  EXPECT_EQ(row_units(files, read({"x"}), "").unit_of, (Units{0, 0, 0, 3, 3, 5}));
}

TEST_F(RowUnitsTest, CopiesBetweenFilesAreCounted) {
  add("train", "a.csv", "x,y\n1,a\n2,b\n1,b\n");
  add("test", "b.csv", "y,x\na,2\na,1\na,1\na,7\nb,7\n");
  const RowUnits units = row_units(files, read({"x"}), "");
  EXPECT_EQ(units.unit_of, (Units{0, 1, 0, 1, 0, 0, 6, 6}));
  EXPECT_EQ(units.copies, 1);
  const std::map<std::pair<std::string, std::string>, int64_t> repeated{{{"test", "train"}, 3}};
  EXPECT_EQ(units.repeated, repeated);
}

TEST_F(RowUnitsTest, CopiesAreOfTheFirstFileThatHasThem) {
  add("train", "a.csv", "x,y\n1,a\n");
  add("trusted", "b.csv", "x,y\n1,a\n9,b\n");
  add("test", "c.csv", "x,y\n9,a\n9,b\n1,a\n4,a\n");
  const std::map<std::pair<std::string, std::string>, int64_t> repeated{
      {{"trusted", "train"}, 1}, {{"test", "trusted"}, 2}, {{"test", "train"}, 1}};
  EXPECT_EQ(row_units(files, read({"x"}), "").repeated, repeated);
}

TEST_F(RowUnitsTest, GroupsJoinWhatCopiesJoin) {
  add("train", "a.csv", "x,who,y\n1,ann,a\n2,bob,a\n3,ann,b\n2,cid,b\n5,,a\n6,,b\n");
  EXPECT_EQ(row_units(files, read({"x"}), "who").unit_of, (Units{0, 1, 0, 1, 4, 5}));
  EXPECT_THROW(row_units(files, read({"x"}), "whom"), InputError);
}

TEST_F(RowUnitsTest, CategoriesCoincideByChance) {
  // Two independent columns of three values, in 90 rows; the same with 30 rows of their own and two copies of each.
  std::string chance = "x,z,y\n", copies = chance;
  for (int i = 0; i < 90; ++i) {
    const auto letter = [](int v) { return std::string(1, static_cast<char>('a' + v)); };
    chance += letter(i % 3) + "," + letter(i / 3 % 3) + ",1\n";
    copies += fmt::format("k{0},m{0},1\n", i % 30);
  }
  add("train", "chance.csv", chance);
  EXPECT_TRUE(row_units(files, read({"x", "z"}, CellReading::category), "", true).unit_of.empty());
  EXPECT_EQ(row_units(files, read({"x", "z"}), "").copies, 81);
  files = {};
  add("train", "copies.csv", copies);
  EXPECT_EQ(row_units(files, read({"x", "z"}, CellReading::category), "", true).copies, 60);
}

TEST_F(RowUnitsTest, NumbersOfFewValuesCoincideByChanceAsCategoriesDo) {
  // Three flags in 90 rows, each combination about eleven times; twelve values, of which each row returns.
  std::string flags = "x,z,v,y\n", many = flags;
  for (int i = 0; i < 90; ++i) {
    flags += fmt::format("{},{},{},1\n", i % 2, i / 2 % 2, i / 4 % 2);
    many += fmt::format("{},{},{},1\n", i % 12, i % 2, i % 3);
  }
  add("train", "flags.csv", flags);
  EXPECT_TRUE(row_units(files, read({"x", "z", "v"}), "", true).unit_of.empty());
  EXPECT_EQ(row_units(files, read({"x", "z", "v"}), "", true).copies, 0);
  files = {};
  add("train", "many.csv", many);
  EXPECT_EQ(row_units(files, read({"x", "z", "v"}), "", true).copies, 78);
}

TEST_F(RowUnitsTest, RowsOfLibsvmFiles) {
  add("train", "a.libsvm", "1 1:1 3:2\n-1 1:1 3:2\n1 1:1 2:2\n-1 1:2 3:1\n1\n");
  EXPECT_EQ(row_units(files, {}, "").unit_of, (Units{0, 0, 2, 3, 4}));
  EXPECT_THROW(row_units(files, {}, "who"), InputError);
}

}  // namespace row_units_test
}  // namespace bilevel
