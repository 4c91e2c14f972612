// What stays on one side of the cuts of a job.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "bilevel/task/auc/auc_setup.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace row_cuts_test {

class RowCuts : public testing::Test {
 protected:
  /// 120 rows; each x stands there three times, each person has six rows, days count up.
  RowCuts() {
    std::string text = "x,z,who,day,y\n";
    for (int i = 0; i < 120; ++i)
      text += std::to_string(i % 40) + ".5," + std::to_string(i * 7 % 120) + ".25,p" + std::to_string(i / 6) +
              ",2024-" + (i < 60 ? "03" : "04") + "-" + (i % 28 < 9 ? "0" : "") + std::to_string(i % 28 + 1) +
              "," + (i % 3 == 0 ? "yes" : "no") + "\n";
    file_ = folder_.write("a.csv", text);
  }
  AucSetup setup(const nlohmann::json& given = nlohmann::json::object()) {
    AucJobOptions options;
    options.train = file_;
    options.label = "y";
    options.positive = "yes";
    options.features = "x";
    options.threads = 1;
    fields_of(options).from_json(given);
    return AucSetup(
        options,
        {.command = "auc", .callbacks = {.message = [&](const std::string& line) { said_ += line + "\n"; }}});
  }
  /// The part of every row of the training file.
  static std::map<int64_t, int> parts_of(const AucSetup& setup) {
    std::map<int64_t, int> part_of;
    int part = 0;
    for (const auto* rows : {&setup.parts().train, &setup.parts().valid, &setup.parts().test}) {
      for (const int64_t row : *rows) part_of[row] = part;
      ++part;
    }
    return part_of;
  }

  TemporaryFolder folder_;
  std::string file_, said_;
};

TEST_F(RowCuts, EqualRowsStayTogether) {
  const AucSetup found = setup();
  std::map<int64_t, int> part_of = parts_of(found);
  ASSERT_EQ(part_of.size(), 120U);
  for (int64_t row = 0; row < 80; ++row) EXPECT_EQ(part_of[row], part_of[row + 40]) << row;
  EXPECT_CONTAINS(said_, "80 rows hold the same as an earlier one in what is read");
}

TEST_F(RowCuts, GroupsStayTogether) {
  const AucSetup found = setup({{"features", "z"}, {"group", "who"}});
  std::map<int64_t, int> part_of = parts_of(found);
  for (int64_t row = 0; row < 120; ++row) EXPECT_EQ(part_of[row], part_of[row / 6 * 6]) << row;
}

TEST_F(RowCuts, FollowTime) {
  std::string text = "x,day,y\n";
  for (int i = 0; i < 60; ++i)
    text += std::to_string(i * 7 % 60) + ".5," + std::to_string(28 - i % 28) + "/0" +
            std::to_string(3 - i / 28) + "/2024," + (i % 3 == 0 ? "yes" : "no") + "\n";
  file_ = folder_.write("b.csv", text);
  const AucSetup found = setup({{"time", "day"}, {"split", "0.5,0.25,0.25"}});
  // The rows stand there from the latest to the earliest.
  EXPECT_EQ(found.parts().test, all_rows(15));
  EXPECT_EQ(found.parts().train.front(), 30);
  EXPECT_THROW(setup({{"time", "y"}}), InputError);
}

TEST_F(RowCuts, TimeGoesBeforeEqualRows) {
  const AucSetup found = setup({{"time", "day"}, {"split", "0.5,0.25,0.25"}});
  for (const int64_t row : found.parts().test) EXPECT_GE(row, 60) << "April is the later month";
  EXPECT_CONTAINS(said_, "copies may be on both sides of a cut");
}

TEST_F(RowCuts, DoubtsAboutTimeAreTold) {
  std::string text = "x,day,who,y\n";
  for (int i = 0; i < 40; ++i)
    text += fmt::format("{}.5,0{}/0{}/2023,{},{}\n", i, i % 9 + 1, i / 5 + 1,
                        i < 3 ? "" : fmt::format("p{}", i), i / 2 % 2 == 0 ? "yes" : "no");
  file_ = folder_.write("d.csv", text + "7.5,,p,no\n");
  setup({{"time", "day"}, {"group", "who"}});
  EXPECT_CONTAINS(said_, "look at day: ");
  EXPECT_CONTAINS(said_, "1 rows have no time in day");
  EXPECT_CONTAINS(said_, "3 rows have no value of who");
}

TEST_F(RowCuts, TooFewUnitsAreTold) {
  std::string text = "x,y\n";
  for (int i = 0; i < 60; ++i)
    text += i % 3 == 0 ? std::to_string(100 + i % 2) + ",no\n" : std::to_string(i % 13) + ",yes\n";
  file_ = folder_.write("c.csv", text);
  const AucSetup found = setup();
  EXPECT_CONTAINS(said_, "equal rows stand on both sides of the cuts");
  EXPECT_CONTAINS(said_, "few rows to judge by");
  EXPECT_EQ(found.notes().size(), 2U);
}

// All rows of class yes are equal to more of class no: a part of whole units would have none of it.
TEST_F(RowCuts, EqualRowsOfTwoClassesLeaveNoPartWithoutOne) {
  std::string text = "x,y\n";
  for (int i = 0; i < 120; ++i) text += fmt::format("{},{}\n", i % 20 + 0.5, i < 6 ? "yes" : "no");
  file_ = folder_.write("e.csv", text);
  const AucSetup found = setup();
  for (const auto* rows : {&found.parts().train, &found.parts().valid, &found.parts().test})
    EXPECT_GT(found.labels_of(*rows).sum().item<double>(), 0);
}

TEST_F(RowCuts, CopiesInTheTestFileAreNoted) {
  const std::string test =
      folder_.write("t.csv", "x,z,who,day,y\n3.5,1,q,2024-05-01,yes\n77.5,1,q,2024-05-01,no\n");
  const AucSetup found = setup({{"test", test}});
  EXPECT_CONTAINS(said_, "1 of 2 test rows hold the same as rows of " + file_ + " in what is read");
}

}  // namespace row_cuts_test
}  // namespace bilevel
