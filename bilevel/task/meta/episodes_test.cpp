#include "bilevel/task/meta/episodes.h"

#include <cmath>
#include <map>
#include <set>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace episodes_test {

/// `classes` classes of `rows` rows; class c of group g holds the rows g * 10000 + c * 100 + i.
TaskGroup group_of(int64_t classes, int64_t rows, int64_t g = 0) {
  TaskGroup group;
  for (int64_t c = 0; c < classes; ++c) {
    TaskClass one{.name = "class " + std::to_string(c), .rows = {}};
    for (int64_t i = 0; i < rows; ++i) one.rows.push_back(g * 10000 + c * 100 + i);
    group.classes.push_back(one);
  }
  return group;
}

int64_t class_of(int64_t row) { return row / 100 % 100; }

TEST(EpisodeSource, ATaskHasWaysClassesWithDifferentRowsInSupportAndQuery) {
  const EpisodeSource source({group_of(8, 9)}, {.ways = 5, .shots = 2, .queries = 3}, "training", 1);
  for (int64_t number = 0; number < 50; ++number) {
    const Episodes one = source.draw(number, 1);
    ASSERT_EQ(one.support.size(), 10u);
    ASSERT_EQ(one.query.size(), 15u);
    std::set<int64_t> classes, rows(one.support.begin(), one.support.end());
    rows.insert(one.query.begin(), one.query.end());
    EXPECT_EQ(rows.size(), 25u) << "a row stands twice";
    for (int64_t c = 0; c < 5; ++c) {
      const int64_t name = class_of(one.support[static_cast<size_t>(2 * c)]);
      classes.insert(name);
      EXPECT_EQ(class_of(one.support[static_cast<size_t>(2 * c + 1)]), name);
      for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(class_of(one.query[static_cast<size_t>(3 * c + i)]), name);
    }
    EXPECT_EQ(classes.size(), 5u);
  }
}

TEST(EpisodeSource, ATaskIsKnownByItsNumber) {
  const EpisodeOptions options{.ways = 3, .shots = 1, .queries = 2};
  const EpisodeSource source({group_of(6, 20)}, options, "training", 7);
  const Episodes some = source.draw({4, 9, 4});
  const Episodes all = source.draw(0, 10);
  EXPECT_EQ(some.tasks, 3);
  EXPECT_TRUE(std::equal(some.support.begin(), some.support.begin() + 3, all.support.begin() + 12));
  EXPECT_TRUE(std::equal(some.query.begin() + 6, some.query.begin() + 12, all.query.begin() + 54));
  EXPECT_TRUE(std::equal(some.query.begin(), some.query.begin() + 6, some.query.begin() + 12));
  EXPECT_EQ(EpisodeSource({group_of(6, 20)}, options, "training", 7).draw(0, 10).query, all.query);
  EXPECT_NE(EpisodeSource({group_of(6, 20)}, options, "training", 8).draw(0, 10).query, all.query);
  EXPECT_NE(EpisodeSource({group_of(6, 20)}, options, "test", 7).draw(0, 10).query, all.query);
}

// Every place of a task has every class, and every row, equally often: counts of multinomials, five standard errors.
TEST(EpisodeSource, ClassesPlacesRowsAndGroupsAreUniform) {
  constexpr int64_t kTasks = 6000;
  const EpisodeSource source({group_of(4, 5, 0), group_of(4, 5, 1)}, {.ways = 2, .shots = 1, .queries = 2},
                             "training", 3);
  const Episodes all = source.draw(0, kTasks);
  std::map<int64_t, int64_t> first, rows, groups;
  for (int64_t t = 0; t < kTasks; ++t) {
    const int64_t row = all.support[static_cast<size_t>(2 * t)];
    ++first[class_of(row)];
    ++rows[row];
    ++groups[row / 10000];
  }
  const auto check = [&](const std::map<int64_t, int64_t>& counts, size_t kinds) {
    EXPECT_EQ(counts.size(), kinds);
    const double p = 1.0 / static_cast<double>(kinds);
    for (const auto& [key, count] : counts) {
      EXPECT_NEAR(static_cast<double>(count) / kTasks, p, 5 * std::sqrt(p * (1 - p) / kTasks)) << key;
    }
  };
  check(first, 4);
  check(rows, 40);
  check(groups, 2);
}

TEST(EpisodeSource, RefusesWhatATaskCannotBeDrawnFrom) {
  const auto refusal = [](std::vector<TaskGroup> groups, EpisodeOptions options) {
    return message_of<InputError>([&] { EpisodeSource(std::move(groups), options, "test", 1); });
  };
  TaskGroup uneven = group_of(5, 10);
  uneven.classes[1].rows.resize(11);
  uneven.classes[2].rows.resize(7);
  const std::string few = refusal({uneven}, {.ways = 5, .shots = 6, .queries = 5});
  EXPECT_CONTAINS(few,
                  "shots = 6: a task takes shots + queries = 6 + 5 = 11 rows of each class, but 4 of 5 "
                  "classes in the test part have fewer; the smallest class 'class 2' has 7 rows.");
  EXPECT_CONTAINS(refusal({uneven}, {.ways = 5, .shots = 1, .queries = 7}),
                  "queries = 7: a task takes shots + queries = 1 + 7 = 8 rows of each class, but 1 of 5 "
                  "classes in the test part has fewer; the smallest class 'class 2' has 7 rows.");
  TaskGroup lonely = group_of(5, 10);
  lonely.name = "books";
  lonely.classes[3].rows.resize(1);
  EXPECT_CONTAINS(refusal({lonely}, {.ways = 5, .shots = 1, .queries = 1}),
                  "in the test part has fewer; the smallest class 'class 3' of domain 'books' has 1 row.");
  EXPECT_CONTAINS(refusal({group_of(4, 10)}, {.ways = 5}), "ways = 5: the test part has 4 classes");
  EXPECT_CONTAINS(refusal({}, {}), "nothing to draw test tasks from");
  EXPECT_CONTAINS(refusal({group_of(4, 10)}, {.ways = 1}), "ways = 1: must be at least 2");
  EXPECT_CONTAINS(refusal({group_of(4, 10)}, {.ways = 2, .shots = 0}), "shots = 0");
  EXPECT_CONTAINS(refusal({group_of(4, 10)}, {.ways = 2, .shots = 1, .queries = 0}), "queries = 0");
}

TEST(NamesInList, TakesNamesAndRanges) {
  const std::vector<std::string> known{"0", "1", "2", "3", "sports", "a-b", "-1"};
  EXPECT_EQ(names_in_list("0-2, sports", known, "f"), (std::vector<std::string>{"0", "1", "2", "sports"}));
  EXPECT_EQ(names_in_list("a-b,-1", known, "f"), (std::vector<std::string>{"a-b", "-1"}));
  const auto refusal = [&](const std::string& list) {
    return message_of<InputError>([&] { names_in_list(list, known, "train_classes"); });
  };
  EXPECT_CONTAINS(refusal("2-4"), "train_classes: the data have no '4'; there are 0, 1, 2, 3, sports");
  EXPECT_CONTAINS(refusal("music"), "have no 'music'");
  EXPECT_CONTAINS(refusal("1,0-2"), "'1' is given twice");
  EXPECT_CONTAINS(refusal("2-1"), "runs backward");
  EXPECT_CONTAINS(refusal("1,,2"), "an item of the list is empty");
  EXPECT_CONTAINS(refusal("0-99999999999"), "have no '0-99999999999'");
}

}  // namespace episodes_test
}  // namespace bilevel
