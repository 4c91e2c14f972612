#include "bilevel/task/compare/random_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "bilevel/core/streams.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace random_search_test {

/// The options that a search varies: those with a range, less the fixed ones.
std::vector<std::string> searched_options(const Fields& fields, const std::set<std::string>& fixed = {}) {
  std::vector<std::string> names;
  for (const Field& field : fields.list()) {
    if (field.range && fixed.count(field.name) == 0) names.push_back(field.name);
  }
  return names;
}

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
  for (int64_t trial = 1; trial < 40; ++trial)
    EXPECT_FALSE(draw_options(fields_of(options), {"count"}, 1, trial, 40).contains("count"));
  EXPECT_TRUE(draw_options(fields_of(options), {"rate", "count", "step"}, 4, 1, 2).empty());
}

TEST(RandomSearch, TrialZeroIsTheSolverAsItIs) {
  Options options;
  EXPECT_TRUE(draw_options(fields_of(options), {}, 3, 0, 9).empty());
}

// The first option alone, then one option after the other from the best so far: what is automatic stays so in most
// trials, however many options there are.
TEST(RandomSearch, OneOptionAtATimeAndTheFirstOneFirst) {
  Options options;
  const Fields fields = fields_of(options);
  const nlohmann::ordered_json best{{"rate", 0.01}, {"count", 7}};
  std::map<std::string, int> changed;
  for (int64_t trial = 1; trial < 20; ++trial) {
    const auto drawn = draw_options(fields, {}, 4, trial, 20, best);
    if (trial <= 10) {
      EXPECT_EQ(drawn.size(), 1U) << trial;
      EXPECT_TRUE(drawn.contains("rate")) << trial;
      continue;
    }
    int differ = 0;
    for (const auto& [name, value] : drawn.items()) {
      if (best.contains(name) && best.at(name) == value) continue;
      ++differ;
      ++changed[name];
    }
    EXPECT_LE(differ, 1) << trial;  // an integer may be drawn as it was
    for (const auto& [name, value] : best.items()) EXPECT_TRUE(drawn.contains(name)) << trial;
    EXPECT_GT(drawn.at("rate").get<double>(), 0.0024);  // within a factor of 4
    EXPECT_LT(drawn.at("rate").get<double>(), 0.041);
  }
  EXPECT_EQ(changed["rate"], 3);
  EXPECT_EQ(changed["step"], 3);
  EXPECT_LE(changed["count"], 3);
  // Without the first, all trials are of the later kind.
  const auto rest = draw_options(fields, {"rate"}, 4, 1, 20);
  EXPECT_EQ(rest.size(), 1U);
  EXPECT_FALSE(rest.contains("rate"));
}

double place_of_rate(const nlohmann::ordered_json& drawn) {
  return std::log10(drawn.at("rate").get<double>()) / 4 + 1;
}

// However few trials there are: no gap of the first option's range is wider than 2/n.
TEST(RandomSearch, TheFirstOptionIsSearchedEvenly) {
  Options options;
  const Fields fields = fields_of(options);
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    for (const int64_t alone : {3, 6, 9, 15, 30}) {
      std::vector<double> places{0, 1};
      for (int64_t trial = 1; trial <= alone * 2 / 3; ++trial)
        places.push_back(place_of_rate(draw_options(fields, {}, seed, trial, 2 * alone)));
      std::sort(places.begin(), places.end());
      for (size_t i = 1; i < places.size(); ++i)
        EXPECT_LT(places[i] - places[i - 1], 3.0 / static_cast<double>(alone)) << alone;
    }
  }
}

// A score with one optimum, anywhere in four decades, is found to within a fifth of a decade by ten trials.
TEST(RandomSearch, TheFirstOptionClosesInOnTheBest) {
  int far = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Options options;
    const Fields fields = fields_of(options);
    const double optimum = static_cast<double>(derive_seed(seed, "optimum") >> 11) * 0x1p-53;
    nlohmann::ordered_json best;
    const auto miss = [&](const nlohmann::ordered_json& drawn) {
      return std::abs((drawn.empty() ? std::log10(options.rate) / 4 + 1 : place_of_rate(drawn)) - optimum);
    };
    for (int64_t trial = 1; trial <= 10; ++trial) {
      const auto drawn = draw_options(fields, {}, seed, trial, 20, best);
      if (miss(drawn) < miss(best)) best = drawn;
    }
    far += miss(best) > 0.05;
  }
  EXPECT_LT(far, 20);
}

TEST(RandomSearch, DrawsAreLogUniformWithinTheRange) {
  constexpr int kTrials = 6000;  // 2000 of the first option, 1000 about the best, then all in turn
  double sum = 0, squares = 0, step_sum = 0;
  int steps = 0;
  std::map<int64_t, int> counts;
  for (int trial = 1; trial < kTrials; ++trial) {
    Options options;
    const Fields fields = fields_of(options);
    const auto drawn = draw_options(fields, {}, 11, trial, kTrials);
    ASSERT_EQ(drawn.size(), 1U);
    if (trial <= kTrials / 3) {
      const auto rate = drawn.at("rate").get<double>();
      ASSERT_TRUE(rate >= 1e-4 && rate <= 1) << rate;
      const double place = std::log10(rate) / 4 + 1;  // uniform in [0, 1]
      sum += place;
      squares += place * place;
    } else if (trial <= kTrials / 2) {
      ASSERT_NEAR(drawn.at("rate").get<double>(), 0.5,
                  trial < kTrials / 3 + 20 ? 0.01 : 1e-3);  // where it is
    } else if (drawn.contains("count")) {
      ASSERT_TRUE(drawn.at("count").is_number_integer());
      ++counts[drawn.at("count").get<int64_t>()];
    } else if (drawn.contains("step")) {
      const auto step = drawn.at("step").get<double>();
      ASSERT_TRUE(step >= 1e-3 && step <= 10);
      step_sum += (std::log10(step) + 3) / 4;
      ++steps;
    }
    fields.from_json(nlohmann::json(drawn));  // every value is one that the options take
  }
  // Mean 1/2 and mean square 1/3; an even sequence is closer than draws: O(log n / n).
  EXPECT_NEAR(sum / (kTrials / 3), 0.5, 2e-3);
  EXPECT_NEAR(squares / (kTrials / 3), 1.0 / 3, 2e-3);
  EXPECT_NEAR(step_sum / steps, 0.5, 4 * std::sqrt(1.0 / 12 / steps));  // automatic: the whole range
  EXPECT_EQ(counts.begin()->first, 1);                                  // within a factor of 4 about 4
  EXPECT_EQ(counts.rbegin()->first, 16);
}

TEST(RandomSearch, DrawsDependOnSeedTrialAndNameAlone) {
  Options options;
  const Fields fields = fields_of(options);
  EXPECT_EQ(draw_options(fields, {}, 5, 2, 9), draw_options(fields, {}, 5, 2, 9));
  EXPECT_NE(draw_options(fields, {}, 5, 2, 9), draw_options(fields, {}, 5, 3, 9));
  EXPECT_NE(draw_options(fields, {}, 5, 2, 9), draw_options(fields, {}, 6, 2, 9));
  // Fixing one option, or having others, changes no draw; nor do the present values.
  const auto all = draw_options(fields, {}, 5, 2, 9);
  EXPECT_EQ(draw_options(fields, {"count"}, 5, 2, 9), all);
  double rate = 0.9;
  Fields other;
  other.number("rate", rate, kPositive, "the same option of another solver").search(1e-4, 1);
  EXPECT_EQ(draw_options(other, {}, 5, 2, 9), all);
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
      EXPECT_NO_THROW(fields.from_json(nlohmann::json(draw_options(fields, {}, 1, trial, 51))));
  }
}

}  // namespace random_search_test
}  // namespace bilevel
