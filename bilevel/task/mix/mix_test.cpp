#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/data/table.h"
#include "bilevel/task/generate/generate.h"
#include "bilevel/task/job/job_entry.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace mix_test {

using Json = nlohmann::ordered_json;

class Mix : public testing::Test {
 protected:
  /// A set with known best weights, written down.
  void generate(uint64_t seed, int64_t rows, int64_t target, int64_t test) {
    for (const GeneratedFile& file : generate_data({.kind = "mixing",
                                     .rows = rows,
                                     .test_rows = test,
                                     .valid_rows = target,
                                     .columns = 4,
                                     .seed = seed})
                                         .files)
      folder_.write(file.name, file.content);
  }
  nlohmann::json options(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json all{{"target", path("target.csv")},
                       {"sources", {path("sources.csv")}},
                       {"source", "source"},
                       {"features", "all"},
                       {"label", "label"},
                       {"threads", 1}};
    all.update(more);
    return all;
  }
  JobResult run(const nlohmann::json& options, const std::string& out = "out") const {
    const JobEntry& entry = job_registry().at("mix");
    const std::unique_ptr<Job> job = entry.make();
    fields_of(*job).from_json(options);
    return start_job(entry, *job, path(out));
  }
  std::string refused(const nlohmann::json& more) const {
    return message_of<InputError>([&] { run(options(more), "refused"); });
  }
  std::string path(const std::string& name) const { return folder_.path(name); }

  /// The best weights of the set.
  std::map<std::string, double> truth() const {
    std::map<std::string, double> weights;
    const Table table = read_table(path("truth.tsv"));
    for (size_t row = 0; row < table.rows(); ++row)
      weights[std::string(table.cell(row, 0))] = std::stod(std::string(table.cell(row, 1)));
    return weights;
  }
  /// By how much the learned weights, those of the sources scaled to sum 1, miss the best ones at most.
  double worst_miss(const Json& summary) const {
    double sum = 0, worst = 0;
    for (const Json& source : summary.at("sources"))
      sum += source.at("name") == "(target)" ? 0 : source.at("weight").get<double>();
    for (const auto& [name, weight] : truth()) {
      for (const Json& source : summary.at("sources")) {
        if (source.at("name") == name)
          worst = std::max(worst, std::abs(source.at("weight").get<double>() / sum - weight));
      }
    }
    return worst;
  }

  TemporaryFolder folder_;
};

TEST_F(Mix, FindsTheBestWeights) {
  for (const uint64_t seed : {100U, 101U}) {
    generate(seed, 3000, 12000, 20);
    for (const char* solver : {"adambo", "f2sa"}) {
      const JobResult result = run(
          options({{"baselines", false}, {"intervals", false}, {"target_trains", false}, {"solver", solver}}),
          fmt::format("{}-{}", solver, seed));
      EXPECT_LT(worst_miss(result.summary), 0.05)
          << solver << " " << seed << result.summary.at("sources").dump();
    }
  }
}

TEST_F(Mix, FewTargetRowsTrainAndJudge) {
  generate(102, 200, 60, 200);
  const JobResult result = run(options({{"test", path("test.csv")}}));
  const Json& sources = result.summary.at("sources");
  ASSERT_EQ(sources.size(), 4U);
  double sum = 0;
  for (const Json& source : sources) {
    const auto weight = source.at("weight").get<double>();
    sum += weight;
    EXPECT_LE(source.at("interval")[0].get<double>(), weight);
    EXPECT_GE(source.at("interval")[1].get<double>(), weight);
    EXPECT_TRUE(source.at("without").is_number());
    EXPECT_TRUE(source.at("alone").is_number());
  }
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_EQ(sources[3].at("name"), "(target)");
  for (const char* key : {"uniform", "proportional", "target", "best_source"}) {
    EXPECT_TRUE(result.summary.at("baselines").at(key).at("test").at("accuracy").is_number()) << key;
    EXPECT_TRUE(result.summary.at("verdict").at(key).is_string()) << key;
  }
  const Table written = read_table(path("out/sources.tsv"));
  EXPECT_EQ(written.rows(), 4U);
  EXPECT_EQ(written.cell(0, 0), sources[0].at("name").get<std::string>());

  const Prediction predicted =
      predict({.model = path("out"), .input = path("test.csv"), .out = path("predicted.tsv")});
  EXPECT_NEAR(predicted.summary.at("accuracy").get<double>(),
              result.summary.at("metrics").at("test_calibrated").at("accuracy").get<double>(), 1e-12);
}

// Every figure of the target rows is of the same rows in the same order, whoever trains on them.
TEST_F(Mix, DifferencesAreOfTheSameRows) {
  generate(107, 600, 300, 1500);
  for (const bool target_trains : {false, true}) {
    const JobResult result =
        run(options({{"target_trains", target_trains}}), target_trains ? "with" : "without");
    const double own = result.summary.at("metrics").at("target").at("accuracy").get<double>();
    for (const auto& [key, baseline] : result.summary.at("baselines").items())
      EXPECT_NEAR(baseline.at("difference").get<double>(),
                  own - baseline.at("target").at("accuracy").get<double>(), 1e-9)
          << key;
    const JobResult tested =
        run(options({{"target_trains", target_trains}, {"test", path("test.csv")}, {"baselines", false}}),
            target_trains ? "tested" : "tested-without");
    const Json& metrics = tested.summary.at("metrics");
    EXPECT_NEAR(metrics.at("target").at("accuracy").get<double>(),
                metrics.at("test").at("accuracy").get<double>(), 0.1);  // four standard errors of 300 rows
    EXPECT_LT(metrics.at("test_calibrated").at("loss").get<double>(),
              metrics.at("test").at("loss").get<double>() + 0.02);
  }
}

TEST_F(Mix, TakesNoPenalty) {
  generate(108, 100, 60, 20);
  EXPECT_TRUE(run(options({{"l2", 0}, {"baselines", false}, {"intervals", false}})).finished);
}

// Two kinds of rows make two folds, and one kind cannot be cut again: no intervals, but all else.
TEST_F(Mix, SaysWhyThereAreNoIntervals) {
  generate(106, 30, 40, 20);
  std::string target = "label,x1,x2,x3,x4\n";
  for (int i = 0; i < 6; ++i) target += i % 2 == 0 ? "yes,1,2,0.5,1\n" : "no,-1,0,0.25,2\n";
  folder_.write("alike.csv", target);
  const JobResult result = run(options({{"target", path("alike.csv")}}));
  EXPECT_CONTAINS(result.summary.at("warnings").dump(), "the weights have no intervals");
  EXPECT_TRUE(result.summary.at("sources")[0].at("interval").is_null());
  EXPECT_TRUE(result.summary.at("sources")[0].at("without").is_number());
  EXPECT_TRUE(result.summary.at("baselines").contains("uniform"));
}

TEST_F(Mix, EntropyFloor) {
  generate(103, 100, 60, 20);
  const JobResult result = run(options({{"baselines", false}, {"intervals", false}, {"entropy_floor", 1}}));
  for (const Json& source : result.summary.at("sources"))
    EXPECT_NEAR(source.at("weight").get<double>(), 0.25, 1e-6);
}

TEST_F(Mix, EachFileIsASource) {
  generate(104, 50, 60, 20);
  const std::string content = read_bytes(path("target.csv"));
  folder_.write("a.csv", content);
  folder_.write("b.csv", content);
  const JobResult result = run(options({{"sources", {path("b.csv"), path("a.csv")}},
                                        {"source", ""},
                                        {"baselines", false},
                                        {"intervals", false}}));
  EXPECT_EQ(result.summary.at("sources")[0].at("name"), "a.csv");
  EXPECT_EQ(result.summary.at("sources")[1].at("name"), "b.csv");
  EXPECT_TRUE(result.summary.at("metrics").at("test").is_null());
}

TEST_F(Mix, RefusesWhatCannotBeMixed) {
  generate(105, 30, 40, 20);
  EXPECT_CONTAINS(refused({{"sources", nlohmann::json::array()}}), "--sources FILE is missing");
  EXPECT_CONTAINS(refused({{"source", "origin"}}), "has no column 'origin'");
  EXPECT_CONTAINS(refused({{"encoder", "mlp"}}), "encoder = mlp");
  EXPECT_CONTAINS(refused({{"sources", {path("none.csv")}}}), "none.csv: there is no such file");
  EXPECT_CONTAINS(refused({{"entropy_floor", 2}}), "entropy_floor = 2");
  EXPECT_CONTAINS(refused({{"source", ""}, {"target_trains", false}}), "one source alone");
  folder_.write("empty.csv", "label,source,x1,x2,x3,x4\nyes,a,1,2,3,4\nno,,1,2,3,5\n");
  const std::string empty = refused({{"sources", {path("empty.csv")}}});
  EXPECT_CONTAINS(empty, "empty.csv:3:4: the source (column 'source') is missing");
  folder_.write("other.csv", "label,source,x1,x2,x3,x4\nyes,a,1,2,3,4\nmaybe,a,1,2,3,5\n");
  EXPECT_CONTAINS(refused({{"sources", {path("other.csv")}}}), "other.csv:3:1");
  folder_.write("few.csv", "label,x1,x2,x3,x4\nyes,1,2,3,4\n");
  EXPECT_FALSE(refused({{"target", path("few.csv")}}).empty());
  folder_.write("target.csv2", "label,source,x1,x2,x3,x4\nyes,(target),1,2,3,4\nno,a,1,2,3,5\n");
  EXPECT_CONTAINS(refused({{"sources", {path("target.csv2")}}, {"format", "csv"}}),
                  "target.csv2:2:5: '(target)' names");
  EXPECT_CONTAINS(refused({{"source", ""}, {"sources", {path("sources.csv"), path("sources.csv")}}}),
                  "is given twice");
}

// A source of few rows, and one that is spelled like another, are told.
TEST_F(Mix, SaysWhichSourcesAreFewOrAlike) {
  generate(105, 30, 40, 20);
  const Table table = read_table(path("sources.csv"));
  const size_t at = table.column("source");
  std::string text = read_bytes(path("sources.csv"));
  const std::string first(table.cell(0, at));
  std::string line = text.substr(text.find('\n') + 1);
  line = line.substr(0, line.find('\n') + 1);
  const size_t place = line.find(first);
  ASSERT_NE(place, std::string::npos);
  ASSERT_TRUE(first.starts_with('c'));
  const std::string other = "C" + first.substr(1);
  folder_.write("more.csv", text + line.substr(0, place) + "C" + line.substr(place + 1));
  const JobResult result =
      run(options({{"sources", {path("more.csv")}}, {"baselines", false}, {"intervals", false}}));
  const std::string warnings = result.summary.at("warnings").dump();
  EXPECT_CONTAINS(warnings, fmt::format("the sources '{}' and '{}' are spelled nearly alike", other, first));
  EXPECT_CONTAINS(warnings, fmt::format("a source has few rows, 1 of '{}'", other));
}

}  // namespace mix_test
}  // namespace bilevel
