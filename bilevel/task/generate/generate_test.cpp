#include "bilevel/task/generate/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "bilevel/core/error.h"
#include "bilevel/report/metrics.h"
#include "tests/files.h"

namespace bilevel {
namespace generate_test {

using Rows = std::vector<std::vector<std::string>>;

/// The cells of a file, its header in the first row.
Rows rows_of(const GeneratedSet& set, const std::string& name) {
  const char comma = name.ends_with(".csv") ? ',' : '\t';
  Rows rows;
  for (const GeneratedFile& file : set.files) {
    if (file.name != name) continue;
    std::istringstream lines(file.content);
    for (std::string line; std::getline(lines, line);) {
      rows.emplace_back();
      std::istringstream cells(line);
      for (std::string cell; std::getline(cells, cell, comma);) rows.back().push_back(cell);
    }
  }
  EXPECT_GT(rows.size(), 1U) << name;
  return rows;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

/// Accuracy on `test` of naive Bayes, counted on `train`; columns label and text.
double naive_bayes(const Rows& train, const Rows& test) {
  std::map<std::string, std::map<std::string, double>> counts;
  std::map<std::string, double> sums, rows;
  for (size_t i = 1; i < train.size(); ++i) {
    rows[train[i][0]] += 1;
    for (const std::string& word : words_of(train[i][1])) {
      counts[train[i][0]][word] += 1;
      sums[train[i][0]] += 1;
    }
  }
  double right = 0;
  for (size_t i = 1; i < test.size(); ++i) {
    std::pair<double, std::string> best{-1e300, ""};
    for (const auto& [label, sum] : sums) {
      double score = std::log(rows[label]);
      for (const std::string& word : words_of(test[i][1]))
        score += std::log((counts[label][word] + 0.1) / (sum + 170));
      best = std::max(best, std::pair(score, label));
    }
    right += best.second == test[i][0] ? 1 : 0;
  }
  return right / static_cast<double>(test.size() - 1);
}

TEST(Generate, TheSeedDecidesEverything) {
  for (const char* kind : {"cleaning", "tuning", "mixing", "meta", "imbalanced"}) {
    const GenerateOptions options{.kind = kind, .rows = 100, .classes = 3, .seed = 4};
    const GeneratedSet first = generate_data(options), again = generate_data(options);
    GenerateOptions other_seed = options;
    other_seed.seed = 5;
    const GeneratedSet other = generate_data(other_seed);
    ASSERT_EQ(first.files.size(), again.files.size());
    EXPECT_EQ(first.files.back().name, "truth.tsv");
    for (size_t i = 0; i < first.files.size(); ++i) {
      EXPECT_EQ(first.files[i].content, again.files[i].content) << kind << " " << first.files[i].name;
      EXPECT_NE(first.files[i].content, other.files[i].content) << kind << " " << first.files[i].name;
    }
  }
}

TEST(Generate, CleaningFlipsExactlyWhatTheTruthSays) {
  const GeneratedSet set = generate_data({.kind = "cleaning", .rows = 2000, .noise = 0.4, .seed = 1});
  const Rows train = rows_of(set, "train.tsv"), truth = rows_of(set, "truth.tsv"),
             test = rows_of(set, "test.tsv");
  EXPECT_EQ(train[0], (std::vector<std::string>{"label", "text"}));
  EXPECT_EQ(truth[0], (std::vector<std::string>{"row", "true_label", "given_label", "flipped"}));
  ASSERT_EQ(train.size(), 2001U);
  ASSERT_EQ(truth.size(), train.size());
  EXPECT_EQ(rows_of(set, "trusted.tsv").size(), 201U);
  int64_t flipped = 0;
  std::map<std::pair<std::string, std::string>, int64_t> pairs;
  Rows right = train;
  for (size_t i = 1; i < truth.size(); ++i) {
    EXPECT_EQ(truth[i][0], std::to_string(i));
    EXPECT_EQ(truth[i][2], train[i][0]);
    EXPECT_EQ(truth[i][3], truth[i][1] == truth[i][2] ? "0" : "1");
    flipped += truth[i][3] == "1" ? 1 : 0;
    if (truth[i][3] == "1") ++pairs[{truth[i][1], truth[i][2]}];
    right[i][0] = truth[i][1];
  }
  EXPECT_EQ(flipped, 800);
  // Symmetric: each of the 12 ordered pairs of 4 classes is as likely; 4.5 standard errors.
  EXPECT_EQ(pairs.size(), 12U);
  for (const auto& [pair, count] : pairs)
    EXPECT_NEAR(static_cast<double>(count), 800.0 / 12, 4.5 * std::sqrt(800.0 / 12))
        << pair.first << pair.second;
  // The texts tell the true classes: measured 0.93 with the right labels.
  EXPECT_GT(naive_bayes(right, test), 0.88);
  EXPECT_GT(naive_bayes(right, rows_of(set, "trusted.tsv")), 0.88);
  EXPECT_LT(naive_bayes(right, train), 0.7);  // and not the given ones
}

TEST(Generate, CleaningWithColumns) {
  const GeneratedSet set = generate_data({.kind = "cleaning",
                                          .rows = 500,
                                          .test_rows = 50,
                                          .trusted_rows = 20,
                                          .classes = 3,
                                          .columns = 5,
                                          .noise = 0});
  const Rows train = rows_of(set, "train.csv"), truth = rows_of(set, "truth.tsv");
  EXPECT_EQ(train[0], (std::vector<std::string>{"label", "x1", "x2", "x3", "x4", "x5"}));
  EXPECT_EQ(rows_of(set, "test.csv").size(), 51U);
  EXPECT_EQ(rows_of(set, "trusted.csv").size(), 21U);
  for (size_t i = 1; i < truth.size(); ++i) EXPECT_EQ(truth[i][3], "0");
}

TEST(Generate, TuningHasTheWeightsOfTheTruth) {
  const GeneratedSet set = generate_data({.kind = "tuning",
                                          .rows = 100,
                                          .test_rows = 4000,
                                          .columns = 30,
                                          .relevant = 6,
                                          .noise = 0.1,
                                          .seed = 2});
  const Rows truth = rows_of(set, "truth.tsv"), test = rows_of(set, "test.csv");
  ASSERT_EQ(truth.size(), 31U);
  EXPECT_EQ(rows_of(set, "valid.csv").size(), 51U);
  std::vector<double> weights, covariance(30, 0.0);
  for (size_t i = 1; i < truth.size(); ++i) weights.push_back(std::stod(truth[i][1]));
  EXPECT_EQ(std::count(weights.begin(), weights.end(), 0.0), 24);
  double found = 0, expected = 0, variance = 0;
  for (size_t i = 1; i < test.size(); ++i) {
    double score = 0;
    for (size_t j = 0; j < 30; ++j) {
      const double value = std::stod(test[i][j + 1]);
      score += weights[j] * value;
      covariance[j] += value * (std::stod(test[i][0]) - 0.5) / 4000;
    }
    // The label is 1 with probability sigmoid(score).
    const double p = 1 / (1 + std::exp(-std::abs(score)));
    found += (score > 0) == (test[i][0] == "1") ? 1 : 0;
    expected += p;
    variance += p * (1 - p);
  }
  EXPECT_NEAR(found, expected, 4 * std::sqrt(variance));
  for (size_t j = 0; j < 30; ++j) {
    if (weights[j] == 0) {
      EXPECT_NEAR(covariance[j], 0, 4 * 0.5 / std::sqrt(4000)) << j;
    } else {
      EXPECT_GE(std::abs(weights[j]), 0.5);
      EXPECT_LE(std::abs(weights[j]), 1.5);
      EXPECT_GT(covariance[j] * weights[j], 0) << j;
    }
  }
}

TEST(Generate, MetaClassesMixTheThemesOfTheTruth) {
  const GeneratedSet set = generate_data({.kind = "meta", .rows = 3000, .classes = 12, .seed = 3});
  const Rows data = rows_of(set, "data.tsv"), truth = rows_of(set, "truth.tsv");
  EXPECT_EQ(truth.size(), 1U + 12 * 4);
  std::map<std::string, std::set<std::string>> words;
  std::set<std::string> all;
  for (size_t i = 1; i < truth.size(); ++i) {
    for (const std::string& word : words_of(truth[i][2])) {
      words[truth[i][0]].insert(word);
      all.insert(word);
    }
  }
  EXPECT_EQ(words.size(), 12U);
  int64_t own = 0, other = 0, total = 0;
  for (size_t i = 1; i < data.size(); ++i) {
    for (const std::string& word : words_of(data[i][1])) {
      ++total;
      const bool is_own = words.at(data[i][0]).contains(word);
      own += is_own ? 1 : 0;
      other += !is_own && all.contains(word) ? 1 : 0;
    }
  }
  EXPECT_EQ(other, 0);
  const auto n = static_cast<double>(total);
  EXPECT_NEAR(static_cast<double>(own) / n, 0.3, 4 * std::sqrt(0.3 * 0.7 / n));
}

TEST(Generate, MetaDomainsContradictEachOther) {
  const GeneratedSet set = generate_data({.kind = "meta", .rows = 500, .domains = 5, .seed = 3});
  const Rows data = rows_of(set, "data.tsv"), truth = rows_of(set, "truth.tsv");
  EXPECT_EQ(data[0], (std::vector<std::string>{"domain", "label", "text"}));
  std::set<std::string> domains;
  for (size_t i = 1; i < data.size(); ++i) domains.insert(data[i][0]);
  EXPECT_EQ(domains.size(), 5U);
  ASSERT_EQ(truth.size(), 1U + 5 * 2 * 4);
  std::map<std::string, std::set<std::string>> labels;  // of a theme
  for (size_t i = 1; i < truth.size(); ++i) labels[truth[i][2]].insert(truth[i][1]);
  EXPECT_EQ(labels.size(), 14U);  // 4 of the labels, 10 of the domains
  EXPECT_EQ(std::count_if(labels.begin(), labels.end(), [](const auto& l) { return l.second.size() == 2; }),
            10);
}

TEST(Generate, ImbalancedKnowsTheBestScore) {
  for (const int64_t columns : {0, 8}) {
    const GeneratedSet set = generate_data({.kind = "imbalanced",
                                            .rows = 1000,
                                            .test_rows = 4000,
                                            .columns = columns,
                                            .positive_share = 0.1,
                                            .seed = 1});
    const std::string ending = columns == 0 ? ".tsv" : ".csv";
    const Rows train = rows_of(set, "train" + ending), test = rows_of(set, "test" + ending),
               truth = rows_of(set, "truth.tsv");
    ASSERT_EQ(truth.size(), test.size());
    const std::string positive = columns == 0 ? "game" : "positive";
    const auto positives = [&](const Rows& rows) {
      return std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row[0] == positive; });
    };
    EXPECT_EQ(positives(train), 100);
    EXPECT_EQ(positives(test), 400);
    std::vector<float> scores, labels;
    for (size_t i = 1; i < test.size(); ++i) {
      scores.push_back(std::stof(truth[i][1]));
      labels.push_back(test[i][0] == positive ? 1 : 0);
    }
    const double best = auc(ScoredRows(torch::tensor(scores), torch::tensor(labels)));
    if (columns > 0) {
      EXPECT_NEAR(best, 0.5 * std::erfc(-1.5 / 2),
                  4 * 0.012);  // Phi(1.5 / sqrt 2); the standard error by 400 positives
    } else {
      EXPECT_GT(best, 0.9);
      EXPECT_LT(best, 0.999);
    }
  }
}

TEST(Generate, RefusesImpossibleNumbers) {
  const auto refused = [](const GenerateOptions& options) {
    return input_error([&] { generate_data(options); });
  };
  EXPECT_EQ(refused({.kind = "x"}),
            "unknown kind 'x'; the kinds are cleaning, tuning, mixing, meta and imbalanced");
  EXPECT_EQ(refused({.kind = "cleaning", .rows = 5}), "rows = 5: must be >= 20");
  EXPECT_EQ(refused({.kind = "cleaning", .test_rows = 0}), "test_rows = 0: must be >= 1");
  EXPECT_EQ(refused({.kind = "cleaning", .trusted_rows = 0}), "trusted_rows = 0: must be >= 1");
  EXPECT_EQ(refused({.kind = "cleaning", .classes = 21}), "classes = 21: must be 2 to 20");
  EXPECT_EQ(refused({.kind = "cleaning", .noise = 1}), "noise = 1: must be in [0, 1)");
  EXPECT_EQ(refused({.kind = "tuning", .columns = 0}), "columns = 0: must be at least 1 for tuning");
  EXPECT_EQ(refused({.kind = "mixing", .columns = 1}), "columns = 1: must be at least 2 for mixing");
  EXPECT_EQ(refused({.kind = "tuning", .columns = 5}), "relevant = 10: must be 1 to the number of columns");
  EXPECT_EQ(refused({.kind = "meta", .columns = 5}), "columns = 5: must be 0: meta sets hold texts");
  EXPECT_EQ(refused({.kind = "meta", .domains = 1}), "domains = 1: must be 0, or 2 to 28");
  EXPECT_EQ(refused({.kind = "imbalanced", .positive_share = 1}), "positive_share = 1: must be in (0, 1)");
}

}  // namespace generate_test
}  // namespace bilevel
