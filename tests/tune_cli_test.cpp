// `bilevel tune`, run as a person runs it.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "bilevel/model/gradient_boosting.h"
#include "bilevel/report/intervals.h"
#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
/// Three classes; column a tells one of them apart, b the other two a little, c and d tell nothing. The text
/// holds words of the class.
struct Row {
  std::string label, text;
  double a, b, c, d;
};

std::vector<Row> make_rows(size_t count, uint32_t seed = 1) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
  const std::vector<std::string> labels{"low", "middle", "high"};
  const std::vector<std::vector<std::string>> words{{"sad", "grey"}, {"plain", "mild"}, {"glad", "bright"}};
  std::vector<Row> rows;
  for (size_t i = 0; i < count; ++i) {
    const size_t c = random() % 3;
    Row row{.label = labels[c], .text = "", .a = 0, .b = 0, .c = 0, .d = 0};
    for (int w = 0; w < 5; ++w)
      row.text += (w > 0 ? " " : "") + (uniform() < 0.5 ? std::string("word") : words[c][random() % 2]);
    const auto rounded = [](double x) { return std::round(1000 * x) / 1000; };
    row.a = rounded(uniform() + (c == 2 ? 0.9 : 0));
    row.b = rounded(uniform() + (c == 1 ? 0.3 : 0));
    row.c = rounded(uniform());
    row.d = rounded(uniform());
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string csv_of(const std::vector<Row>& rows) {
  std::ostringstream table;
  table << "level,text,a,b,c,d\n";
  for (const Row& row : rows)
    table << row.label << "," << row.text << "," << row.a << "," << row.b << "," << row.c << "," << row.d
          << "\n";
  return table.str();
}

std::string libsvm_of(const std::vector<Row>& rows) {
  std::ostringstream lines;
  for (const Row& row : rows) {
    lines << (row.label == "low"      ? 0
              : row.label == "middle" ? 1
                                      : 2)
          << " 1:" << row.a << " 2:" << row.b << " 4:" << row.c << "\n";
  }
  return lines.str();
}

class TuneCliTest : public ProgramTest {
 protected:
  static Arguments columns(const std::string& train) {
    return {"--train", train, "--features", "a,b,c,d", "--label", "level"};
  }
  static Arguments text(const std::string& train) {
    return {"--train", train, "--text", "text", "--label", "level"};
  }

  /// Few steps unless `arguments` say otherwise.
  static Arguments command(const Arguments& arguments, const std::string& out) {
    Arguments all = Arguments{"tune"} + arguments;
    const auto given = [&](const char* name) { return std::find(all.begin(), all.end(), name) != all.end(); };
    if (!given("--steps") && !given("--epochs")) all = all + Arguments{"--steps", "20"};
    if (!given("--threads")) all = all + Arguments{"--threads", "1"};
    return all + Arguments{"--out", out};
  }

  Json tuned(const Arguments& arguments, const std::string& folder = "out") const {
    return succeeds(command(arguments, path(folder)));
  }
  void refused(const Arguments& arguments, const std::vector<std::string>& parts) const {
    refuses(command(arguments, out()), parts);
  }

  std::vector<Row> rows_ = make_rows(160);
};

TEST_F(TuneCliTest, HelpNamesEveryOption) {
  const Outcome help = bilevel_program({"tune", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* option : {"--train",       "--valid",      "--test",
                             "--text",        "--features",   "--label",
                             "--tune",        "--spread",     "--baseline-passes",
                             "--encoder",     "--hidden",     "--layers",
                             "--embedding",   "--l2",         "--solver",
                             "--set",         "--epochs",     "--steps",
                             "--max-seconds", "--batch-size", "--split",
                             "--seed",        "--threads",    "--device",
                             "--out",         "--resume",     "--json",
                             "--quiet",       "--format",     "--categorical",
                             "--header",      "--no-header"}) {
    EXPECT_CONTAINS(help.out, option);
  }
}

// ---- bad input ----

// What all jobs refuse alike: malformed_jobs_test.cpp.
TEST_F(TuneCliTest, RefusesAClassOfOneRow) {
  std::string rows = "level,text\n";
  for (int i = 0; i < 10; ++i) rows += "x,u\ny,v\n";
  refused(text(folder_.write("a.csv", rows + "z,only\n")), {"'z'", "1 row"});
}

TEST_F(TuneCliTest, RefusesLabelsThatTheTrainingFileLacks) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  std::vector<Row> others = make_rows(20, 2);
  others[4].label = "other";
  const std::string test = folder_.write("t.csv", csv_of(others));
  refused(columns(train) + Arguments{"--test", test}, {"t.csv:6:1: ", "'other'", "a.csv"});
  refused(columns(train) + Arguments{"--valid", test}, {"t.csv:6:1: ", "'other'"});
  refused(columns(train) + Arguments{"--test", path("none.csv")}, {"none.csv"});
}

TEST_F(TuneCliTest, RefusesImpossibleOptions) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const auto option = [&](const Arguments& more, const std::vector<std::string>& parts) {
    refused(columns(train) + more, parts);
  };
  option({"--tune", "l1"}, {"tune = l1", "class-weights"});
  option({"--spread", "0"}, {"spread = 0: must be > 0"});
  option({"--spread", "nan"}, {"spread = nan: must be a number"});
  option({"--l2", "0"}, {"l2 = 0", "positive"});
  option({"--l2", "-1"}, {"l2 = -1: must be >= 0"});
  option({"--baseline-passes", "-1"}, {"baseline_passes = -1: must be >= 0"});
  option({"--encoder", "bag"}, {"encoder = bag", "--text"});
  option({"--split", "0.5"}, {"split = 0.5"});
  option({"--embedding", train}, {"embedding"});
  const std::string glove = folder_.write("g.txt", "word 1 2\nsad 2 1\n");
  refused(text(train) + Arguments{"--encoder", "rnn", "--embedding", glove, "--tune", "l2-per-feature"},
          {"l2-per-feature", "--train-embedding"});
}

// ---- success ----

TEST_F(TuneCliTest, WritesEverythingThatIsPromised) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const Json summary = tuned(columns(train) + Arguments{"--steps", "100", "--tune", "l2-per-feature"});
  for (const char* key :
       {"command", "solver", "encoder", "seed", "steps", "seconds", "training_seconds", "stop_reason",
        "best_step", "metrics", "baselines", "passes", "oracle_calls", "peak_rss_bytes", "out"}) {
    EXPECT_TRUE(summary.contains(key)) << key;
  }
  for (const char* part : {"train", "valid", "test"}) {
    EXPECT_GT(summary.at("metrics").at(part).at("accuracy").get<double>(), 0.4) << part;
    EXPECT_LT(summary.at("metrics").at(part).at("loss").get<double>(), std::log(3)) << part;
    EXPECT_GT(summary.at("metrics").at(part).at("auc").get<double>(), 0.6) << part;
  }
  const double passes = summary.at("passes").get<double>();
  for (const char* name : {"grid", "random"}) {
    const Json& found = summary.at("baselines").at(name);
    expect_difference(found, summary.at("metrics").at("test").at("loss"), found.at("test").at("loss"));
    EXPECT_TRUE(found.at("difference_interval").is_array());
    for (const char* part : {"valid", "test"}) EXPECT_GT(found.at(part).at("loss").get<double>(), 0);
    EXPECT_GT(found.at("points").get<int>(), 1);
    EXPECT_LT(found.at("passes").get<double>(), 1.15 * passes + 5);
  }
  const Json& apart = summary.at("passes_apart");
  EXPECT_NEAR(
      passes,
      apart.at("start").get<double>() + apart.at("learn").get<double>() + apart.at("finish").get<double>(),
      1e-9);
  // A step: 5 lower gradients, 19 Hessian-vector products, 1 cross product and 1 upper gradient.
  const Json& calls = summary.at("oracle_calls");
  EXPECT_EQ(calls.at("lower_gradient"), 500);
  EXPECT_EQ(calls.at("hvp"), 1900);
  EXPECT_EQ(calls.at("cross_vjp"), 100);
  EXPECT_EQ(calls.at("upper_gradient"), 100);

  for (const char* name :
       {"options.json", "trace.jsonl", "checkpoint.safetensors", "model.safetensors", "model.json",
        "predictions.tsv", "hyperparameters.tsv", "report.html", "summary.json"}) {
    EXPECT_GT(read_bytes(out() + "/" + name).size(), 0U) << name;
  }
  EXPECT_EQ(Json::parse(read_bytes(out() + "/summary.json")), summary);

  // What tells a class is regularized less than what tells nothing.
  std::map<std::string, double> strengths;
  const auto table = read_tsv(out() + "/hyperparameters.tsv");
  EXPECT_EQ(table[0], (std::vector<std::string>{"kind", "name", "value"}));
  for (size_t i = 1; i < table.size(); ++i) strengths[table[i][1]] = std::stod(table[i][2]);
  EXPECT_EQ(strengths.size(), 9U);  // the common one, and two features of each column
  EXPECT_NEAR(strengths.at("common"), summary.at("learned").at("common_strength").get<double>(), 1e-6);
  const double told = std::min(strengths.at("a"), strengths.at("a:rank")),
               nothing = std::min(strengths.at("c"), strengths.at("d"));
  if (summary.at("settled").at("kept") == "learned")
    EXPECT_LT(told, nothing);
  else
    EXPECT_EQ(told, nothing);

  const auto predictions = read_tsv(out() + "/predictions.tsv");
  ASSERT_EQ(Arguments(predictions[0].begin(), predictions[0].begin() + 7),
            (Arguments{"file", "line", "label", "predicted", "p(high)", "p(low)", "p(middle)"}));
  double right = 0, loss = 0;
  for (size_t i = 1; i < predictions.size(); ++i) {
    EXPECT_EQ(predictions[i][2], rows_[std::stoul(predictions[i][1]) - 2].label);
    right += predictions[i][2] == predictions[i][3] ? 1 : 0;
    const size_t column = predictions[i][2] == "high" ? 4 : predictions[i][2] == "low" ? 5 : 6;
    loss -= std::log(std::stod(predictions[i][column]));
  }
  const auto rows = static_cast<double>(predictions.size() - 1);
  EXPECT_NEAR(right / rows, summary.at("metrics").at("test_calibrated").at("accuracy").get<double>(), 1e-9);
  EXPECT_NEAR(loss / rows, summary.at("metrics").at("test_calibrated").at("loss").get<double>(), 1e-6);

  const std::string report = read_bytes(out() + "/report.html");
  EXPECT_CONTAINS(report, "What the model looks at");
  for (const char* part : {"<html", "Least regularized", "best single L2 of a grid", "</html>"})
    EXPECT_CONTAINS(report, part);

  // predict repeats the probabilities.
  const Outcome predicted =
      bilevel_program({"predict", "--model", out(), "--input", train, "--out", path("p.tsv"), "--json"});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  const auto again = read_tsv(path("p.tsv"));
  ASSERT_EQ(again.size(), rows_.size() + 1);
  for (size_t i = 1; i < predictions.size(); ++i) {
    const auto& row = again.at(std::stoul(predictions[i][1]) - 1);
    EXPECT_EQ(row[1], predictions[i][3]);
    for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(std::stod(row[2 + c]), std::stod(predictions[i][4 + c]), 1e-6);
  }
}

/// -log p of each row's class, by the columns PREFIX(CLASS) of predictions.tsv.
std::vector<double> losses_in(const std::vector<std::vector<std::string>>& table, const std::string& prefix) {
  std::vector<double> losses;
  for (size_t i = 1; i < table.size(); ++i) {
    const std::string name = prefix + "(" + table[i][2] + ")";
    const auto column = std::find(table[0].begin(), table[0].end(), name) - table[0].begin();
    losses.push_back(-std::log(std::stod(table[i].at(static_cast<size_t>(column)))));
  }
  return losses;
}

TEST_F(TuneCliTest, PredictionsTellTheDifferenceToEveryBaseline) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const Json summary = tuned(columns(train));
  const auto table = read_tsv(out() + "/predictions.tsv");
  const std::vector<double> learned = losses_in(table, "p_learned");
  std::set<std::string> expected{"grid", "random"};
  if (gradient_boosting_lacks().empty()) expected.insert("gradient_boosting");
  EXPECT_EQ(summary.contains("not_compared"), !gradient_boosting_lacks().empty());
  std::set<std::string> found;
  for (const auto& [key, baseline] : summary.at("baselines").items()) {
    SCOPED_TRACE(key);
    found.insert(key);
    const PairedDifference d = paired_difference(learned, losses_in(table, "p_" + key));
    EXPECT_NEAR(baseline.at("difference").get<double>(), d.difference, 1e-6);
    EXPECT_NEAR(baseline.at("difference_interval").at(0).get<double>(), d.low, 1e-6);
    EXPECT_NEAR(baseline.at("difference_interval").at(1).get<double>(), d.high, 1e-6);
    EXPECT_EQ(summary.at("verdict").at(key), baseline.at("verdict"));
  }
  EXPECT_EQ(found, expected);
  if (!gradient_boosting_lacks().empty()) return;
  EXPECT_GT(summary.at("baselines").at("gradient_boosting").at("rounds"), 0);
  const std::string report = read_bytes(out() + "/report.html");
  EXPECT_CONTAINS(report, "than the baseline, gradient boosting of trees (XGBoost) on the same features");
}

// A run that learns nothing beyond a common strength: a search with more passes finds a better one. What is saved then predicts as the search
// does, but for the temperature of its calibration, which leaves the order of a row's classes.
TEST_F(TuneCliTest, KeepBestSavesWhatASearchFound) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  refused(columns(train) + Arguments{"--folds", "3", "--keep-best"}, {"keep_best", "one cut only"});
  const Arguments bad =
      columns(train) + Arguments{"--encoder",         "linear", "--l2",  "10000",
                                 "--steps",           "1",      "--set", "upper_step_size=1e-9",
                                 "--baseline-passes", "4"};
  const Json plain = tuned(bad);
  EXPECT_EQ(plain.at("kept").at("model"), "learned");
  const Json kept = tuned(bad + Arguments{"--keep-best"}, "kept");
  const std::string found = kept.at("kept").at("model");
  EXPECT_TRUE(found == "grid" || found == "random") << found;
  const auto told = [](const Json& summary, const std::string& part) {
    return std::ranges::any_of(summary.at("warnings"), [&](const std::string& warning) {
      return warning.find("search has a lower validation loss") != std::string::npos &&
             warning.find(part) != std::string::npos;
    });
  };
  EXPECT_TRUE(told(plain, "--keep-best saves its model instead"));
  EXPECT_TRUE(told(kept, "its model is saved"));
  EXPECT_EQ(kept.at("metrics").at("valid"), plain.at("metrics").at("valid"));  // of what was learned
  const auto values = read_tsv(path("kept") + "/hyperparameters.tsv");         // of the model that is saved
  EXPECT_EQ(values.at(1).at(1), "common");
  EXPECT_NEAR(std::stod(values.at(1).at(2)) / kept.at("baselines").at(found).at("strength").get<double>(), 1,
              1e-5);
  const auto table = read_tsv(path("kept") + "/predictions.tsv");
  const auto column = [&](const std::string& name) {
    return static_cast<size_t>(std::ranges::find(table[0], name) - table[0].begin());
  };
  for (size_t row = 1; row < table.size(); ++row) {
    const auto p = [&](const std::string& name) {
      return std::stod(table[row].at(column("p_" + found + "(" + name + ")")));
    };
    const std::string most = std::max<std::string>(
        {"low", "middle", "high"}, [&](const std::string& a, const std::string& b) { return p(a) < p(b); });
    EXPECT_EQ(table[row].at(column("predicted")), most) << row;
  }
}

TEST_F(TuneCliTest, EveryKindAndEncoderRuns) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const Arguments few{"--steps", "5", "--baseline-passes", "0.2"};
  const Json classes = tuned(columns(train) + few + Arguments{"--tune", "l2-per-class"}, "per-class");
  const std::string learned = read_bytes(path("per-class/hyperparameters.tsv"));
  for (const std::string name : {"common", "low", "middle", "high"})
    EXPECT_CONTAINS(learned, "strength\t" + name + "\t");
  // Equal strengths are not said to be the least and the most.
  EXPECT_EQ(classes.at("learned").contains("smallest"), classes.at("settled").at("kept") == "learned");
  const Json weights = tuned(columns(train) + few + Arguments{"--tune", "class-weights"}, "weights");
  for (const char* name : {"low", "middle", "high"})
    EXPECT_GT(weights.at("learned").at("class_weights").at(name).get<double>(), 0);
  const double smoothing = tuned(columns(train) + few + Arguments{"--tune", "label-smoothing"}, "smoothing")
                               .at("learned")
                               .at("smoothing")
                               .get<double>();
  EXPECT_GT(smoothing, 0);
  EXPECT_LT(smoothing, 1);
  const Json elastic = tuned(columns(train) + few + Arguments{"--tune", "elastic-net"}, "elastic");
  const double share = elastic.at("learned").at("l1_share").get<double>();
  EXPECT_GT(share, 0);
  EXPECT_LT(share, elastic.at("settled").at("kept") == "common" ? 1e-5 : 1);
  EXPECT_GE(elastic.at("learned").at("features_left_out").get<int64_t>(), 0);
  EXPECT_CONTAINS(read_bytes(path("elastic/hyperparameters.tsv")),
                  "l1_share\tshare of the strength that goes to |w|\t");
  EXPECT_FALSE(
      tuned(columns(train) + few + Arguments{"--tune", "l2"}, "l2").at("learned").contains("smallest"));
  EXPECT_EQ(tuned(columns(train) + few + Arguments{"--encoder", "mlp", "--hidden", "4"}, "mlp").at("tune"),
            "l2-per-feature");
  EXPECT_EQ(tuned(Arguments{"--train", folder_.write("a.svm", libsvm_of(rows_))} + few, "svm").at("encoder"),
            "linear");
  const Json bag = tuned(text(train) + few, "bag");
  EXPECT_EQ(bag.at("encoder"), "bag");
  const std::string names = read_bytes(path("bag/hyperparameters.tsv"));
  for (const char* name : {"strength\tglad\t", "strength\t[ gr]\t"}) EXPECT_CONTAINS(names, name);
  for (const char* encoder : {"rnn", "lstm", "gru", "transformer"}) {
    const Json summary = tuned(text(train) + few + Arguments{"--encoder", encoder, "--hidden", "8"}, encoder);
    EXPECT_EQ(summary.at("tune"), "l2") << encoder;
    EXPECT_EQ(summary.at("baselines").at("grid").at("points"), 1) << encoder;
  }
  tuned(text(train) + few + Arguments{"--encoder", "gru", "--hidden", "8", "--tune", "l2-per-feature"},
        "words");
  EXPECT_CONTAINS(read_bytes(path("words/hyperparameters.tsv")), "strength\tbright\t");
  EXPECT_TRUE(tuned(columns(train) + Arguments{"--baseline-passes", "0"}, "alone").at("baselines").empty());
}

// Classes of one size, whose weights have nothing to gain: they stay alike, and the common strength is what `l2` learns about.
TEST_F(TuneCliTest, WhatDoesNotHelpStaysNeutral) {
  const std::string train = folder_.write("a.csv", csv_of(make_rows(400)));
  const Arguments alone{"--baseline-passes", "0"};
  const Json weights = tuned(columns(train) + alone + Arguments{"--tune", "class-weights"}, "weights");
  const Json& settled = weights.at("settled");
  EXPECT_TRUE(weights.at("cross_fitted").get<bool>());
  EXPECT_EQ(settled.at("kept"), "common");
  EXPECT_GE(settled.at("difference").get<double>() + settled.at("standard_error").get<double>(), 0);
  for (const char* name : {"low", "middle", "high"})
    EXPECT_EQ(weights.at("learned").at("class_weights").at(name).get<double>(), 1) << name;
  const Json common = tuned(columns(train) + alone + Arguments{"--tune", "l2"}, "l2");
  EXPECT_FALSE(common.contains("settled"));
  EXPECT_NEAR(weights.at("metrics").at("valid").at("loss").get<double>(),
              common.at("metrics").at("valid").at("loss").get<double>(), 2e-3);
}

// Words that mark a class have weaker strengths than words that do not.
TEST_F(TuneCliTest, EvidenceOfTextsIsLearned) {
  std::vector<Row> rows = make_rows(1000);
  for (size_t i = 0; i < rows.size();
       ++i) {  // every fifth label is another row's, and there are words of no use
    if (i % 5 == 0) rows[i].label = rows[(i + 7) % rows.size()].label;
    for (const size_t step : {37, 101, 211}) rows[i].text += " no" + std::to_string(i * step % 307);
  }
  const std::string train = folder_.write("a.csv", csv_of(rows));
  const Json summary = tuned(text(train) + Arguments{"--baseline-passes", "0"});
  EXPECT_EQ(summary.at("tune"), "l2-by-evidence");
  ASSERT_EQ(summary.at("settled").at("kept"), "learned") << summary.at("settled");
  EXPECT_LT(summary.at("learned").at("slopes").at("occurrence").get<double>(), 0);
  std::map<std::string, double> strengths;
  for (const auto& row : read_tsv(out() + "/hyperparameters.tsv"))
    if (row[0] == "strength") strengths[row[1]] = std::stod(row[2]);
  for (const char* word : {"glad", "plain", "grey"}) EXPECT_LT(strengths.at(word), strengths.at("word"));
}

TEST_F(TuneCliTest, OtherSolversRunAndTheProgramSaysWhereTheoryEnds) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  for (const char* solver : {"bo-rep", "soba", "stocbio"})
    tuned(columns(train) + Arguments{"--solver", solver, "--baseline-passes", "0"}, solver);
  const Arguments deep =
      text(train) + Arguments{"--encoder", "gru", "--hidden", "4", "--steps", "3", "--baseline-passes", "0"};
  const Outcome run = bilevel_program(command(deep, path("gru")));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "adambo is outside of its theory here");
  EXPECT_CONTAINS(read_bytes(path("gru/report.html")), "outside of its theory");
  const std::string fitted = "moves the weights down the validation loss too";
  EXPECT_EQ(run.err.find(fitted), std::string::npos);
  for (const char* solver : {"sl-bamm", "f2sa"}) {
    const Outcome other =
        bilevel_program(command(deep + Arguments{"--solver", solver}, path(std::string("gru-") + solver)));
    EXPECT_EQ(other.code, 0) << other.err;
    EXPECT_CONTAINS(other.err, std::string(solver) + " " + fitted);
  }
  const Outcome convex = bilevel_program(command(columns(train), path("convex")));
  EXPECT_EQ(convex.err.find("outside of its theory"), std::string::npos);
  EXPECT_CONTAINS(convex.out, "valid loss");
  EXPECT_CONTAINS(convex.out, "common strength ");
  const std::string page = read_bytes(path("convex/report.html"));
  const auto numbers = decimals_of(convex.out.substr(0, convex.out.find("log strength")));
  EXPECT_GE(numbers.size(), 4U);  // of the learned line at least, and the common strength
  for (const std::string& number : numbers) EXPECT_CONTAINS(page, number) << "rounded alike";
  EXPECT_CONTAINS(convex.out, "report: " + path("convex") + "/report.html");
}

// Groups stay together: of two no four folds can be dealt.
TEST_F(TuneCliTest, TooFewGroupsToCalibrateOnFoldsAreTold) {
  std::string table = "a,g,y\n";
  for (int i = 0; i < 800; ++i)
    table += fmt::format("{},{},{}\n", i % 2 + 0.001 * i, i % 5, (i % 2 == 0) == (i % 8 < 6) ? "no" : "yes");
  const Outcome run =
      bilevel_program({"tune", "--train", folder_.write("tied.csv", table), "--label", "y", "--group", "g",
                       "--baseline-passes", "0", "--json", "--quiet", "--out", out()});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.out, "for folds: learned on one cut");  // nor five to learn on
  EXPECT_CONTAINS(run.out, "too few of them (below 40), or of their groups");
  EXPECT_TRUE(Json::parse(run.out).at("calibration").contains("temperature"));
}

// Probabilities of a class that no validation row has stay as they are.
TEST_F(TuneCliTest, OneClassToValidateByCalibratesNothing) {
  std::vector<Row> low;
  for (const Row& row : make_rows(200, 5))
    if (row.label == "low") low.push_back(row);
  const std::string train = folder_.write("train.csv", csv_of(rows_)),
                    valid = folder_.write("low.csv", csv_of(low));
  const Outcome run = bilevel_program(command(
      columns(train) + Arguments{"--valid", valid, "--baseline-passes", "0", "--json", "--quiet"}, out()));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out).at("calibration").at("temperature"), 1.0);
}

TEST_F(TuneCliTest, TheSeedDecidesEverything) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const auto run = [&](const char* folder, const char* seed) {
    Json summary = tuned(columns(train) + Arguments{"--seed", seed}, folder);
    return std::pair{read_bytes(path(std::string(folder) + "/model.safetensors")),
                     summary.at("baselines").dump()};
  };
  const auto first = run("a", "7");
  EXPECT_EQ(run("b", "7"), first);
  EXPECT_NE(run("c", "8").first, first.first);
}

TEST_F(TuneCliTest, TouchesNoFolderOfOthers) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  tuned(columns(train));
  const auto before = files_in(path("."));
  const Outcome again = bilevel_program(command(columns(train), out()));
  EXPECT_EQ(again.code, 2);
  EXPECT_CONTAINS(again.err, "holds another run");
  const Outcome other = bilevel_program({"auc", "--resume", out()});
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "tune");
  const Outcome changed = bilevel_program({"tune", "--resume", out(), "--seed", "3"});
  EXPECT_EQ(changed.code, 2);
  EXPECT_EQ(files_in(path(".")), before);
}

TEST_F(TuneCliTest, NonFiniteLossEndsTheRun) {
  const std::string train = folder_.write("a.csv", csv_of(rows_));
  const Outcome run =
      bilevel_program(command(columns(train) + Arguments{"--set", "lower_step_size=1e30"}, out()) +
                      Arguments{"--json", "--quiet"});
  EXPECT_EQ(run.code, 3) << run.err;
  EXPECT_CONTAINS(run.err, "not finite");
  EXPECT_EQ(Json::parse(run.out).at("stop_reason"), "nonfinite");
  EXPECT_FALSE(fs::exists(out() + "/model.safetensors"));
}

// ---- resume ----

TEST_F(TuneCliTest, AnInterruptedRunEndsInTheSameBytes) {
  const std::string train = folder_.write("a.csv", csv_of(make_rows(400)));
  const Arguments slow = columns(train) + Arguments{"--steps", "1600",          "--batch-size",
                                                    "64",      "--set",         "neumann_terms=2",
                                                    "--set",   "lower_steps=1", "--baseline-passes",
                                                    "0.01"};
  tuned(slow, "whole");
  for (const int signal : {SIGINT, SIGKILL}) {
    SCOPED_TRACE(signal);
    fs::remove_all(out());
    {
      Process process(command(slow, out()) + Arguments{"--quiet"});
      const bool begun = process.wait_until([&] {
        std::error_code none_yet;
        const auto size = fs::file_size(out() + "/trace.jsonl", none_yet);
        return !none_yet && size > (1 << 16);  // written in pieces of 64 KiB
      });
      ASSERT_TRUE(begun);
      process.send(signal);
      const Outcome ended = process.wait();
      EXPECT_EQ(ended.code, signal == SIGINT ? 130 : -SIGKILL) << ended.err;
      if (signal == SIGINT) {
        EXPECT_CONTAINS(ended.err, "bilevel tune --resume " + out());
      }
    }
    EXPECT_FALSE(fs::exists(out() + "/summary.json"));
    const Outcome resumed = bilevel_program({"tune", "--resume", out(), "--quiet"});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    for (const char* name : {"model.safetensors", "predictions.tsv", "hyperparameters.tsv"})
      EXPECT_EQ(read_bytes(out() + "/" + name), read_bytes(path("whole/") + name)) << name;
    const auto summary = [](const std::string& folder) {
      return without_clock(Json::parse(read_bytes(folder + "/summary.json")), {"oracle_calls_apart"});
    };
    EXPECT_EQ(summary(out()), summary(path("whole")));
  }
  const Outcome again = bilevel_program({"tune", "--resume", out(), "--json", "--quiet"});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(Json::parse(again.out), Json::parse(read_bytes(out() + "/summary.json")));
}

}  // namespace
}  // namespace bilevel
