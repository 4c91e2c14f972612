// What every job must do, whatever it trains: taken from the registry, run in this process.
#include "tests/jobs.h"

#include <cstdlib>
#include <cstring>
#include <set>

#include "bilevel/core/safetensors.h"
#include "bilevel/data/table.h"
#include "bilevel/report/options_table.h"
#include "bilevel/task/compare/play.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class Jobs : public AllJobs {
 protected:
  Jobs() { file_ = folder_.write("rows.csv", rows_of_eight_classes()); }

  std::unique_ptr<Job> job(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json options{
        {"features", "a,b"}, {"label", "class"}, {"steps", 12}, {"threads", 1}, {"seed", 3}};
    if (const char* encoder = std::getenv("BILEVEL_TEST_ENCODER")) options["encoder"] = encoder;
    options.update(more);
    return job_on(file_, options);
  }

  Json options_in(const std::string& out) const {
    return Json::parse(read_bytes(path(out + "/options.json"))).at("options");
  }
  static std::string bytes(const std::string& folder) {
    return read_bytes(folder + "/model.safetensors") + read_bytes(folder + "/model.json");
  }

  std::string file_;
};

/// What every summary has, finished or not.
void expect_common_schema(const Json& summary) {
  using Is = bool (Json::*)() const noexcept;
  const std::pair<const char*, Is> keys[] = {{"command", &Json::is_string},
                                             {"solver", &Json::is_string},
                                             {"encoder", &Json::is_string},
                                             {"seed", &Json::is_number_unsigned},
                                             {"steps", &Json::is_number_integer},
                                             {"seconds", &Json::is_number},
                                             {"stop_reason", &Json::is_string},
                                             {"metrics", &Json::is_structured},
                                             {"oracle_calls", &Json::is_object},
                                             {"oracle_calls_apart", &Json::is_object},
                                             {"samples", &Json::is_object},
                                             {"solver_options", &Json::is_object},
                                             {"chosen_step_sizes", &Json::is_object},
                                             {"warnings", &Json::is_array},
                                             {"peak_rss_bytes", &Json::is_number_integer},
                                             {"out", &Json::is_string},
                                             {"options", &Json::is_object}};
  for (const auto& [key, is] : keys) {
    ASSERT_TRUE(summary.contains(key)) << key;
    const Json& value = summary.at(key);
    EXPECT_TRUE((value.*is)() || (key == std::string("metrics") && value.is_null())) << key << " = " << value;
  }
  for (const char* purpose : {"warm_start", "automatic", "evaluation"}) {
    for (const auto& [kind, calls] : summary.at("oracle_calls").items()) {
      EXPECT_TRUE(calls.is_number_integer()) << kind;
      EXPECT_TRUE(summary.at("oracle_calls_apart").at(purpose).at(kind).is_number_integer()) << kind;
    }
  }
  EXPECT_EQ(summary.at("oracle_calls").size(), 7U);
  for (const char* level : {"upper", "lower"})
    EXPECT_TRUE(summary.at("samples").at(level).is_number_integer()) << level;
  for (const Json& warning : summary.at("warnings")) EXPECT_TRUE(warning.is_string());
  EXPECT_GT(summary.at("peak_rss_bytes").get<int64_t>(), 1 << 20);
}

TEST_P(Jobs, SayWhatTheyAre) {
  const JobEntry& entry = GetParam();
  for (const std::string& text : {entry.name, entry.summary, entry.first_try, entry.score})
    EXPECT_NE(text, "");
  EXPECT_EQ(job_registry().at(entry.name).summary, entry.summary);
  EXPECT_CONTAINS(message_of<InputError>([] { job_registry().at("nothing"); }), entry.name);
}

TEST_P(Jobs, OptionsAreFlagsWithHelp) {
  const std::unique_ptr<Job> fresh = GetParam().make();
  const Fields fields = fields_of(*fresh);
  std::set<std::string> names;
  for (const Field& field : fields.list()) {
    EXPECT_NE(field.group, "") << field.name;
    EXPECT_NE(field.meaning, "") << field.name;
    EXPECT_TRUE(names.insert(field.name).second) << field.name << " stands there twice";
    EXPECT_NE(value_of(field), "null") << field.name;
  }
  const std::unique_ptr<Job> other = GetParam().make();
  const nlohmann::json defaults = fields.to_json();
  fields_of(*other).from_json(defaults);
  EXPECT_EQ(nlohmann::json(fields_of(*other).to_json()), defaults);
  fields.validate();
}

TEST_P(Jobs, OptionsAreRefusedByThemselves) {
  const std::unique_ptr<Job> fresh = GetParam().make();
  const Fields fields = fields_of(*fresh);
  const auto refusal = [&](const char* name, const char* text) {
    return message_of<InputError>([&] { fields.set_given({{name, {text}}}); });
  };
  for (const char* name : {"hidden", "layers", "threads", "steps"}) {
    for (const char* value : {"0", "-1", "2.5", "abc"})
      EXPECT_CONTAINS(refusal(name, value), std::string(name) + " = " + value + ": must be");
  }
  EXPECT_EQ(refusal("epochs", "0"), "epochs = 0: must be > 0");
  EXPECT_EQ(refusal("max_seconds", "nan"), "max_seconds = nan: must be a number");
  EXPECT_EQ(refusal("l2", "-1"), "l2 = -1: must be >= 0");
  EXPECT_EQ(refusal("seed", "-1"), "seed = -1: must be >= 0");
  EXPECT_CONTAINS(refusal("encoder", "cnn"), "encoder = cnn: must be one of bag");
  EXPECT_CONTAINS(refusal("format", "xls"), "format = xls: must be one of automatic, csv");
  EXPECT_CONTAINS(refusal("nothing", "1"), "there is no option 'nothing'");
  EXPECT_EQ(message_of<InputError>([&] {
              job({{"device", "tpu"}})->options().check();
            }),
            "device = tpu: must be cpu, cuda or cuda:N");
}

TEST_P(Jobs, WhatIsImpossibleLeavesNothing) {
  const auto refused = [&](const nlohmann::json& more, const std::string& part) {
    const std::unique_ptr<Job> made = job(more);
    EXPECT_CONTAINS(message_of<InputError>([&] { start_job(GetParam(), *made, path("out")); }), part);
    EXPECT_FALSE(fs::exists(path("out")));
  };
  refused({{"epochs", 1}}, "give --epochs or --steps, not both");
  refused({{"text", "text"}}, "give --text or --features, not both");
  refused({{"solver", "magic"}}, "'magic'");
  refused({{"set", {"upper_step_size"}}}, "key=value");
  refused({{"set", {"nothing=1"}}},
          "set = nothing=1, solver 'adambo': there is no option 'nothing'; known: ");
  refused({{"encoder", "linear"}, {"encoder_set", {"dropout=0.1"}}},
          "encoder_set = dropout=0.1, encoder 'linear': there is no option 'dropout'; there are no options");
  refused({{"encoder", "mlp"}, {"encoder_set", {"dropout=2"}}},
          "encoder_set = dropout=2, encoder 'mlp': dropout = 2: must be in [0, 1)");
  refused({{"label", "colour"}}, "colour");
  const std::unique_ptr<Job> empty = GetParam().make();
  const std::string flag = fields_of(*empty).list().front().flag();
  EXPECT_EQ(message_of<InputError>([&] { start_job(GetParam(), *empty, path("out")); }),
            flag + " FILE is missing");
}

TEST_P(Jobs, SummariesHaveOneSchema) {
  const JobResult whole = start_job(GetParam(), *job(), path("whole"));
  ASSERT_TRUE(whole.finished) << whole.message;
  expect_common_schema(whole.summary);
  EXPECT_EQ(whole.summary.at("command"), GetParam().name);
  EXPECT_EQ(whole.summary.at("stop_reason"), "max_steps");
  EXPECT_EQ(whole.summary.at("out"), path("whole"));
  EXPECT_TRUE(whole.summary.at("metrics").at("test").is_object() || GetParam().name == "clean")
      << "where no test rows are cut";
  EXPECT_EQ(Json::parse(read_bytes(path("whole/summary.json"))), whole.summary);
  const std::atomic<bool> interrupt{true};
  const JobResult cut = start_job(GetParam(), *job(), path("cut"), {.interrupt = &interrupt});
  ASSERT_FALSE(cut.finished);
  expect_common_schema(cut.summary);
  EXPECT_EQ(cut.summary.at("stop_reason"), "interrupted");
  EXPECT_TRUE(cut.summary.at("metrics").is_null());
}

TEST_P(Jobs, OptionsAreEchoedAsUsedAndReadBack) {
  const std::unique_ptr<Job> made = job();
  const JobResult first = start_job(GetParam(), *made, path("first"));
  ASSERT_TRUE(first.finished) << first.message;
  const Json used = options_in("first");
  EXPECT_EQ(first.summary.at("options"), used);
  EXPECT_EQ(used.at("encoder"), first.summary.at("encoder"));
  EXPECT_EQ(used.at("threads"), 1);
  EXPECT_TRUE(used.at("epochs").is_null()) << "the steps were given";
  const Fields fields = fields_of(*made);
  for (const Field& field :
       fields.list()) {  // what is not given is null: no number and no empty text stands for it
    const Json& value = used.at(field.name);
    EXPECT_NE(value, Json("")) << field.name;
    EXPECT_NE(value, Json(-1)) << field.name;
    if (!field.otherwise.empty()) {
      EXPECT_NE(value, Json(0)) << field.name;
    }
  }
  EXPECT_EQ(used.size(), fields.list().size());
  const std::unique_ptr<Job> again = GetParam().make();
  fields_of(*again).from_json(read_job_options(GetParam(), path("first/options.json")));
  ASSERT_TRUE(start_job(GetParam(), *again, path("again")).finished);
  EXPECT_EQ(options_in("again"), used);
  EXPECT_TRUE(bytes(path("again")) == bytes(path("first")));
  for (const JobEntry& other : job_registry()) {
    if (other.name == GetParam().name) continue;
    EXPECT_CONTAINS(message_of<InputError>([&] { read_job_options(other, path("first/options.json")); }),
                    other.name);
  }
}

TEST_P(Jobs, InterruptedAndResumedIsUninterrupted) {
  ASSERT_TRUE(start_job(GetParam(), *job(), path("whole")).finished);
  std::atomic<bool> interrupt{false};
  const JobResult cut = start_job(
      GetParam(), *job(), path("cut"),
      {.progress = [&](const JobProgress& p) { interrupt = p.step >= 5; }, .interrupt = &interrupt});
  EXPECT_FALSE(cut.finished);
  EXPECT_EQ(cut.reason, StopReason::interrupted);
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  const JobResult rest = resume_job(GetParam(), path("cut"));
  ASSERT_TRUE(rest.finished) << rest.message;
  EXPECT_TRUE(bytes(path("cut")) == bytes(path("whole")));
  auto [resumed, of_resumed] = load_safetensors(path("cut/checkpoint.safetensors"));
  auto [expected, of_expected] = load_safetensors(path("whole/checkpoint.safetensors"));
  EXPECT_EQ(of_resumed, of_expected);
  ASSERT_EQ(resumed.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    // Clock readings, and where the trace ends that is full of them.
    if (name == "seconds" || name == "task/earlier_seconds" || name == "task/trace_bytes") continue;
    ASSERT_TRUE(resumed.contains(name)) << name;
    ASSERT_EQ(resumed.at(name).sizes(), tensor.sizes()) << name;
    EXPECT_EQ(std::memcmp(resumed.at(name).data_ptr(), tensor.data_ptr(), tensor.nbytes()), 0) << name;
  }
  EXPECT_EQ(resume_job(GetParam(), path("cut")).message, "this run had finished");
}

TEST_P(Jobs, PredictByTheirEntry) {
  ASSERT_TRUE(start_job(GetParam(), *job(), path("run")).finished);
  PredictRequest request{.model = path("run"), .input = file_, .out = path("p.tsv"), .shots = {}, .read = {}};
  if (GetParam().predicts_from_shots) {
    EXPECT_CONTAINS(message_of<InputError>([&] { predict(request); }), "--shots");
    request.shots = file_;
  }
  const Prediction prediction = predict(request);
  EXPECT_EQ(prediction.summary.at("command"), "predict");
  EXPECT_EQ(prediction.summary.at("rows"), 160);
  EXPECT_NE(prediction.text, "");
  EXPECT_TRUE(read_bytes(path("p.tsv")).starts_with("row\t"));
  if (!GetParam().predicts_from_shots) {
    request.shots = file_;
    EXPECT_CONTAINS(message_of<InputError>([&] { predict(request); }), "--shots is for");
  }
}

// What a run says of its test rows is what `predict` says of them.
TEST_P(Jobs, PredictWhatTheRunPredicted) {
  if (GetParam().predicts_from_shots) return;  // its runs predict no rows
  ASSERT_TRUE(start_job(GetParam(), *job({{"test", file_}}), path("run")).finished);
  predict({.model = path("run"), .input = file_, .out = path("p.tsv"), .shots = {}, .read = {}});
  const Table own = read_table(path("run/predictions.tsv")), again = read_table(path("p.tsv"));
  ASSERT_EQ(own.rows(), again.rows());
  size_t shared = 0;
  for (size_t c = 0; c < own.columns(); ++c) {
    const std::optional<size_t> same = again.find_column(own.names()[c]);
    if (!same) continue;
    ++shared;
    for (size_t row = 0; row < own.rows(); ++row)
      ASSERT_EQ(own.cell(row, c), again.cell(row, *same)) << own.names()[c] << " of row " << row + 1;
  }
  EXPECT_EQ(shared + 2, own.columns()) << "all but file and line";
  EXPECT_EQ(shared + 1, again.columns()) << "all but row";
}

// Labels may hold what separates cells and rows; every table is read back.
TEST_P(Jobs, TablesHoldAnyLabel) {
  const auto odd = [](std::string name) {
    return name == "spam" ? "sp\ta\"m" : name == "ham" ? "h\nam" : name;
  };
  const Table rows = read_table(file_);
  std::string lines;
  for (size_t row = 0; row < rows.rows(); ++row) {
    lines += Json{{"class", odd(std::string(rows.cell(row, 0)))},
                  {"a", std::stod(std::string(rows.cell(row, 2)))},
                  {"b", std::stod(std::string(rows.cell(row, 3)))}}
                 .dump() +
             "\n";
  }
  const std::string file = folder_.write("odd.jsonl", lines);
  const std::unique_ptr<Job> made =
      job(GetParam().predicts_from_shots ? nlohmann::json::object() : nlohmann::json{{"test", file}});
  const Fields fields = fields_of(*made);
  fields.set(fields.list().front().name, file);
  if (fields.find("positive") != nullptr) fields.set("positive", odd("spam"));
  ASSERT_TRUE(start_job(GetParam(), *made, path("run")).finished);
  predict({.model = path("run"),
           .input = file,
           .out = path("run/p.tsv"),
           .shots = GetParam().predicts_from_shots ? file : "",
           .read = {}});
  for (const auto& entry : fs::directory_iterator(path("run"))) {
    if (entry.path().extension() != ".tsv") continue;
    const Table table = read_table(entry.path().string());
    EXPECT_TRUE(table.names().size() > 1) << entry.path();
    for (const char* column : {"label", "given_label"}) {
      const std::optional<size_t> found = table.find_column(column);
      if (!found || table.cell(0, *found) == "1") continue;  // of a job that numbers its classes
      EXPECT_EQ(table.cell(0, *found), odd("spam")) << entry.path();
    }
  }
}

TEST_P(Jobs, HaveAContest) {
  const std::unique_ptr<Contest> contest = contest_of(GetParam(), *job());
  const ContestFacts facts = contest->facts();
  EXPECT_EQ(facts.task, GetParam().name);
  EXPECT_NE(facts.metric.key, facts.tuning_metric.key) << "trials see nothing of what ranks";
  EXPECT_EQ(contest->default_steps(), 12);
  EXPECT_EQ(contest->files(), std::vector<std::string>{file_});
  const std::unique_ptr<Contest> again = make_contest(contest->to_json());
  EXPECT_EQ(again->to_json(), contest->to_json());
  for (const char* name : {"adambo", "soba"}) {
    SCOPED_TRACE(name);
    Json results[2];
    for (Contest* one : {contest.get(), again.get()}) {
      const Played played = play(*one, solver_registry().at(name), [&] { return one->solver(name); },
                                 {.seed = 5, .budget = {.steps = 4}});
      EXPECT_EQ(played.end.at("end"), "finished") << played.end;
      results[one == again.get()] = played.end.at("result");
      for (const Measure& measure : {facts.metric, facts.tuning_metric})
        EXPECT_TRUE(played.end.at("result").at(measure.key).is_number()) << measure.key;
    }
    EXPECT_EQ(results[0], results[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, Jobs, testing::ValuesIn(job_registry()),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace bilevel
