// `bilevel clean`, run as a person runs it: files in; weights, a model, a report and an exit code out.
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "bilevel/model/gradient_boosting.h"
#include "bilevel/report/metrics.h"
#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

struct Row {
  int label;
  std::string text;
  double a, b;
};

const std::vector<std::string> kNames{"sport", "food", "music"};

/// Texts of three classes that their words tell apart, not always; columns that do the same.
std::vector<Row> make_rows(size_t count, uint32_t seed) {
  static const std::vector<std::vector<std::string>> kWords{
      {"goal", "team", "match", "coach", "league", "score", "player", "win"},
      {"soup", "bread", "taste", "cook", "pepper", "plate", "sweet", "oven"},
      {"song", "guitar", "tune", "band", "drum", "choir", "voice", "note"}};
  static const std::vector<std::string> kCommon{"the", "a", "of", "very", "and", "today", "was", "good"};
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
  std::vector<Row> rows;
  for (size_t i = 0; i < count; ++i) {
    Row row{.label = static_cast<int>(random() % 3),
            .text = "r" + std::to_string(seed) + "x" + std::to_string(i)};
    for (int w = 0; w < 7; ++w) {
      const auto of = static_cast<size_t>(uniform() < 0.2 ? static_cast<int>(random() % 3) : row.label);
      const std::vector<std::string>& words = uniform() < 0.5 ? kCommon : kWords[of];
      row.text += " " + words[random() % words.size()];
    }
    row.a = std::round(1000 * (uniform() + 0.8 * row.label)) / 1000;
    row.b = std::round(1000 * (uniform() + (row.label == 1 ? 0.8 : 0))) / 1000;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string tsv_of(const std::vector<Row>& rows) {
  std::ostringstream table;
  table << "topic\ttext\ta\tb\tsource\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    table << kNames[static_cast<size_t>(rows[i].label)] << "\t" << rows[i].text << "\t" << rows[i].a << "\t"
          << rows[i].b << "\t" << (i % 2 == 0 ? "even" : "odd") << "\n";
  }
  return table.str();
}

/// Texts of two classes that a classifier can hardly tell apart: of 12 words 9 are drawn from all 400, 3 from the half
/// of the class. Class 0 is "a", class 1 "b".
std::vector<Row> make_hard_rows(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Row> rows;
  for (size_t i = 0; i < count; ++i) {
    Row row{.label = static_cast<int>(random() % 2)};
    for (int w = 0; w < 12; ++w) {
      const auto word =
          random() % 4 == 0 ? random() % 200 * 2 + static_cast<size_t>(row.label) : random() % 400;
      row.text += "w" + std::to_string(word) + " ";
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string hard_tsv_of(const std::vector<Row>& rows) {
  std::string table = "topic\ttext\n";
  for (const Row& row : rows) table += std::string(row.label == 0 ? "a" : "b") + "\t" + row.text + "\n";
  return table;
}

double log_odds(double p) { return std::log(p / (1 - p)); }

/// Slope of a logistic regression with intercept, and its standard error (Newton's method).
std::pair<double, double> logistic_slope(const std::vector<double>& x, const std::vector<bool>& y) {
  double a = 0, b = 0, h11 = 0;
  for (int step = 0; step < 30; ++step) {
    double g0 = 0, g1 = 0, h00 = 0, h01 = 0;
    h11 = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double p = 1 / (1 + std::exp(-a - b * x[i])), v = p * (1 - p), r = (y[i] ? 1 : 0) - p;
      g0 += r;
      g1 += r * x[i];
      h00 += v;
      h01 += v * x[i];
      h11 += v * x[i] * x[i];
    }
    const double determinant = h00 * h11 - h01 * h01;
    a += (h11 * g0 - h01 * g1) / determinant;
    b += (h00 * g1 - h01 * g0) / determinant;
    h11 = h00 / determinant;
  }
  return {b, std::sqrt(h11)};
}

/// Log odds of class "b" by each row's features: those of `probability` less what the given label adds to them.
std::vector<double> log_odds_of_b(const Json& summary, const std::vector<std::vector<std::string>>& weights) {
  const auto rate = [&](const std::string& truth, const std::string& given) {
    return summary.at("label_noise").at(truth).at(given).at("rate").get<double>();
  };
  std::vector<double> result;
  for (size_t i = 1; i < weights.size(); ++i) {
    const std::string& given = weights[i][2];
    const std::string other = given == "a" ? "b" : "a";
    const double of_given =
        log_odds(std::stod(weights[i][4])) - std::log(rate(given, given) / rate(other, given));
    result.push_back(given == "b" ? of_given : -of_given);
  }
  return result;
}

class CleanCli : public ProgramTest {
 protected:
  static constexpr size_t kTrain = 240;

  CleanCli()
      : train_(folder_.write("train.tsv", tsv_of(make_rows(kTrain, 1)))),
        trusted_(folder_.write("trusted.tsv", tsv_of(make_rows(60, 2)))),
        test_(folder_.write("test.tsv", tsv_of(make_rows(90, 3)))) {}

  Arguments text(const std::string& out, const Arguments& more = {}, const std::string& steps = "25") const {
    return joined({"clean", "--train", train_, "--trusted", trusted_, "--test", test_, "--text", "text",
                   "--label", "topic", "--out", path(out), "--steps", steps},
                  more);
  }
  Arguments columns(const std::string& out, const Arguments& more = {}) const {
    return joined({"clean", "--train", train_, "--trusted", trusted_, "--test", test_, "--features", "a,b",
                   "--label", "topic", "--out", path(out), "--steps", "25"},
                  more);
  }
  /// Runs what must be refused before anything is written.
  void expect_refused(const Arguments& arguments, const std::vector<std::string>& parts) const {
    refuses(arguments, parts);
  }

  /// `rows` with hard texts to clean; 200 trusted ones.
  Outcome clean_hard(const std::string& out, const std::vector<Row>& rows, const Arguments& more = {}) const {
    return bilevel_program(
        joined({"clean", "--train", folder_.write(out + "-train.tsv", hard_tsv_of(rows)), "--trusted",
                folder_.write("hard.tsv", hard_tsv_of(make_hard_rows(200, 22))), "--text", "text", "--label",
                "topic", "--out", path(out), "--steps", "20", "--no-baselines", "--json"},
               more));
  }

  std::string train_, trusted_, test_;
};

// The log odds of `probability` are those with which labels are right, within four standard errors; and features tell
// nothing about which labels were flipped at random, as they would if a row's own label had had a say in them.
/// Whether the class of each row of predictions.tsv is the first of greatest probability in the columns PREFIX(CLASS).
std::vector<double> hits_in(const std::vector<std::vector<std::string>>& table, const std::string& prefix) {
  std::vector<double> hits;
  for (size_t i = 1; i < table.size(); ++i) {
    double most = -1;
    std::string called;
    for (size_t c = 0; c < table[0].size(); ++c) {
      if (!table[0][c].starts_with(prefix + "(") || std::stod(table[i][c]) <= most) continue;
      most = std::stod(table[i][c]);
      called = table[0][c].substr(prefix.size() + 1, table[0][c].size() - prefix.size() - 2);
    }
    hits.push_back(called == table[i][2] ? 1 : 0);
  }
  return hits;
}

TEST_F(CleanCli, PredictionsTellTheDifferenceToEveryBaseline) {
  for (const bool trusted : {true, false}) {
    const std::string out = trusted ? "with" : "without";
    Arguments arguments = columns(out, {"--inject-noise", "0.3", "--json"});
    if (!trusted) arguments.erase(arguments.begin() + 3, arguments.begin() + 5);
    const Json summary = succeeds(arguments);
    const auto table = read_tsv(path(out + "/predictions.tsv"));
    const std::vector<double> own = hits_in(table, "p");
    for (const auto& [key, baseline] : summary.at("baselines").items()) {
      SCOPED_TRACE(key);
      const PairedDifference d = paired_difference(own, hits_in(table, "p_" + key));
      EXPECT_NEAR(baseline.at("difference").get<double>(), d.difference, 1e-9);
      EXPECT_EQ(baseline.at("difference_interval").is_array(), d.has_interval());
      if (d.has_interval()) {
        EXPECT_NEAR(baseline.at("difference_interval").at(0).get<double>(), d.low, 1e-9);
      }
    }
    EXPECT_EQ(summary.at("baselines").contains("gradient_boosting"), gradient_boosting_lacks().empty());
    EXPECT_EQ(summary.contains("not_compared"), !gradient_boosting_lacks().empty());
    if (!gradient_boosting_lacks().empty()) continue;
    const Json& trees = summary.at("baselines").at("gradient_boosting");
    EXPECT_GT(trees.at("rounds"), 0);
    EXPECT_GT(trees.at("test").at("accuracy").get<double>(), 0.6);
    EXPECT_CONTAINS(read_bytes(path(out + "/report.html")),
                    "gradient boosting of trees (XGBoost) on all rows as given");
  }
}

TEST_F(CleanCli, ProbabilityIsCalibratedAndARowDoesNotSpeakForItself) {
  const std::vector<Row> rows = make_hard_rows(1200, 21);
  const Outcome run = clean_hard("out", rows, {"--inject-noise", "0.4", "--seed", "1"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto table = read_tsv(path("out/weights.tsv"));
  std::vector<double> said;
  std::vector<bool> right;
  for (size_t i = 0; i < rows.size(); ++i) {
    said.push_back(log_odds(std::stod(table[i + 1][4])));
    right.push_back(table[i + 1][2] == (rows[i].label == 0 ? "a" : "b"));
  }
  const auto [slope, error] = logistic_slope(said, right);
  EXPECT_NEAR(slope, 1, 4 * error);
  EXPECT_LT(error, 0.15);

  const std::vector<double> of_b = log_odds_of_b(Json::parse(run.out), table);
  double sum[2] = {0, 0}, square[2] = {0, 0}, count[2] = {0, 0};
  for (size_t i = 0; i < rows.size(); ++i) {
    const double of_truth = rows[i].label == 1 ? of_b[i] : -of_b[i];
    const size_t group = right[i] ? 1 : 0;
    sum[group] += of_truth;
    square[group] += of_truth * of_truth;
    count[group] += 1;
  }
  double variance = 0;
  for (const size_t g : {0, 1})
    variance += (square[g] / count[g] - std::pow(sum[g] / count[g], 2)) / count[g];
  EXPECT_LT(std::abs(sum[1] / count[1] - sum[0] / count[0]), 3 * std::sqrt(variance));
}

// The classifiers that judge a row are the same, to the last digits, whatever its own label is; but for what is learned from all rows,
// a few numbers, through which a label reaches them no more than those of others.
TEST_F(CleanCli, ARowsOwnLabelHasNoInfluenceOnItsClassifier) {
  const std::vector<Row> rows = make_hard_rows(300, 23);
  std::vector<Row> changed = rows;
  changed[150].label = 1 - rows[150].label;
  const auto scores = [&](const std::string& out, const std::vector<Row>& of, const Arguments& more) {
    const Outcome run = clean_hard(out, of, more);
    EXPECT_EQ(run.code, 0) << run.err;
    const Json summary = Json::parse(run.out);
    const Json& calibration = summary.at("noise_calibration");
    const auto bias = calibration.at("bias").get<std::vector<double>>();
    std::vector<double> result = log_odds_of_b(summary, read_tsv(path(out + "/weights.tsv")));
    for (double& value : result)
      value = (value - (bias[1] - bias[0])) * calibration.at("temperature").get<double>();
    return result;
  };
  for (const bool learn : {false, true}) {
    const Arguments more{learn ? "--learn" : "--no-learn"};
    const std::string out = learn ? "learned" : "fixed";
    const std::vector<double> before = scores(out + "-before", rows, more),
                              after = scores(out + "-after", changed, more);
    std::vector<double> differences;
    for (size_t i = 0; i < rows.size(); ++i) differences.push_back(std::abs(before[i] - after[i]));
    const double own = differences[150];
    std::ranges::sort(differences);
    EXPECT_LT(own, learn ? differences[differences.size() / 2] : 1e-5);
    EXPECT_GT(differences.back(), 1e-3);
  }
}

// All wrong labels in one direction: named by the pair of classes, found, and their share within its interval.
TEST_F(CleanCli, FindsNoiseOfOneDirection) {
  std::vector<Row> rows = make_rows(900, 31);
  const std::vector<Row> truth = rows;
  std::mt19937 random(5);
  int wrong = 0;
  for (Row& row : rows) {
    if (row.label == 1 && random() % 10 < 3) {
      row.label = 0;
      ++wrong;
    }
  }
  const Outcome run =
      bilevel_program({"clean", "--train", folder_.write("one.tsv", tsv_of(rows)), "--trusted",
                       folder_.write("checked.tsv", tsv_of(make_rows(150, 32))), "--text", "text", "--label",
                       "topic", "--out", path("out"), "--steps", "20", "--no-baselines"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json summary = Json::parse(read_bytes(path("out/summary.json")));
  const auto interval = summary.at("estimated_noise_interval").get<std::vector<double>>();
  EXPECT_LE(interval[0], wrong / 900.0);
  EXPECT_GE(interval[1], wrong / 900.0);
  EXPECT_LT(interval[1] - interval[0], 0.1);
  const Json& found = summary.at("label_noise").at("food").at("sport");
  EXPECT_LE(found.at("interval")[0].get<double>(), 0.3);
  EXPECT_GE(found.at("interval")[1].get<double>(), 0.3);
  EXPECT_LT(summary.at("label_noise").at("sport").at("food").at("rate").get<double>(), 0.1);
  EXPECT_LT(summary.at("label_noise").at("music").at("sport").at("rate").get<double>(), 0.1);
  int called = 0, hit = 0;
  const auto table = read_tsv(path("out/weights.tsv"));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (table[i + 1][5] != "1") continue;
    ++called;
    hit += rows[i].label != truth[i].label ? 1 : 0;
  }
  EXPECT_GT(hit, 0.6 * wrong);
  EXPECT_GT(hit, 0.75 * called);
  EXPECT_CONTAINS(run.out, "recorded wrongly, most of all: 'food' as 'sport'");
  EXPECT_EQ(summary.at("warnings").dump().find("contradict"), std::string::npos);
}

// Trusted rows picked by class contradict the class shares of the training rows; the user is told.
TEST_F(CleanCli, SaysWhenTrustedRowsContradict) {
  std::vector<Row> picked;
  size_t others = 0;
  for (const Row& row : make_rows(400, 35)) {
    if (row.label == 0 || others++ % 6 == 0) picked.push_back(row);
  }
  folder_.write("trusted.tsv", tsv_of(picked));
  const Outcome run = bilevel_program(text("out", {"--no-baselines"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "the trusted rows contradict the estimated class shares");
  EXPECT_CONTAINS(read_bytes(path("out/summary.json")), "of them are 'sport'");
  EXPECT_CONTAINS(read_bytes(path("out/report.html")), "contradict");
}

// The cleaned model's calibration is saved with it and used by `predict`; without it the odds are the network's own.
TEST_F(CleanCli, PredictCalibrates) {
  const Outcome run = clean_hard(
      "out", make_hard_rows(400, 25),
      {"--inject-noise", "0.3", "--test", folder_.write("new.tsv", hard_tsv_of(make_hard_rows(80, 26)))});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto predict = [&](const std::string& out) {
    EXPECT_EQ(
        bilevel_program({"predict", "--model", path("out"), "--input", path("new.tsv"), "--out", path(out)})
            .code,
        0);
    return read_tsv(path(out));
  };
  const auto table = predict("p.tsv"), own = read_tsv(path("out/predictions.tsv"));
  Json model = Json::parse(read_bytes(path("out/model.json")));
  const Json calibration = model.at("calibration");
  const double temperature = calibration.at("temperature").get<double>();
  EXPECT_GT(std::abs(temperature - 1), 0.01);
  EXPECT_EQ(calibration, Json::parse(run.out).at("calibration"));
  model["calibration"] = nullptr;
  folder_.write("out/model.json", model.dump());
  const auto raw = predict("raw.tsv");
  for (size_t i = 1; i < table.size(); ++i) {
    const double p = std::stod(table[i][3]);
    EXPECT_EQ(table[i][3], own[i][5]);
    const double expected = log_odds(std::stod(raw[i][3])) / temperature +
                            calibration.at("bias")[1].get<double>() - calibration.at("bias")[0].get<double>();
    EXPECT_NEAR(log_odds(p), expected, 1e-4);
  }
}

TEST_F(CleanCli, FindsInjectedFlipsAndWritesEverything) {
  const Outcome run = bilevel_program(text("out", {"--inject-noise", "0.3", "--seed", "4", "--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const Json summary = Json::parse(run.out);
  EXPECT_EQ(summary.at("command"), "clean");
  EXPECT_EQ(summary.at("solver"), "adambo");
  EXPECT_EQ(summary.at("encoder"), "bag");
  EXPECT_EQ(summary.at("stop_reason"), "max_steps");
  EXPECT_EQ(Json::parse(read_bytes(path("out/summary.json"))), summary);
  for (const char* part : {"train", "trusted", "test"}) {
    for (const char* key : {"accuracy", "loss"})
      EXPECT_TRUE(summary.at("metrics").at(part).at(key).is_number()) << part << " " << key;
  }
  EXPECT_GT(summary.at("metrics").at("test").at("accuracy").get<double>(), 0.85);
  EXPECT_GT(summary.at("metrics").at("flips").at("auroc").get<double>(), 0.9);
  EXPECT_GT(summary.at("metrics").at("flips").at("precision").get<double>(), 0.7);
  EXPECT_GT(summary.at("metrics").at("flips").at("recall").get<double>(), 0.7);
  for (const char* name :
       {"noisy_and_trusted", "trusted_only", "self_confidence", "trusted_model", "product"}) {
    SCOPED_TRACE(name);
    const Json& baseline = summary.at("baselines").at(name);
    expect_difference(baseline, summary.at("metrics").at("test").at("accuracy"),
                      baseline.at("test").at("accuracy"));
    EXPECT_FALSE(baseline.contains("predicted"));
  }
  for (const char* name : {"self_confidence", "trusted_model", "product"})
    EXPECT_GT(summary.at("baselines").at(name).at("flips").at("auroc").get<double>(), 0.5) << name;

  // weights.tsv: a line per row in order, consistent with itself and with the figures.
  const auto table = read_tsv(path("out/weights.tsv"));
  ASSERT_EQ(table.size(), kTrain + 1);
  EXPECT_TRUE(read_bytes(path("out/weights.tsv"))
                  .starts_with("row\tweight\tgiven_label\tsuggested_label\tprobability\tsuspicious\tline\n"));
  const std::vector<Row> truth = make_rows(kTrain, 1);
  std::vector<double> minus_weight, minus_probability;
  std::vector<int64_t> flipped;
  int64_t suspicious = 0, flips = 0, right_suggestions = 0;
  for (size_t i = 0; i < kTrain; ++i) {
    const auto& row = table[i + 1];
    ASSERT_EQ(row.size(), 7U);
    EXPECT_EQ(row[6], std::to_string(i + 2)) << "behind the header";
    EXPECT_EQ(row[0], std::to_string(i + 1));
    const double weight = std::stod(row[1]), probability = std::stod(row[4]);
    EXPECT_TRUE(weight >= 0 && weight <= 1 && probability >= 0 && probability <= 1);
    EXPECT_EQ(row[5], probability < 0.5 ? "1" : "0");
    suspicious += row[5] == "1" ? 1 : 0;
    const std::string& true_label = kNames[static_cast<size_t>(truth[i].label)];
    flips += row[2] != true_label ? 1 : 0;
    right_suggestions += row[3] == true_label ? 1 : 0;
    minus_weight.push_back(-weight);
    minus_probability.push_back(-probability);
    flipped.push_back(row[2] != true_label ? 1 : 0);
  }
  EXPECT_NEAR(static_cast<double>(flips), 0.3 * kTrain, 4.5 * std::sqrt(0.21 * kTrain));
  EXPECT_EQ(suspicious, summary.at("suspicious").get<int64_t>());
  EXPECT_GT(right_suggestions, static_cast<int64_t>(0.8 * kTrain));
  EXPECT_NEAR(auc(ScoredRows(minus_probability, flipped)),
              summary.at("metrics").at("flips").at("auroc").get<double>(), 1e-9);
  EXPECT_NEAR(auc(ScoredRows(minus_weight, flipped)),
              summary.at("metrics").at("flips").at("auroc").get<double>(), 1e-9);
  const double share = static_cast<double>(flips) / kTrain;
  EXPECT_NEAR(summary.at("estimated_noise").get<double>(), share,
              2 * std::sqrt(share * (1 - share) / kTrain));

  // out_of_fold.tsv: by its probabilities of the given labels the usual methods rank.
  const auto unseen = read_tsv(path("out/out_of_fold.tsv"));
  ASSERT_EQ(unseen.size(), kTrain + 1);
  const std::vector<std::string>& head = unseen[0];
  ASSERT_EQ(head.size(), 10U) << "file, line, label, predicted, two probabilities of three classes";
  std::map<std::string, std::vector<double>> minus;
  for (size_t i = 1; i <= kTrain; ++i) {
    const auto of_given = [&](const std::string& key) {
      const auto at = std::ranges::find(head, key + "(" + unseen[i][2] + ")");
      return std::stod(unseen[i][static_cast<size_t>(at - head.begin())]);
    };
    EXPECT_EQ(unseen[i][2], table[i][2]);
    const double by_others = of_given("p"), by_trusted = of_given("p_trusted_only");
    minus["self_confidence"].push_back(-by_others);
    minus["trusted_model"].push_back(-by_trusted);
    minus["product"].push_back(-by_others * by_trusted);
  }
  for (const auto& [name, scores] : minus)
    EXPECT_NEAR(auc(ScoredRows(scores, flipped)),
                summary.at("baselines").at(name).at("flips").at("auroc").get<double>(), 1e-9)
        << name;

  for (const char* name : {"report.html", "options.json", "parts/learn/checkpoint.safetensors", "trace.jsonl",
                           "model.json", "model.safetensors", "predictions.tsv"})
    EXPECT_TRUE(fs::exists(path("out/") + name)) << name;
  const std::string report = read_bytes(path("out/report.html"));
  for (const char* part :
       {"Most suspicious rows", "Beside the usual methods", "Rows of low weight are suspicious"})
    EXPECT_CONTAINS(report, part);

  // The saved model classifies as the run did.
  const Outcome predicted = bilevel_program(
      {"predict", "--model", path("out"), "--input", test_, "--out", path("p.tsv"), "--json"});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_NEAR(Json::parse(predicted.out).at("accuracy").get<double>(),
              summary.at("metrics").at("test").at("accuracy").get<double>(), 1e-12);
  EXPECT_NEAR(Json::parse(predicted.out).at("loss").get<double>(),
              summary.at("metrics").at("test").at("loss").get<double>(), 1e-5);
}

// What is to act on: the suspicious rows with their cells, and the training file with mended labels or without them.
TEST_F(CleanCli, WritesFilesToActOn) {
  ASSERT_EQ(bilevel_program(text("out", {"--inject-noise", "0.3", "--no-baselines"})).code, 0);
  const auto weights = read_tsv(path("out/weights.tsv")), train = read_tsv(train_),
             found = read_tsv(path("out/suspicious.tsv"));
  EXPECT_EQ(found[0], (std::vector<std::string>{"file", "line", "text", "a", "b", "source", "label",
                                                "suggested_label", "probability"}));
  double last = 0;
  for (size_t i = 1; i < found.size(); ++i) {
    EXPECT_EQ(found[i][0], train_);
    const size_t row = std::stoul(found[i][1]) - 1;  // from 1
    EXPECT_EQ(std::vector<std::string>(found[i].begin() + 2, found[i].begin() + 6),
              std::vector<std::string>(train[row].begin() + 1, train[row].end()));
    EXPECT_EQ(std::vector<std::string>(found[i].begin() + 6, found[i].end()),
              std::vector<std::string>(weights[row].begin() + 2, weights[row].begin() + 5));
    EXPECT_EQ(weights[row][5], "1");
    EXPECT_GE(std::stod(found[i][8]), last);
    last = std::stod(found[i][8]);
  }
  const Json summary = Json::parse(read_bytes(path("out/summary.json")));
  EXPECT_EQ(summary.at("suspicious"), found.size() - 1);
  EXPECT_GT(found.size(), 10U);

  const auto cleaned = read_tsv(path("out/cleaned.tsv"));
  ASSERT_EQ(cleaned.size(), train.size());
  int64_t changed = 0;
  for (size_t i = 0; i < train.size(); ++i) {
    auto expected = train[i];
    if (i > 0) expected[0] = weights[i][weights[i][5] == "1" ? 3 : 2];
    EXPECT_EQ(cleaned[i], expected);
    changed += expected[0] != train[i][0] ? 1 : 0;
  }
  EXPECT_EQ(summary.at("cleaned"),
            Json({{"file", "cleaned.tsv"}, {"labels_changed", changed}, {"rows_left_out", 0}}));
  EXPECT_CONTAINS(read_bytes(path("out/report.html")), "recorded as sport");

  const Outcome run =
      bilevel_program(text("drop", {"--inject-noise", "0.3", "--no-baselines", "--cleaned", "drop"}));
  EXPECT_CONTAINS(run.out, "drop/suspicious.tsv");
  EXPECT_CONTAINS(run.out, "without the suspicious rows: " + path("drop/cleaned.tsv"));
  EXPECT_EQ(read_tsv(path("drop/cleaned.tsv")).size() + found.size() - 1, train.size());
}

TEST_F(CleanCli, SaysThatNothingIsSuspicious) {
  std::string table = "x,y\n";
  for (int i = 0; i < 120; ++i)
    table += std::to_string(i % 2 == 0 ? i : -i) + (i % 2 == 0 ? ",yes\n" : ",no\n");
  const Outcome run = bilevel_program(
      {"clean", "--train", folder_.write("t.csv", table), "--label", "y", "--steps", "20", "--out", out()});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.out, "0 of 120 rows are suspicious");
  EXPECT_CONTAINS(run.out, "no label is more likely wrong than right; the least certain:");
  EXPECT_CONTAINS(run.out, "right with probability");
  EXPECT_EQ(run.out.find("rather"), std::string::npos);
  EXPECT_CONTAINS(read_bytes(path("out/report.html")), "No label is more likely wrong than right");
  EXPECT_EQ(read_bytes(path("out/suspicious.tsv")), "file\tline\tx\tlabel\tsuggested_label\tprobability\n");
  EXPECT_EQ(read_bytes(path("out/cleaned.csv")), table);
}

// A text of a trusted row leaves the training rows, and is judged all the same; rows of few columns, which are alike by
// chance, stay.
TEST_F(CleanCli, RowsThatRepeatTrustedOnesJudgeNothing) {
  const std::vector<Row> rows = make_rows(kTrain, 1);
  std::vector<Row> shared = make_rows(40, 9);
  shared[4] = rows[7];
  shared[9] = rows[8];
  shared[9].label = (rows[8].label + 1) % 3;  // whoever looked at it found another label
  const std::string trusted = folder_.write("shared.tsv", tsv_of(shared));
  const Outcome run =
      bilevel_program({"clean", "--train", train_, "--trusted", trusted, "--text", "text", "--label", "topic",
                       "--steps", "20", "--no-baselines", "--out", out(), "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json summary = Json::parse(run.out);
  EXPECT_CONTAINS(summary.at("warnings").dump(), "2 training rows look like trusted ones");
  EXPECT_EQ(summary.at("rows"), kTrain);
  ASSERT_EQ(read_tsv(path("out/weights.tsv")).size(), kTrain + 1);

  std::string alike = "colour,size,y\n";
  for (int i = 0; i < 60; ++i) {
    alike += std::string(i % 3 == 0 ? "red," : "blue,") + (i % 2 == 0 ? "s," : "l,") +
             ((i % 3 == 0) != (i % 10 == 0) ? "yes\n" : "no\n");
  }
  const Outcome few = bilevel_program(
      {"clean", "--train", folder_.write("t.csv", alike), "--trusted",
       folder_.write("k.csv", "colour,size,y\nred,s,yes\nblue,s,no\nblue,s,yes\ngreen,s,no\n"), "--label",
       "y", "--steps", "20", "--no-baselines", "--out", path("few"), "--json"});
  ASSERT_EQ(few.code, 0) << few.err;
  EXPECT_CONTAINS(few.out,
                  "3 training rows look like trusted ones; rows of so few different cells do so by chance");
  EXPECT_EQ(read_tsv(path("few/weights.tsv")).size(), 61U);
  const Outcome all = bilevel_program({"clean", "--train", trusted_, "--trusted", trusted_, "--text", "text",
                                       "--label", "topic", "--out", path("all")});
  EXPECT_EQ(all.code, 2);
  EXPECT_CONTAINS(all.err, "too few training rows");
}

// What no trusted row judges is not called wrong for that, and rows are told by their lines.
TEST_F(CleanCli, AClassWithoutTrustedRowsStays) {
  std::vector<Row> rows, trusted;
  size_t music = 0;
  for (Row& row : make_rows(900, 5)) {
    if (row.label == 2 && ++music > 20) continue;
    if (row.label < 2 && rows.size() % 5 == 0) row.label = 1 - row.label;  // wrong
    rows.push_back(std::move(row));
  }
  for (Row& row : make_rows(300, 6))
    if (row.label < 2) trusted.push_back(std::move(row));
  std::string table = tsv_of(rows);
  table.insert(table.find('\n') + 1, "\tof no class\t1\t1\teven\n");
  const Outcome run = bilevel_program({"clean", "--train", folder_.write("rare.tsv", table), "--trusted",
                                       folder_.write("two.tsv", tsv_of(trusted)), "--text", "text", "--label",
                                       "topic", "--drop-unlabelled", "--no-baselines", "--out", out()});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "the class 'music' has no trusted row");
  const auto weights = read_tsv(path("out/weights.tsv"));
  ASSERT_EQ(weights.size(), rows.size() + 1);
  int64_t suspicious = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(weights[i + 1][6], std::to_string(i + 3)) << "behind the header and the row without a label";
    if (rows[i].label == 2) suspicious += weights[i + 1][5] == "1" ? 1 : 0;
  }
  EXPECT_LE(suspicious, 4);
  const Outcome refused = bilevel_program({"clean", "--train", train_, "--text", "text", "--label", "topic",
                                           "--sentence-l2", "2", "--out", path("refused")});
  EXPECT_EQ(refused.code, 2);
  EXPECT_CONTAINS(refused.err, "--sentence-encoder");
}

// A file whose labels were replaced beforehand gives the same weights, bit for bit, as the injection that the program
// knows of: the truth has no way into training or choices.
TEST_F(CleanCli, TheInjectedTruthHasNoInfluence) {
  ASSERT_EQ(bilevel_program(text("known", {"--inject-noise", "0.4", "--no-baselines", "--quiet"})).code, 0);
  std::vector<Row> rows = make_rows(kTrain, 1);
  const auto table = read_tsv(path("known/weights.tsv"));
  for (size_t i = 0; i < kTrain; ++i) {
    rows[i].label =
        static_cast<int>(std::find(kNames.begin(), kNames.end(), table[i + 1][2]) - kNames.begin());
  }
  folder_.write("train.tsv", tsv_of(rows));
  ASSERT_EQ(bilevel_program(text("unknown", {"--no-baselines", "--quiet"})).code, 0);
  EXPECT_EQ(read_bytes(path("known/weights.tsv")), read_bytes(path("unknown/weights.tsv")));
  EXPECT_EQ(read_bytes(path("known/model.safetensors")), read_bytes(path("unknown/model.safetensors")));
  const Json unknown = Json::parse(read_bytes(path("unknown/summary.json")));
  EXPECT_FALSE(unknown.at("metrics").contains("flips"));
  EXPECT_FALSE(unknown.contains("baselines"));
}

TEST_F(CleanCli, ColumnsGroupsAndClassPairs) {
  for (const Arguments& more :
       {Arguments{}, Arguments{"--encoder", "mlp", "--hidden", "4", "--learn"},
        Arguments{"--weight-per", "class-pair"}, Arguments{"--weight-per", "group", "--group", "source"}}) {
    const Outcome run =
        bilevel_program(columns("c" + std::to_string(more.size()) + (more.empty() ? "" : more[1]),
                                joined({"--inject-noise", "0.3", "--json", "--no-baselines"}, more)));
    ASSERT_EQ(run.code, 0) << run.err;
    const Json summary = Json::parse(run.out);
    EXPECT_GT(summary.at("metrics").at("flips").at("auroc").get<double>(), 0.8);
    if (more.size() == 2 && more[0] == "--weight-per") {
      EXPECT_EQ(summary.at("learned").at("weights").size(), 9U);
    }
    if (more.size() == 4 && more[0] == "--weight-per") {
      EXPECT_EQ(summary.at("learned").at("weights").size(), 2U);
      EXPECT_TRUE(summary.at("learned").at("weights").at("odd").is_number());
    }
    if (more.size() == 5) {
      EXPECT_CONTAINS(summary.at("warnings").dump(), "outside of its theory");
      EXPECT_CONTAINS(run.err, "outside of its theory");
    } else {
      EXPECT_EQ(summary.at("warnings").dump().find("theory"), std::string::npos);
    }
  }
}

// A whole group of wrong labels is found by one weight a group.
TEST_F(CleanCli, AGroupOfWrongLabelsGetsALowWeight) {
  std::vector<Row> rows = make_rows(kTrain, 1);
  for (size_t i = 1; i < rows.size(); i += 2)
    rows[i].label = (rows[i].label + 1 + static_cast<int>(i / 2 % 2)) % 3;
  folder_.write("train.tsv", tsv_of(rows));
  const Outcome run = bilevel_program(
      text("out", {"--weight-per", "group", "--group", "source", "--json", "--no-baselines"}, "60"));
  ASSERT_EQ(run.code, 0) << run.err;
  const Json learned = Json::parse(run.out).at("learned"), weights = learned.at("weights");
  EXPECT_LT(weights.at("odd").get<double>(), 0.5 * weights.at("even").get<double>());
  const Json intervals = learned.at("weight_intervals");
  EXPECT_LT(intervals.at("odd").at(1).get<double>(), intervals.at("even").at(0).get<double>());
}

TEST_F(CleanCli, WithoutTrustedRowsSaysWhatItAssumes) {
  const Outcome run = bilevel_program({"clean", "--train", train_, "--text", "text", "--label", "topic",
                                       "--out", path("out"), "--inject-noise", "0.2", "--steps", "20"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "this assumes that labels are right more often than wrong");
  const Json summary = Json::parse(read_bytes(path("out/summary.json")));
  EXPECT_CONTAINS(run.err, "are not calibrated");
  EXPECT_TRUE(summary.at("calibration").is_null());
  EXPECT_TRUE(summary.at("estimated_noise_interval").is_null());
  EXPECT_TRUE(summary.at("metrics").at("trusted").is_null());
  EXPECT_TRUE(summary.at("metrics").at("test").is_null());
  EXPECT_GT(summary.at("metrics").at("flips").at("auroc").get<double>(), 0.8);
  EXPECT_EQ(read_tsv(path("out/weights.tsv")).size(), kTrain + 1);
  EXPECT_CONTAINS(read_bytes(path("out/report.html")), "There was no trusted file");
  EXPECT_FALSE(fs::exists(path("out/predictions.tsv")));
}

// What classifiers trained on wrong labels predict well are these labels: noise is to be found all the same.
TEST_F(CleanCli, WithoutTrustedRowsFindsTheNoise) {
  ASSERT_EQ(bilevel_program(
                {"data", "generate", "cleaning", "--out", path("right"), "--rows", "1000", "--noise", "0"})
                .code,
            0);
  const Outcome run =
      bilevel_program({"clean", "--train", path("right/train.tsv"), "--text", "text", "--label", "label",
                       "--out", path("out"), "--inject-noise", "0.3", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json summary = Json::parse(run.out);
  EXPECT_GT(summary.at("metrics").at("flips").at("auroc").get<double>(), 0.97);
  EXPECT_GT(summary.at("metrics").at("flips").at("auroc").get<double>(),
            summary.at("baselines").at("self_confidence").at("flips").at("auroc").get<double>());
  EXPECT_NEAR(summary.at("estimated_noise").get<double>(), 0.3,
              0.06);  // 4 standard errors of 1,000 injections
  EXPECT_EQ(run.err.find("contradicts what is assumed"), std::string::npos);
}

// Rows that are the same lie in one fold: what judges them has not seen their class.
TEST_F(CleanCli, WithoutTrustedRowsAClassInOneFoldIsTold) {
  std::string table = tsv_of(make_rows(90, 5));
  for (int i = 0; i < 12; ++i) table += "jazz\tthe same again\t1\t1\teven\n";
  const auto clean = [&](const std::string& name, const Arguments& more) {
    return bilevel_program(joined({"clean", "--train", folder_.write(name + ".tsv", table), "--text", "text",
                                   "--label", "topic", "--no-baselines", "--out", path(name)},
                                  more));
  };
  const Outcome run = clean("lonely", {});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "class 'jazz': its rows lie in 1 of 4 folds (they are few, or the same)");
  const Outcome flat = clean("flat", {"--l2", "1e8"});
  ASSERT_EQ(flat.code, 0) << flat.err;
  EXPECT_CONTAINS(flat.err, "would be wrong more often than right, which contradicts what is assumed");
}

TEST_F(CleanCli, WithoutTrustedRowsTwoGroupsAreTooFew) {
  const Outcome run = bilevel_program({"clean", "--train", train_, "--text", "text", "--label", "topic",
                                       "--group", "source", "--out", path("out")});
  EXPECT_EQ(run.code, 2);
  EXPECT_CONTAINS(run.err, "its rows lie in 2 of 4 folds (those of a group lie in one)");
}

TEST_F(CleanCli, TokenEncodersAndOtherSolvers) {
  folder_.write("train.tsv", tsv_of(make_rows(60, 1)));
  folder_.write("trusted.tsv", tsv_of(make_rows(30, 2)));
  folder_.write("test.tsv", tsv_of(make_rows(30, 3)));
  for (const Arguments& more : {Arguments{"--encoder", "gru", "--hidden", "6", "--learn"},
                                Arguments{"--encoder", "transformer", "--hidden", "8", "--no-baselines"},
                                Arguments{"--solver", "bo-rep", "--no-baselines"},
                                Arguments{"--solver", "sl-bamm", "--no-baselines"}}) {
    SCOPED_TRACE(more[1]);
    const Outcome run = bilevel_program(text(more[1], joined({"--json"}, more), "3"));
    ASSERT_EQ(run.code, 0) << run.err;
    const Json summary = Json::parse(run.out);
    EXPECT_TRUE(summary.at("metrics").at("test").at("accuracy").is_number());
    EXPECT_EQ(summary.at(more[0].substr(2)), more[1]);
    EXPECT_EQ(summary.at("steps"), more[1] == "transformer" ? 0 : 3)
        << "nothing is learned unless it is asked for";
  }
}

TEST_F(CleanCli, InterruptedAndResumedIsTheSameRun) {
  const Arguments more{"--inject-noise", "0.3"};
  const Arguments whole = text("whole", more, "80"), cut = text("cut", more, "80");
  const Outcome shown = bilevel_program(whole);
  ASSERT_EQ(shown.code, 0);
  const auto numbers = decimals_of(shown.out.substr(0, shown.out.find("most suspicious")));
  EXPECT_GE(numbers.size(), 4U);  // share of wrong labels, both accuracies, AUROC
  for (const std::string& number : numbers) {
    EXPECT_CONTAINS(read_bytes(path("whole/report.html")), number) << "rounded alike";
  }
  Process process(cut);
  ASSERT_TRUE(process.wait_until([&] { return fs::exists(path("cut/parts/learn/checkpoint.safetensors")); }));
  process.send(SIGINT);
  const Outcome stopped = process.wait();
  ASSERT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_CONTAINS(stopped.err, "bilevel clean --resume");
  EXPECT_FALSE(fs::exists(path("cut/weights.tsv")));
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  const Outcome resumed = bilevel_program({"clean", "--resume", path("cut"), "--json"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* name : {"weights.tsv", "model.safetensors", "predictions.tsv"})
    EXPECT_EQ(read_bytes(path("whole/") + name), read_bytes(path("cut/") + name)) << name;
  const Json once = Json::parse(read_bytes(path("whole/summary.json"))), twice = Json::parse(resumed.out);
  for (const char* key : {"metrics", "learned", "baselines"}) EXPECT_EQ(once.at(key), twice.at(key)) << key;

  // A finished run is shown again; another option is refused.
  const Outcome again = bilevel_program({"clean", "--resume", path("cut"), "--json"});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(Json::parse(again.out), Json::parse(resumed.out));
  EXPECT_EQ(bilevel_program({"clean", "--resume", path("cut"), "--steps", "5"}).code, 2);
}

TEST_F(CleanCli, RefusesWhatCannotBe) {
  const auto write = [&](const std::string& content) { return folder_.write("odd.tsv", content); };
  const auto run_on = [&](const std::string& train, const Arguments& more = {}) {
    return joined({"clean", "--train", train, "--trusted", trusted_, "--text", "text", "--label", "topic",
                   "--out", out()},
                  more);
  };
  expect_refused(run_on(write("topic\ttext\nsport\ta\nsport\tb\nfood\tc\nmusic\td\nmusic\te\n")),
                 {"'food' has one row"});
  // Label sets that differ between files.
  expect_refused(run_on(write("topic\ttext\nsport\ta\nsport\tb\nfood\tc\nfood\td\n")),
                 {"trusted.tsv:", "music"});
  const auto fails = [&](const Arguments& more, const std::vector<std::string>& parts) {
    expect_refused(joined({"clean", "--train", train_, "--trusted", trusted_, "--text", "text", "--label",
                           "topic", "--out", out()},
                          more),
                   parts);
  };
  fails({"--inject-noise", "1"}, {"inject_noise"});
  fails({"--inject-noise", "-0.1"}, {"inject_noise"});
  fails({"--inject-noise", "nan"}, {"inject_noise"});
  fails({"--weight-per", "word"}, {"weight_per"});
  fails({"--trusted-weight", "0"}, {"trusted_weight"});
  expect_refused({"clean", "--train", train_, "--text", "text", "--label", "topic", "--weight-per",
                  "class-pair", "--out", out()},
                 {"weight_per", "--trusted"});
  fails({"--weight-per", "group"}, {"--group"});
  fails({"--weight-per", "group", "--group", "none"}, {"none"});
  fails({"--encoder", "mlp"}, {"mlp"});
  fails({"--hidden", "5"}, {"hidden"});
  fails({"--l2", "-1"}, {"l2"});
  fails({"--jobs", "0"}, {"jobs = 0: must be >= 1"});
  fails({"--embedding", "x.txt"}, {"embedding"});

  // A folder that holds another run.
  ASSERT_EQ(bilevel_program(columns("used", {"--no-baselines", "--quiet"})).code, 0);
  EXPECT_EQ(bilevel_program(columns("used")).code, 2);
}

}  // namespace
}  // namespace bilevel
