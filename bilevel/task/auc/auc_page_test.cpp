#include "bilevel/task/auc/auc_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>

namespace bilevel {
namespace auc_page_test {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A report with everything in it.
AucReport example() {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<double> scores[2];
  std::vector<double> base_scores;
  std::vector<int64_t> labels;
  for (int i = 0; i < 1500; ++i) {
    labels.push_back(i % 8 == 0 ? 1 : 0);
    const double lift = static_cast<double>(labels.back());
    const double shared = normal(random);
    scores[0].push_back(shared + 0.5 * normal(random) + 3 * lift);
    base_scores.push_back(shared + 0.9 * normal(random) + 2.6 * lift);
    scores[1].push_back(normal(random) + 3 * lift);
  }
  const ScoredRows test(scores[0], labels);
  const ScoredRows base(base_scores, labels);
  const ScoredRows valid(scores[1], labels);
  const ThresholdCounts best = best_f1(valid);
  const std::string folder = "bilevel-auc-games";
  AucReport report{
      .title = "Debian packages: section games",
      .positive = "games",
      .summary =
          {{"command", "auc"},
           {"solver", "adambo"},
           {"encoder", "bag"},
           {"seed", 7},
           {"steps", 12000},
           {"seconds", 58.2},
           {"training_seconds", 41.73},
           {"stop_reason", "max_steps"},
           {"best_step", 9500},
           {"metrics",
            {{"train", {{"auc", 0.9991}, {"average_precision", 0.987}, {"loss", 0.0123}}},
             {"valid", {{"auc", 0.9812}, {"average_precision", 0.801}, {"loss", 0.0345}}},
             {"test",
              {{"auc", auc(test)}, {"average_precision", average_precision(test)}, {"loss", nullptr}}}}},
           {"oracle_calls",
            {{"steps", {{"lower_gradient", 12000}, {"hvp", 0}, {"cross_vjp", 12000}}},
             {"warm_start", {{"lower_gradient", 20}}}}},
           {"samples", {{"upper", 384000}, {"lower", 384000}}},
           {"peak_rss_bytes", 734003200},
           {"out", folder},
           {"warnings", nlohmann::ordered_json::array()}},
      .test = auc_estimate(test),
      .baselines = {{"logistic_regression", "logistic regression on TF-IDF of words and word pairs",
                     auc_estimate(base), auc_difference(test, base)}},
      .threshold = {best, counts_at(test, best.threshold)},
      .made = {.command_line = "bilevel auc --train 'my games.tsv'",
               .version = "0.1",
               .date = "2026-01-02 03:04:05 UTC",
               .options = {{"Options",
                            {{"upper_step_size", 0.001},
                             {"lower_step_size", "auto (0.31)"},
                             {"encoder", {{"name", "bag"}, {"hidden", 64}}},
                             {"refit", true}}}}}};
  report.parts = {{"training", 37000, 629, "packages.tsv.gz, stratified share"},
                  {"validation", 5000, 85, "held out of the training part"},
                  {"test", 1500, 188, "test.tsv"}};
  report.data_facts = {
      {"text column", "description"}, {"empty texts", "3"}, {"vocabulary", "hashed, 262144 buckets"}};
  report.row_name = "description";
  report.best_ranked = {
      {"supertux, Classic 2D jump 'n run sidescroller with Tux", true, 4.21},
      {"openttd, reimplementation of Transport Tycoon Deluxe with enhancements", true, 4.02},
      {"gnome-games-app, simple game launcher for GNOME", false, 3.87}};
  report.doubtful = {
      {"stella, Atari 2600 Emulator for SDL & the X Window System, " + std::string(400, 'x'), false, 1.52}};
  Series train{"training rows", {}, {}};
  Series held{"validation rows", {}, {}};
  Series loss{"training loss", {}, {}};
  for (int step = 0; step <= 12000; step += 100) {
    train.x.push_back(step);
    held.x.push_back(step);
    train.y.push_back(1 - 0.5 * std::exp(-step / 1500.0));
    held.y.push_back(0.98 - 0.48 * std::exp(-step / 1200.0) + 0.004 * std::sin(step / 300.0));
    loss.x.push_back(step);
    loss.y.push_back(std::exp(-step / 3000.0) * (1 + 0.2 * std::sin(step)));
  }
  const std::vector<Marker> chosen{{9500, "chosen step 9500"}};
  report.figures = {
      {draw({.title = "AUC while training",
             .x_label = "step",
             .y_label = "AUC",
             .series = {train, held},
             .markers = chosen}),
       "AUC over all rows of each part."},
      {draw({.title = "Loss while training",
             .x_label = "step",
             .y_label = "loss",
             .series = {loss},
             .markers = chosen,
             .log_y = true}),
       ""},
      {draw_roc("ROC on the test rows", {{"bag", roc_curve(test)}, {"baseline", roc_curve(base)}}),
       "Up and left is better."}};
  return report;
}

TEST(AucPage, TellsTheWholeStory) {
  const std::string page = auc_report_html(example());
  if (const char* path = std::getenv("BILEVEL_KEEP_REPORT")) std::ofstream(path) << page;
  for (const char* text :
       {"<title>Debian packages: section games</title>",
        "AUC on the test rows",
        "95\u00a0% score interval",
        "logistic regression on TF-IDF",
        "is ranked above a random negative one in <b>",
        "The model is better than the baseline, logistic regression on TF-IDF of words and word pairs: "
        "its test AUC is higher by",
        "the planned number of steps was done. Chosen step: 9\u202f500",
        "highest F1 on the validation rows",
        "supertux",
        "jump &#39;n run",
        "SDL &amp; the X",
        "encoder.hidden",
        "bilevel auc --train &#39;my games.tsv&#39;",
        "bilevel 0.1, begun on 2026-01-02 03:04:05 UTC.",
        "steps.cross_vjp",
        "700 MiB",
        "37\u202f000",
        "1.7&nbsp;%",
        "bilevel predict --model bilevel-auc-games --input NEW_ROWS_FILE --out scores.tsv",
        "41.7 s",
        "0.9991",
        "hashed, 262144"}) {
    EXPECT_TRUE(contains(page, text)) << text;
  }
  EXPECT_FALSE(contains(page, std::string(301, 'x'))) << "long cells are cut";
}

/// Every tag that is opened is closed in order; a small check of well-formedness.
void expect_balanced(const std::string& page) {
  const std::set<std::string> empty_tags{"meta", "img", "br", "!DOCTYPE"};
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string name = page.substr(at + 1, end - at - 1);
    const bool closing = name.starts_with('/');
    name = name.substr(closing ? 1 : 0, name.find_first_of(" \n", closing ? 1 : 0) - (closing ? 1 : 0));
    if (empty_tags.contains(name)) continue;
    if (!closing) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name);
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
}

/// The page without its own script, of which there must be one.
std::string without_script(const std::string& page) {
  const size_t begin = page.find("<script>"), end = page.find("</script>", begin);
  EXPECT_NE(end, std::string::npos);
  EXPECT_EQ(page.find('<', begin + 1), end) << "the tests and some readers take '<' for a tag";
  return page.substr(0, begin) + page.substr(end + 9);
}

TEST(AucPage, IsBalancedSelfContainedAndWithOneScript) {
  const std::string page = auc_report_html(example());
  expect_balanced(page);
  EXPECT_TRUE(contains(page, "content=\"default-src 'none'; "));
  const std::string rest = without_script(page);
  for (const char* text :
       {"<script", "http:", "https:", "@import", "url(", "<link", "onload", "javascript"}) {
    EXPECT_FALSE(contains(rest, text)) << text;
  }
}

TEST(AucPage, EverythingIsEscaped) {
  const std::string evil = "<script>alert('x')</script>\"&\xff";
  AucReport report = example();
  report.title = report.positive = report.row_name = evil;
  for (const char* key : {"command", "solver", "encoder", "seed", "steps", "stop_reason", "out"})
    report.summary[key] = evil;
  report.summary["metrics"]["test"]["loss"] = evil;
  report.summary["oracle_calls"] = {{evil, evil}, {"list", {evil}}};
  report.made = {evil, evil, evil, {{evil, {{evil, evil}, {"nested", {{evil, evil}}}}}}};
  report.baselines[0].name = evil;
  report.parts[0].name = report.parts[0].source = evil;
  report.data_facts = {{evil, evil}};
  report.best_ranked[0].text = evil;
  report.figures[0].caption = evil;
  report.figures.push_back({{"", evil}, ""});
  report.summary["warnings"] = nlohmann::ordered_json::array({evil});
  const std::string page = auc_report_html(report);
  EXPECT_FALSE(contains(without_script(page), "<script"));
  EXPECT_FALSE(contains(page, "\xff"));
  EXPECT_TRUE(contains(page, "&lt;script&gt;"));
  expect_balanced(page);
}

TEST(AucPage, AMissingPictureIsSaid) {
  AucReport report = example();
  report.figures = {{draw_roc("ROC", {}, "no-such-program-anywhere"), "ROC"}, {{}, "Loss"}};
  const std::string page = auc_report_html(report);
  EXPECT_TRUE(contains(page, "the program no-such-program-anywhere is not installed"));
  EXPECT_TRUE(contains(page, "No picture: Loss"));
}

TEST(AucPage, TheComparisonSaysWhatTheFiguresSay) {
  AucReport report = example();
  report.baselines[0].difference = {-0.02, 0.005, -0.03, -0.01, ""};
  EXPECT_TRUE(contains(auc_report_html(report), "The model is worse than the baseline, "));
  EXPECT_TRUE(contains(auc_report_html(report), "its test AUC is lower by 0.0200"));
  report.baselines[0].difference = {0.01, 0.01, -0.01, 0.03, ""};
  EXPECT_TRUE(contains(auc_report_html(report), "is not better than the baseline, "));
  report.baselines[0].difference = {0.01, NAN, NAN, NAN, "too few rows"};
  EXPECT_TRUE(contains(auc_report_html(report), "differs by +0.0100, without an interval: too few rows."));
}

TEST(AucPage, SaysWhichEncodersWereConsidered) {
  AucReport report = example();
  EXPECT_FALSE(contains(auc_report_html(report), "Which encoder"));
  report.summary["encoder_choice"] = {
      {{"encoder", "tab"}, {"reads", true}, {"expected_seconds", 31.4}, {"fewer_steps", nullptr}},
      {{"encoder", "fourier"}, {"reads", true}, {"expected_seconds", 2.04}, {"fewer_steps", nullptr}}};
  const std::string page = auc_report_html(report);
  EXPECT_TRUE(contains(page, "Which encoder"));
  EXPECT_TRUE(contains(page, "31 s"));
  EXPECT_LT(page.find("beyond the budget"), page.find(">taken<"));
  expect_balanced(page);
}

TEST(AucPage, ThresholdWithoutCallsAndPerfectScores) {
  AucReport report = example();
  report.threshold = {{1, 0, 0, 5, 2}, {1, 0, 0, 5, 2}};
  report.test = AucEstimate{0.99987, 0, 0.9990, 1};
  const std::string page = auc_report_html(report);
  EXPECT_TRUE(contains(page, "no row is called games"));
  EXPECT_TRUE(contains(page, "99.99&nbsp;%"));
  EXPECT_FALSE(contains(page, "nan"));
}

TEST(AucPage, FoldersAreQuotedForTheShell) {
  AucReport report = example();
  report.summary["out"] = "my run's";
  EXPECT_TRUE(contains(auc_report_html(report), "--model &#39;my run&#39;\\&#39;&#39;s&#39; --input"));
}

}  // namespace auc_page_test
}  // namespace bilevel
