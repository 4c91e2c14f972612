#include "bilevel/task/column_plan.h"

#include "tests/files.h"

namespace bilevel {
namespace column_plan_test {

using Names = std::vector<std::string>;

class ColumnPlanTest : public testing::Test {
 protected:
  ColumnPlan plan(const std::string& text, const ColumnChoice& choice) const {
    return plan_columns(read_table(folder_.write("a.csv", text)), choice);
  }
  static Names names(const ColumnPlan& plan, ColumnUse use) {
    Names names;
    for (const size_t i : plan.indices(use)) names.push_back(plan.columns[i].column.name);
    return names;
  }
  TemporaryFolder folder_;
};

/// 60 rows: id, x, shop, day, name (three words), fixed, y.
std::string customers() {
  std::string text = "id,x,shop,day,name,fixed,y\n";
  for (int i = 0; i < 60; ++i) {
    const std::string n = std::to_string(i);
    text += n + "," + (i == 7 ? "n/a" : std::to_string(i * 7 % 60) + ".5") + "," + (i % 3 == 0 ? "a" : "b") +
            ",2024-01-" + (i % 28 < 9 ? "0" : "") + std::to_string(i % 28 + 1) + ",Mr No " + n + ",k," +
            (i * 11 % 17 < 5 ? "yes" : "no") + "\n";
  }
  return text;
}

TEST_F(ColumnPlanTest, TellsWhatIsReadAndWhatIsLeftOut) {
  const ColumnPlan found = plan(customers(), {.label = "y"});
  EXPECT_EQ(names(found, ColumnUse::feature), (Names{"x", "shop", "day"}));
  EXPECT_EQ(names(found, ColumnUse::left_out), (Names{"id", "name", "fixed"}));
  EXPECT_EQ(found.lines(),
            (Names{"  1 number: x (1 missing: 'n/a' 1)", "  1 date: day", "  1 category: shop (2 values)",
                   "  left out: id (identifier: counts the rows); fixed (one value in every row); name (text "
                   "(--text 'name' "
                   "reads it instead of the columns))"}));
  const auto json = found.to_json();
  EXPECT_EQ(json[1].at("use"), "feature");
  EXPECT_EQ(json[1].at("kind"), "number");
  EXPECT_EQ(json[1].at("marks").at("n/a"), 1);
  EXPECT_EQ(json[0].at("why"), "identifier: counts the rows");
  EXPECT_EQ(json[6].at("use"), "label");
}

TEST_F(ColumnPlanTest, AFeatureWhoseValuesEachGoWithOneLabelIsDoubted) {
  std::string text = "x,state,y\n";
  for (int i = 0; i < 60; ++i)
    text += std::to_string(i * 7 % 60) + ".5,s" + std::to_string(i % 4) + "," + (i % 4 == 0 ? "yes" : "no") +
            "\n";
  const ColumnPlan found = plan(text, {.label = "y"});
  EXPECT_EQ(
      found.lines().back(),
      "  look at state: each of its 4 values goes with one label, in every row; if it is known only when the "
      "label is, leave it out (--drop 'state')");
  EXPECT_EQ(found.columns[0].column.doubt, "") << "60 values in 60 rows say nothing";
}

TEST_F(ColumnPlanTest, ThePersonOverrules) {
  const ColumnPlan listed = plan(customers(), {.features = {"id", "x"}, .label = "y"});
  EXPECT_EQ(names(listed, ColumnUse::feature), (Names{"id", "x"}));
  const ColumnPlan wished =
      plan(customers(), {.drop = {"day"}, .categorical = {"fixed"}, .numeric = {"id"}, .label = "y"});
  EXPECT_EQ(names(wished, ColumnUse::feature), (Names{"id", "x", "shop", "fixed"}));
  const ColumnPlan text = plan(customers(), {.texts = {"name"}, .label = "y"});
  EXPECT_EQ(names(text, ColumnUse::text), (Names{"name"}));
  EXPECT_TRUE(names(text, ColumnUse::feature).empty());
  const ColumnPlan grouped = plan(customers(), {.label = "y", .excluded = {"shop"}});
  EXPECT_EQ(names(grouped, ColumnUse::other), (Names{"shop"}));
}

TEST_F(ColumnPlanTest, RefusesContradictions) {
  const auto refused = [&](const ColumnChoice& choice) {
    return input_error([&] { plan(customers(), choice); });
  };
  EXPECT_EQ(refused({.features = {"y"}, .label = "y"}), "the label column 'y' is also listed as a feature");
  EXPECT_EQ(refused({.texts = {"y"}, .label = "y"}), "the label column 'y' is also named as the text");
  EXPECT_EQ(refused({.label = "y", .excluded = {"y"}}),
            "the label column 'y' is also listed as groups or domains");
  EXPECT_NE(refused({.drop = {"y"}, .label = "y"}).find("drop = y"), std::string::npos);
  EXPECT_NE(
      refused({.features = {"x"}, .categorical = {"shop"}, .label = "y"}).find("is not one of the features"),
      std::string::npos);
  EXPECT_NE(refused({.categorical = {"x"}, .numeric = {"x"}, .label = "y"}), "");
  EXPECT_NE(refused({.drop = {"w"}, .label = "y"}).find("has no column 'w'"), std::string::npos);
}

TEST_F(ColumnPlanTest, AForgottenTextIsRecognized) {
  std::string alone = "text,y\n", beside = "text,x,y\n", two = "a,b,y\n";
  for (int i = 0; i < 40; ++i) {
    const std::string text = "these are eight words and no name " + std::to_string(i),
                      y = i % 2 == 0 ? "yes" : "no";
    alone += text + "," + y + "\n";
    beside += text + "," + std::to_string(i % 7) + "," + y + "\n";
    two += text + "," + text + "," + y + "\n";
  }
  EXPECT_EQ(names(plan(alone, {.label = "y"}), ColumnUse::text), (Names{"text"}));
  EXPECT_EQ(input_error([&] { plan(beside, {.label = "y"}); }),
            "a.csv: column 'text' looks like a text; did you mean --text 'text'? A job reads a text or "
            "columns: --drop 'text' "
            "leaves it out");
  EXPECT_EQ(names(plan(beside, {.drop = {"text"}, .label = "y"}), ColumnUse::feature), (Names{"x"}));
  EXPECT_EQ(input_error([&] { plan(two, {.label = "y"}); }),
            "a.csv: columns 'a', 'b' look like texts; did you mean --text 'a'?");
}

TEST_F(ColumnPlanTest, AColumnThatIsTheLabelIsRefused) {
  std::string text = "x,copy,y\n";
  for (int i = 0; i < 40; ++i)
    text += std::to_string(i * 7 % 40) + ".5," + (i % 3 == 0 ? "1" : "0") + "," +
            (i % 3 == 0 ? "yes" : "no") + "\n";
  EXPECT_EQ(input_error([&] { plan(text, {.label = "y"}); }),
            "a.csv: column 'copy' is the label in other words: each of its values goes with one label, in "
            "every row ('1' with "
            "'yes'); leave it out (--drop 'copy'), or name all columns that are features (--features)");
  EXPECT_EQ(names(plan(text, {.features = {"x", "copy"}, .label = "y"}), ColumnUse::feature),
            (Names{"x", "copy"}));
  EXPECT_EQ(names(plan(text, {.drop = {"copy"}, .label = "y"}), ColumnUse::feature), (Names{"x"}));
}

TEST_F(ColumnPlanTest, AColumnThatIsFilledForOneLabelIsTheLabel) {
  const auto text = [](int first_kept) {  // left: a day for those who left, from some row on
    std::string rows = "x,left,y\n";
    for (int i = 0; i < 40; ++i)
      rows += std::to_string(i * 7 % 40) + ".5," +
              (i % 3 == 0 || i < first_kept ? "2024-01-" + std::to_string(10 + i % 17)
               : i % 2 == 0                 ? ""
                                            : "NA") +
              "," + (i % 3 == 0 ? "yes" : "no") + "\n";
    return rows;
  };
  EXPECT_EQ(
      input_error([&] { plan(text(0), {.label = "y"}); }),
      "a.csv: column 'left' is the label in other words: it is filled in the rows of one label alone, and "
      "in all of them; leave it out (--drop 'left'), or name all columns that are features (--features)");
  EXPECT_EQ(names(plan(text(2), {.label = "y"}), ColumnUse::feature), (Names{"x", "left"}));
}

TEST_F(ColumnPlanTest, WhatTellsThePositiveLabelTellsTheLabel) {
  std::string text = "x,flag,y\n";
  for (int i = 0; i < 60; ++i)
    text += std::to_string(i * 7 % 60) + ".5," + (i % 3 == 0 ? "1" : "0") + "," +
            (i % 3 == 0   ? "a"
             : i % 3 == 1 ? "b"
                          : "c") +
            "\n";
  EXPECT_EQ(plan(text, {.label = "y"}).columns[1].column.doubt, "");
  EXPECT_NE(input_error([&] {
              plan(text, {.label = "y", .positive = "a"});
            }).find("'flag' is the label in other words"),
            std::string::npos);
  EXPECT_EQ(plan(text, {.label = "y", .positive = "b"}).columns[1].column.doubt, "");
  std::string all = "x,flag,y\n";  // of each label, the positive one or not
  for (int i = 0; i < 60; ++i)
    all += std::to_string(i * 7 % 60) + ".5," + std::to_string(i % 3) + "," + std::string(1, "abc"[i % 3]) +
           "\n";
  EXPECT_NE(input_error([&] {
              plan(all, {.label = "y", .positive = "a"});
            }).find("'flag' is the label in other words"),
            std::string::npos);
}

TEST_F(ColumnPlanTest, AThresholdThatTellsTheLabelIsDoubted) {
  const auto text = [](int wrong) {
    std::string rows = "x,score,y\n";
    for (int i = 0; i < 40; ++i)
      rows += std::to_string(i * 7 % 40) + ".5," + (i == 11 ? "" : std::to_string(i * 11 % 40) + ".25") +
              "," + ((i * 11 % 40 > 27) != (i == wrong) ? "yes" : "no") + "\n";
    return rows;
  };
  const ColumnPlan found = plan(text(-1), {.label = "y"});
  EXPECT_EQ(
      found.columns[1].column.doubt,
      "all rows up to 27.25 have one label and all from 28.25 on the other; if it is known only when the "
      "label is, leave it out (--drop 'score')");
  EXPECT_EQ(found.columns[0].column.doubt, "");
  EXPECT_EQ(plan(text(5), {.label = "y"}).columns[1].column.doubt, "");
}

TEST_F(ColumnPlanTest, NothingToRead) {
  std::string text = "id,k,y\n";
  for (int i = 0; i < 30; ++i) text += std::to_string(i) + ",7," + (i % 2 == 0 ? "a" : "b") + "\n";
  EXPECT_EQ(input_error([&] { plan(text, {.label = "y"}); }),
            "a.csv: there is no feature column; left out: id (identifier: counts the rows), k (one value in "
            "every row); "
            "--features or --text names one that is to be read");
}

}  // namespace column_plan_test
}  // namespace bilevel
