// Cross-validation of every job that names a figure, run in this process.
#include "bilevel/task/job/cross_validation.h"

#include <fmt/format.h>

#include <atomic>
#include <map>
#include <set>

#include "bilevel/core/workers.h"
#include "bilevel/data/table.h"
#include "bilevel/report/intervals.h"
#include "bilevel/task/job/job_run.h"
#include "tests/jobs.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// @param of_classes those whose folds hold classes, not rows
std::vector<JobEntry> measured_jobs(bool of_classes) {
  std::vector<JobEntry> found;
  for (const JobEntry& entry : job_registry()) {
    if (entry.measure && entry.make()->options().holds_out_classes() == of_classes) found.push_back(entry);
  }
  return found;
}

class CrossValidated : public AllJobs {
 protected:
  CrossValidated() { file_ = folder_.write("rows.csv", rows_of_eight_classes()); }

  std::unique_ptr<Job> job(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json options{
        {"features", "a,b"}, {"label", "class"}, {"steps", 4}, {"threads", 1}, {"seed", 3}};
    options.update(parts_of(GetParam().name));
    options.update(more);
    return job_on(file_, options);
  }
  Table predictions(const std::string& out) const { return read_table(path(out + "/predictions.tsv")); }
  /// What must not depend on how the work was done.
  Json figures(const std::string& out) const {
    return {Json::parse(read_bytes(path(out + "/summary.json"))).at("cross_validation"),
            read_bytes(path(out + "/predictions.tsv")), read_bytes(path(out + "/model.json"))};
  }
  /// How a run ended that is made in a copy of this process.
  Json in_a_copy(const std::function<JobResult()>& body) const {
    Workers copy(1, [&](const Json&) {
      const JobResult made = body();
      return Json{{"finished", made.finished}, {"message", made.message}, {"text", made.text}};
    });
    copy.start(0, "a copy of the test", {});
    return copy.next()->result;
  }

  std::string file_;
};

TEST_P(CrossValidated, TestsEveryRowOnceARepeat) {
  const Json ended = in_a_copy([&] {
    return start_job(GetParam(), *job({{"folds", 3}, {"repeats", 2}}), path("out"), {}, /*jobs=*/2);
  });
  ASSERT_EQ(ended.at("finished"), true) << ended;
  EXPECT_CONTAINS(ended.at("text").get<std::string>(), "3 folds, 2 repeats: " + GetParam().measure->name);

  const Table table = predictions("out");
  EXPECT_EQ(table.names()[0], "repeat");
  EXPECT_EQ(table.names()[1], "fold");
  std::map<std::string, std::multiset<std::string>> lines;                      // of a repeat
  std::map<std::string, std::map<std::string, std::set<std::string>>> in_fold;  // repeat, fold
  for (size_t row = 0; row < table.rows(); ++row) {
    const auto cell = [&](const char* name) { return std::string(table.cell(row, table.column(name))); };
    lines[cell("repeat")].insert(cell("line"));
    in_fold[cell("repeat")][cell("fold")].insert(cell("line"));
  }
  std::multiset<std::string> every;
  for (int line = 2; line <= 161; ++line) every.insert(std::to_string(line));
  EXPECT_EQ(lines, (std::map<std::string, std::multiset<std::string>>{{"1", every}, {"2", every}}));
  EXPECT_NE(in_fold["1"]["1"], in_fold["2"]["1"]) << "repeats deal the rows anew";

  const Json summary = Json::parse(read_bytes(path("out/summary.json")));
  const Json& validated = summary.at("cross_validation");
  const Json::json_pointer measure(GetParam().measure->pointer);
  std::vector<double> values;
  std::map<std::string, std::vector<double>> differences;
  for (const char* name : {"1-1", "1-2", "1-3", "2-1", "2-2", "2-3"}) {
    const Json of_run = Json::parse(read_bytes(path(fmt::format("out/folds/{}/summary.json", name))));
    values.push_back(of_run.at(measure));
    for (const auto& [key, baseline] : of_run.at("baselines").items())
      differences[key].push_back(baseline.at("difference"));
  }
  ASSERT_EQ(validated.at("runs").size(), 6U);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(validated.at("runs")[i].at("value"), values[i]);
  MeanInterval mean = resampled_interval(values, 0.5);  // a third tests, two train
  if (!validated.at("lower_is_better")) {               // a share
    mean.low = std::max(mean.low, 0.0);
    mean.high = std::min(mean.high, 1.0);
  }
  EXPECT_EQ(validated.at("mean"), mean.mean);
  EXPECT_EQ(validated.at("interval"), (Json{mean.low, mean.high}));
  EXPECT_GE(differences.size(), 1U);
  for (const auto& [key, of_runs] : differences) {
    const PairedDifference d = resampled_difference(of_runs, 0.5);
    EXPECT_EQ(validated.at("baselines").at(key).at("difference"), d.difference) << key;
    EXPECT_EQ(summary.at("verdict").at(key), name_of(verdict_of(d, GetParam().measure->lower_is_better)));
  }
  EXPECT_CONTAINS(read_bytes(path("out/report.html")), "Cross-validation");
}

TEST_P(CrossValidated, LeavesAModelOfAllRows) {
  const JobResult made = start_job(GetParam(), *job({{"folds", 2}}), path("out"));
  ASSERT_TRUE(made.finished) << made.message;
  EXPECT_FALSE(fs::exists(path("out/folds/all")));
  EXPECT_FALSE(fs::exists(path("out/parts")));
  PredictRequest request;
  request.model = path("out");
  request.input = file_;
  request.out = path("p.tsv");
  const Prediction predicted = predict(request);
  EXPECT_EQ(predicted.summary.at("rows"), 160);
  // It is that of the run on all rows, which can be made by itself.
  ASSERT_TRUE(start_job(GetParam(), *job({{"folds", 2}, {"fold", 0}}), path("whole")).finished);
  EXPECT_EQ(read_bytes(path("out/model.safetensors")), read_bytes(path("whole/model.safetensors")));
  // As that of a fold can.
  ASSERT_TRUE(start_job(GetParam(), *job({{"folds", 2}, {"fold", 2}}), path("second")).finished);
  EXPECT_EQ(read_bytes(path("out/folds/1-2/predictions.tsv")), read_bytes(path("second/predictions.tsv")));
  // Another run may take the folder.
  EXPECT_TRUE(start_job(GetParam(), *job(), path("out"), {}, 1, /*force=*/true).finished);
  EXPECT_FALSE(fs::exists(path("out/folds")));
}

TEST_P(CrossValidated, InterruptedAndResumedIsUninterrupted) {
  const nlohmann::json options{{"folds", 2}};
  ASSERT_TRUE(start_job(GetParam(), *job(options), path("whole")).finished);
  std::atomic<bool> interrupt{false};
  const JobResult cut =
      start_job(GetParam(), *job(options), path("cut"),
                {.progress = [&](const JobProgress& p) { interrupt = interrupt || p.share > 0.5; },
                 .interrupt = &interrupt});
  EXPECT_EQ(cut.reason, StopReason::interrupted);
  EXPECT_FALSE(cut.finished);
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  EXPECT_TRUE(fs::exists(path("cut/folds/1-1/summary.json")));
  ASSERT_TRUE(resume_job(GetParam(), path("cut")).finished);
  EXPECT_EQ(figures("cut"), figures("whole"));
  EXPECT_CONTAINS(resume_job(GetParam(), path("cut")).text, "had finished");
}

TEST_P(CrossValidated, KeepsGroupsInOneFold) {
  std::string rows = "class,text,a,b,who\n";
  const Table table = read_table(file_);
  for (size_t row = 0; row < table.rows(); ++row) {
    for (size_t c = 0; c < 4; ++c) rows += std::string(table.cell(row, c)) + ",";
    rows += fmt::format("p{}\n", row % 40);  // four rows of a class each
  }
  file_ = folder_.write("groups.csv", rows);
  std::set<std::string> seen;
  for (int fold = 1; fold <= 3; ++fold) {
    const auto made = job({{"folds", 3}, {"fold", fold}, {"group", "who"}});
    const std::unique_ptr<JobSetup> setup = made->setup({.command = GetParam().name});
    std::set<std::string> here;
    for (const int64_t row : setup->data_files().rows_of_role("test")) {
      const std::string text = setup->data_files().row_text(row, "");
      here.insert(text.substr(text.rfind(' ') + 1));
    }
    EXPECT_EQ(setup->data_files().rows_of_role("test").size(), 4 * here.size());
    for (const std::string& who : here) EXPECT_TRUE(seen.insert(who).second) << who;
  }
  EXPECT_EQ(seen.size(), 40U);
}

TEST_P(CrossValidated, RefusesWhatCannotBe) {
  const auto refusal = [&](const nlohmann::json& options) {
    const std::string message =
        message_of<InputError>([&] { start_job(GetParam(), *job(options), path("no")); });
    EXPECT_FALSE(fs::exists(path("no")));
    return message;
  };
  EXPECT_CONTAINS(refusal({{"folds", 1}}), "folds = 1: must be >= 2");
  EXPECT_CONTAINS(refusal({{"folds", 5}, {"test", file_}}), "folds = 5: goes with no --test");
  EXPECT_CONTAINS(refusal({{"repeats", 2}}), "repeats = 2: needs --folds");
  EXPECT_CONTAINS(refusal({{"fold", 2}}), "fold = 2: needs --folds");
  EXPECT_CONTAINS(refusal({{"folds", 2}, {"repeats", 2}, {"fold", 5}}), "fold = 5: there are 4");
  EXPECT_CONTAINS(refusal({{"folds", 81}}), "81");
  const std::unique_ptr<Job> any = job();
  for (const auto& [name, value] : {std::pair{"split", "0.6,0.2,0.2"}, {"time", "a"}}) {
    if (fields_of(*any).find(name) == nullptr) continue;  // the job has none
    EXPECT_CONTAINS(refusal({{"folds", 5}, {name, value}}),
                    fmt::format("folds = 5: goes with no --{}", name));
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, CrossValidated, testing::ValuesIn(measured_jobs(/*of_classes=*/false)),
                         [](const auto& entry) { return entry.param.name; });

using CrossValidatedTasks = CrossValidated;

// The classes of a fold are in no other, and in none of its run's training and validation tasks.
TEST_P(CrossValidatedTasks, TestsEveryClassOnceARepeat) {
  const nlohmann::json options{{"folds", 2}, {"repeats", 2}, {"baselines", "untrained"}, {"steps", 2}};
  const Json ended =
      in_a_copy([&] { return start_job(GetParam(), *job(options), path("out"), {}, /*jobs=*/2); });
  ASSERT_EQ(ended.at("finished"), true) << ended;
  std::map<int, std::multiset<std::string>> tested;  // by repeat
  std::vector<double> values;
  for (const int repeat : {1, 2}) {
    for (const int fold : {1, 2}) {
      const Json run =
          Json::parse(read_bytes(path(fmt::format("out/folds/{}-{}/summary.json", repeat, fold))));
      std::multiset<std::string> all;
      for (const char* part : {"train", "valid", "test"}) {
        for (const std::string name : run.at("parts").at(part)) all.insert(name);
      }
      EXPECT_EQ(all.size(), 8U);
      EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 8U);
      EXPECT_EQ(run.at("parts").at("test").size(), 4U);
      for (const std::string name : run.at("parts").at("test")) tested[repeat].insert(name);
      values.push_back(run.at("metrics").at("test").at("accuracy"));
    }
    EXPECT_EQ(std::set<std::string>(tested[repeat].begin(), tested[repeat].end()).size(), 8U);
  }
  const Json summary = Json::parse(read_bytes(path("out/summary.json")));
  EXPECT_NEAR(summary.at("cross_validation").at("mean"), (values[0] + values[1] + values[2] + values[3]) / 4,
              1e-12);
  EXPECT_TRUE(summary.at("verdict").contains("untrained"));
  const Table episodes = read_table(path("out/episodes.tsv"));
  EXPECT_EQ(episodes.names(),
            (std::vector<std::string>{"repeat", "fold", "episode", "accuracy", "untrained"}));
  EXPECT_EQ(episodes.rows(), 4U * 5);
  // The model of all classes adapts as any other does.
  PredictRequest request;
  request.model = path("out");
  request.input = request.shots = file_;
  request.out = path("p.tsv");
  EXPECT_EQ(predict(request).summary.at("rows"), 160);
}

TEST_P(CrossValidatedTasks, RefusesWhatCannotBe) {
  const auto refusal = [&](const nlohmann::json& options) {
    return message_of<InputError>([&] { start_job(GetParam(), *job(options), path("no")); });
  };
  EXPECT_CONTAINS(refusal({{"folds", 9}}), "folds = 9: there are 8 to deal");
  EXPECT_CONTAINS(refusal({{"folds", 2}, {"test_classes", "spam,ham"}}),
                  "folds = 2: goes with no --test-classes: each fold in turn holds the test classes");
  EXPECT_CONTAINS(refusal({{"folds", 2}, {"test", file_}}), "folds = 2: goes with no --test");
  EXPECT_CONTAINS(refusal({{"folds", 8}}), "ways = 2: the test part has 1 class, fewer than a task needs");
}

INSTANTIATE_TEST_SUITE_P(Registry, CrossValidatedTasks, testing::ValuesIn(measured_jobs(/*of_classes=*/true)),
                         [](const auto& entry) { return entry.param.name; });

TEST(CrossValidation, SumsUpRuns) {
  std::vector<FoldRun> runs;
  for (const auto& [value, one, two] : {std::tuple{0.65, 0.1, 0.25}, {0.7, 0.2, 0.25}, {0.75, 0.6, 0.25}}) {
    Json summary{
        {"metrics", {{"score", value}}},
        {"baselines", {{"one", {{"name", "the one"}, {"difference", one}}}, {"two", {{"difference", two}}}}}};
    if (runs.size() == 1) summary["baselines"]["three"] = {{"difference", 1.0}};
    runs.push_back({1, static_cast<int64_t>(runs.size()) + 1, summary});
  }
  const Json all = cross_validated(runs, 3, 1, {"/metrics/score", "score"});
  EXPECT_NEAR(all.at("mean").get<double>(), 0.7, 1e-12);
  // s = 0.05, n = 3, one test row to two training rows, t of 2 degrees of freedom 4.302653.
  const double half = 4.302653 * 0.05 * std::sqrt(1.0 / 3 + 1.0 / 2);
  EXPECT_NEAR(all.at("interval").at(0).get<double>(), 0.7 - half, 1e-6);
  EXPECT_NEAR(all.at("interval").at(1).get<double>(), 0.7 + half, 1e-6);
  runs[0].summary["metrics"]["score"] = 0.1;
  const Json wide = cross_validated(runs, 3, 1, {"/metrics/score", "score"});
  EXPECT_EQ(wide.at("interval"), (Json{0.0, 1.0})) << "a share";
  EXPECT_LT(cross_validated(runs, 3, 1, {"/metrics/score", "score", true}).at("interval").at(0), 0.0)
      << "a loss";
  EXPECT_EQ(all.at("runs")[2].at("differences"), (Json{{"one", 0.6}, {"two", 0.25}}));
  EXPECT_EQ(all.at("baselines").size(), 2U) << "what one run alone has measured says nothing of all";
  const Json& one = all.at("baselines").at("one");
  EXPECT_EQ(one.at("name"), "the one");
  EXPECT_NEAR(one.at("difference").get<double>(), 0.3, 1e-12);
  EXPECT_EQ(one.at("verdict"), "not_told_apart");  // 0.3 -+ 1.04
  EXPECT_TRUE(all.at("baselines").at("two").at("difference_interval").is_null()) << "no spread, no interval";
}

}  // namespace
}  // namespace bilevel
