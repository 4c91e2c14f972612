#include "bilevel/task/compare/random_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bilevel/solver/registry.h"

namespace bilevel {
namespace random_search_test {

struct Options {
  double rate = 0.5, fixed = 2;
  int64_t count = 4;
  StepSize step = {};
  std::string name = "a";

  void fields(Fields& f) {
    f.number("rate", rate, kPositive, "searched").search(1e-4, 1);
    f.number("fixed", fixed, kPositive, "not searched");
    f.integer("count", count, kAtLeastOne, "searched").search(1, 20);
    f.step_size("step", step, "searched").search(1e-3, 10);
    f.choice("name", name, {"a", "b"}, "not searched");
  }
};

TEST(RandomSearch, SearchesWhatDeclaresARangeAndIsNotFixed) {
  Options options;
  EXPECT_EQ(searched_options(fields_of(options)), (std::vector<std::string>{"rate", "count", "step"}));
  EXPECT_EQ(searched_options(fields_of(options), {"count"}), (std::vector<std::string>{"rate", "step"}));
  const auto drawn = draw_options(fields_of(options), {"count"}, 1, 1);
  EXPECT_TRUE(drawn.contains("rate") && drawn.contains("step"));
  EXPECT_EQ(drawn.size(), 2U);
}

TEST(RandomSearch, TrialZeroIsTheSolverAsItIs) {
  Options options;
  EXPECT_TRUE(draw_options(fields_of(options), {}, 3, 0).empty());
}

TEST(RandomSearch, DrawsAreLogUniformWithinTheRange) {
  Options options;
  const Fields fields = fields_of(options);
  constexpr int kTrials = 4000;
  double sum = 0, squares = 0;
  std::map<int64_t, int> counts;
  for (int trial = 1; trial <= kTrials; ++trial) {
    const auto drawn = draw_options(fields, {}, 11, trial);
    const auto rate = drawn.at("rate").get<double>();
    ASSERT_TRUE(rate >= 1e-4 && rate <= 1) << rate;
    ASSERT_TRUE(drawn.at("count").is_number_integer());
    ASSERT_TRUE(drawn.at("step").get<double>() >= 1e-3 && drawn.at("step").get<double>() <= 10);
    ++counts[drawn.at("count").get<int64_t>()];
    const double share = std::log10(rate) / 4 + 1;  // uniform in [0, 1]
    sum += share;
    squares += share * share;
    fields.from_json(nlohmann::json(drawn));  // every value is one that the options take
  }
  // Mean 1/2 and mean square 1/3, within four standard errors.
  EXPECT_NEAR(sum / kTrials, 0.5, 4 * std::sqrt(1.0 / 12 / kTrials));
  EXPECT_NEAR(squares / kTrials, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / kTrials));
  EXPECT_EQ(counts.begin()->first, 1);
  EXPECT_EQ(counts.rbegin()->first, 20);
  // Log-uniform, rounded: P(1) = log(1.5)/log(20), P(3) = log(3.5/2.5)/log(20).
  const double one = std::log(1.5) / std::log(20), three = std::log(3.5 / 2.5) / std::log(20);
  EXPECT_NEAR(static_cast<double>(counts[1]) / kTrials, one, 4 * std::sqrt(one * (1 - one) / kTrials));
  EXPECT_NEAR(static_cast<double>(counts[3]) / kTrials, three, 4 * std::sqrt(three * (1 - three) / kTrials));
}

TEST(RandomSearch, DrawsDependOnSeedTrialAndNameAlone) {
  Options options;
  const Fields fields = fields_of(options);
  EXPECT_EQ(draw_options(fields, {}, 5, 2), draw_options(fields, {}, 5, 2));
  EXPECT_NE(draw_options(fields, {}, 5, 2), draw_options(fields, {}, 5, 3));
  EXPECT_NE(draw_options(fields, {}, 5, 2), draw_options(fields, {}, 6, 2));
  // Fixing one option, or having others, changes no draw; nor do the present values.
  const auto all = draw_options(fields, {}, 5, 2);
  EXPECT_EQ(draw_options(fields, {"count"}, 5, 2).at("rate"), all.at("rate"));
  double rate = 0.9;
  Fields other;
  other.number("rate", rate, kPositive, "the same option of another solver").search(1e-4, 1);
  EXPECT_EQ(draw_options(other, {}, 5, 2).at("rate"), all.at("rate"));
}

TEST(RandomSearch, BestTrial) {
  using Trials = std::vector<TrialScore>;
  const TrialScore lost{.usable = false, .score = 1e9};
  const Trials trials{{true, 0.5}, {true, 0.7}, lost, {true, 0.7}, {true, 0.2}};
  EXPECT_EQ(best_trial(trials, true), 1);  // the first of equals
  EXPECT_EQ(best_trial(trials, false), 4);
  EXPECT_EQ(best_trial({{true, 0.5}, {true, 0.5}}, true), 0);  // the defaults win a tie
  EXPECT_EQ(best_trial({lost, {true, 0.1}}, true), 1);         // diverged defaults do not
  EXPECT_EQ(best_trial({lost, lost}, true), 0);
  EXPECT_EQ(best_trial({{true, 0.3}, {false, 0.1}}, false), 0);
}

// Every solver's ranges hold values that the solver itself takes.
TEST(RandomSearch, RangesOfAllSolversArePossible) {
  for (const SolverEntry& entry : solver_registry()) {
    SCOPED_TRACE(entry.name);
    const std::unique_ptr<Solver> solver = entry.make();
    const Fields fields = fields_of(*solver);
    EXPECT_FALSE(searched_options(fields).empty());
    for (const Field& field : fields.list()) {
      if (!field.range) continue;
      SCOPED_TRACE(field.name);
      EXPECT_GT(field.range->low, 0);
      EXPECT_LT(field.range->low, field.range->high);
      EXPECT_TRUE(field.type == "number" || field.type == "integer" || field.type == "number|auto")
          << field.type;
      EXPECT_NO_THROW(field.set(field.range->low));
      EXPECT_NO_THROW(field.set(field.range->high));
    }
    for (int64_t trial = 1; trial <= 50; ++trial)
      EXPECT_NO_THROW(fields.from_json(nlohmann::json(draw_options(fields, {}, 1, trial))));
  }
}

}  // namespace random_search_test
}  // namespace bilevel
