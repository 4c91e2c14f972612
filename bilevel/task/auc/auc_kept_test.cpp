// What --keep-best saves, and that `predict` reads it.
#include "bilevel/task/auc/auc_kept.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "bilevel/data/table.h"
#include "bilevel/model/gradient_boosting.h"
#include "bilevel/task/job/job_entry.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace auc_kept_test {

using Json = nlohmann::ordered_json;

class KeepBest : public testing::Test {
 protected:
  /// Rows of two columns; `yes` where `of` of them, and some noise, is above 0.
  std::string rows(int count, double (*of)(double, double)) const {
    std::mt19937 random(7);
    const auto uniform = [&] { return static_cast<double>(random()) / 2147483648.0 - 1; };  // -1 to 1
    std::string table = "y,a,b,text\n";
    for (int i = 0; i < count; ++i) {
      const double a = uniform(), b = uniform();
      const bool yes = of(a, b) + 0.15 * uniform() > 0;
      table += fmt::format("{},{:.5f},{:.5f},{} {} r{}\n", yes ? "yes" : "no", a, b,
                           yes != (i % 9 == 0) ? "good" : "bad", i % 2 == 0 ? "one" : "two", i);
    }
    return folder_.write("rows.csv", table);
  }
  JobResult run(const std::string& file, const nlohmann::json& more) const {
    std::unique_ptr<Job> job = job_registry().at("auc").make();
    const Fields fields = fields_of(*job);
    fields.from_json({{"train", file},
                      {"label", "y"},
                      {"positive", "yes"},
                      {"features", "a,b"},
                      {"encoder", "linear"},
                      {"steps", 1},  // the model is no match for any baseline
                      {"threads", 1}});
    fields.from_json(more);
    std::filesystem::remove_all(folder_.path("out"));
    return start_job(job_registry().at("auc"), *job, folder_.path("out"));
  }
  Table predicted(const std::string& file) const {
    predict({.model = folder_.path("out"), .input = file, .out = folder_.path("p.tsv"), .read = {}});
    return read_table(folder_.path("p.tsv"));
  }
  static double number(const Table& table, size_t row, const std::string& column) {
    return std::stod(std::string(table.cell(row, table.column(column))));
  }
  /// `predict` repeats predictions.tsv; its scores are those of the baseline, u / sqrt(1 + u^2).
  void expect_kept(const std::string& file, const std::string& key) const {
    const Table own = read_table(folder_.path("out/predictions.tsv")), again = predicted(file);
    for (size_t row = 0; row < own.rows(); ++row) {
      const auto at = static_cast<size_t>(number(own, row, "line")) - 2;
      const double u = number(own, row, "score_" + key), score = number(own, row, "score");
      EXPECT_NEAR(score, u / std::sqrt(1 + u * u), 1e-5);
      EXPECT_NEAR(number(again, at, "score"), score, 1e-5);
      EXPECT_NEAR(number(again, at, "p(yes)"), number(own, row, "p(yes)"), 1e-4);
      EXPECT_EQ(again.cell(at, again.column("predicted")), own.cell(row, own.column("predicted")));
      EXPECT_TRUE(own.find_column("score_trained").has_value());
    }
  }

  TemporaryFolder folder_;
};

double line(double a, double b) { return a - 0.5 * b; }
double cross(double a, double b) { return a * b; }

TEST_F(KeepBest, SavesLogisticRegressionAsALinearNetwork) {
  const std::string file = rows(300, line);
  const JobResult made = run(file, {{"keep_best", true}});
  ASSERT_TRUE(made.finished);
  const Json& kept = made.summary.at("kept");
  EXPECT_EQ(kept.at("model"), "logistic_regression") << kept;
  EXPECT_EQ(kept.at("valid_auc"), made.summary.at("baselines").at("logistic_regression").at("valid_auc"));
  EXPECT_NEAR(kept.at("test_auc").get<double>(),
              made.summary.at("baselines").at("logistic_regression").at("test_auc").get<double>(), 1e-9);
  EXPECT_CONTAINS(made.text, "saved is logistic regression on the same features");
  EXPECT_CONTAINS(read_bytes(folder_.path("out/report.html")), "Saved is <b>logistic regression");
  EXPECT_EQ(made.summary.at("explanation").at("method"), "contributions");
  expect_kept(file, "logistic_regression");
}

TEST_F(KeepBest, SavesTheLogisticRegressionOnNgramsOfATokenEncoder) {
  const std::string file = rows(200, line);
  const JobResult made =
      run(file, {{"keep_best", true}, {"features", ""}, {"text", "text"}, {"encoder", "rnn"}, {"hidden", 4}});
  ASSERT_TRUE(made.finished);
  EXPECT_EQ(made.summary.at("kept").at("model"), "logistic_regression") << made.summary.at("kept");
  expect_kept(file, "logistic_regression");
}

TEST_F(KeepBest, SavesTreesInTheirOwnFormat) {
  if (const std::string lacks = gradient_boosting_lacks(); !lacks.empty()) GTEST_SKIP() << lacks;
  const std::string file = rows(400, cross);
  for (const bool refit : {true, false}) {
    const JobResult made = run(file, {{"keep_best", true}, {"refit", refit}});
    ASSERT_TRUE(made.finished);
    EXPECT_EQ(made.summary.at("kept").at("model"), "gradient_boosting") << made.summary.at("kept");
    EXPECT_TRUE(made.summary.at("explanation").is_null());
    expect_kept(file, "gradient_boosting");
  }
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    predict({.model = folder_.path("out"),
                             .input = file,
                             .out = folder_.path("p.tsv"),
                             .read = {},
                             .explain = 2});
                  }),
                  "--explain: not offered for gradient boosting");
}

TEST_F(KeepBest, KeepsTheModelUnlessItIsAskedAndCanChoose) {
  const std::string file = rows(300, line);
  const JobResult unasked = run(file, nlohmann::json::object());
  EXPECT_EQ(unasked.summary.at("kept").at("model"), "trained");
  EXPECT_CONTAINS(unasked.summary.at("warnings").dump(), "--keep-best saves the best of these in its place");
  EXPECT_FALSE(read_table(folder_.path("out/predictions.tsv")).find_column("score_trained").has_value());
  const JobResult few = run(rows(60, line), {{"keep_best", true}});
  EXPECT_EQ(few.summary.at("kept").at("why"), "the validation rows hold too few of a class to choose by");
}

}  // namespace auc_kept_test
}  // namespace bilevel
