// What every job must do, whatever it trains: taken from the registry, run in this process.
#include "tests/jobs.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <regex>
#include <set>
#include <sstream>

#include "bilevel/core/safetensors.h"
#include "bilevel/core/workers.h"
#include "bilevel/data/table.h"
#include "bilevel/report/options_table.h"
#include "bilevel/task/compare/play.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<std::string> lines_in(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class Jobs : public AllJobs {
 protected:
  Jobs() {
    file_ = folder_.write("rows.csv", rows_of_eight_classes());
    trusted_ = folder_.write("trusted.csv", rows_of_eight_classes(48, 0.003));
  }

  std::unique_ptr<Job> job(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json options{
        {"features", "a,b"}, {"label", "class"}, {"steps", 12}, {"threads", 1}, {"seed", 3}};
    const char* encoder = std::getenv("BILEVEL_TEST_ENCODER");
    if (encoder != nullptr && (!GetParam().linear || encoder_registry().at(encoder).linear))
      options["encoder"] = encoder;
    options.update(more);
    return job_on(file_, options);
  }

  /// With a pass: `clean` learns from trusted rows only.
  std::unique_ptr<Job> learning_job() const {
    return GetParam().name == "clean" ? job({{"trusted", trusted_}, {"learn", true}}) : job();
  }

  Json options_in(const std::string& out) const {
    return Json::parse(read_bytes(path(out + "/options.json"))).at("options");
  }
  static std::string bytes(const std::string& folder) {
    return read_bytes(folder + "/model.safetensors") + read_bytes(folder + "/model.json");
  }

  std::string file_, trusted_;
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
                                             {"training_seconds", &Json::is_number},
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

std::vector<JobEntry> jobs_in_parts() {
  std::vector<JobEntry> found;
  for (const JobEntry& entry : job_registry()) {
    if (entry.in_parts) found.push_back(entry);
  }
  return found;
}

/// Jobs whose parts are made by several processes. They come first: where autograd has run no copy can be made.
class SideBySide : public Jobs {
 protected:
  static Json shown(const JobResult& result) {
    return {{"finished", result.finished}, {"reason", name_of(result.reason)}, {"message", result.message}};
  }
  Json start(const std::string& out, const nlohmann::json& more, int64_t jobs,
             const JobCallbacks& callbacks = {}) const {
    nlohmann::json options = parts_of(GetParam().name);
    options.update(more);
    return in_a_copy([&] { return shown(start_job(GetParam(), *job(options), path(out), callbacks, jobs)); });
  }
  Json resume(const std::string& out, int64_t jobs) const {
    return in_a_copy([&] { return shown(resume_job(GetParam(), path(out), {}, jobs)); });
  }
  /// What `body` returns in a copy of this process.
  static Json in_a_copy(const std::function<Json()>& body) {
    Workers copy(1, [&](const Json&) { return body(); });
    copy.start(0, "a copy of the test", {});
    return copy.next()->result;
  }

  /// The files of a folder without the times in them.
  std::map<std::string, std::string> files(const std::string& out) const {
    std::map<std::string, std::string> found;
    for (const auto& [name, content] : files_in(path(out)))
      found[fs::relative(name, path(out))] = timeless(name, content, path(out));
    return found;
  }
  void expect_same_files(const std::string& found, const std::string& expected) const {
    const auto one = files(found), other = files(expected);
    for (const auto& [name, content] : other) {
      ASSERT_TRUE(one.contains(name)) << name;
      EXPECT_TRUE(one.at(name) == content) << name;
    }
    EXPECT_EQ(one.size(), other.size());
  }

 private:
  static std::string timeless(const std::string& name, const std::string& content, const std::string& out) {
    const std::string file = fs::path(name).filename();
    if (file == "checkpoint.safetensors") {
      auto [tensors, metadata] = load_safetensors(name);
      for (const char* clock : {"seconds", "task/earlier_seconds", "task/run_seconds", "task/trace_bytes"})
        tensors.erase(clock);
      std::string all = Json(metadata).dump();
      for (const auto& [key, tensor] : tensors)
        all += key + std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
      return all;
    }
    std::string rest =
        std::regex_replace(content, std::regex(R"(("(?:training_)?seconds": ?)[-+.e0-9]+)"), "$1");
    rest = std::regex_replace(rest, std::regex(R"(("peak_rss_bytes": ?)[0-9]+)"), "$1");
    rest = std::regex_replace(rest, std::regex(R"([0-9]+(\.[0-9]+)? s\b)"), "s");
    rest = std::regex_replace(rest, std::regex(R"([0-9]+ MiB)"), "MiB");
    rest = std::regex_replace(rest, std::regex(R"([0-9-]+ [0-9:]+ UTC)"), "UTC");
    rest = std::regex_replace(
        rest, std::regex(R"((<code>(seconds|training_seconds|peak_rss_bytes)</code></th><td[^>]*>)[^<]*)"),
        "$1");
    for (size_t at = rest.find(out); at != std::string::npos; at = rest.find(out)) rest.erase(at, out.size());
    return rest;
  }
};

TEST_P(SideBySide, GiveTheSameFiles) {
  for (const nlohmann::json& more :
       {nlohmann::json::object(), nlohmann::json{{"encoder", "mlp"}, {"hidden", 4}}}) {
    SCOPED_TRACE(more.dump());
    if (!more.empty() && GetParam().linear) continue;
    const std::string name = more.empty() ? "plain" : "deep";
    const Json one = start(name + "-1", more, 1), several = start(name + "-3", more, 3);
    EXPECT_EQ(one.at("finished"), true) << one;
    EXPECT_EQ(one, several);
    expect_same_files(name + "-3", name + "-1");
  }
}

/// What is told of a run's progress: shares from 0 to nearly 1, over several phases.
void expect_whole(const std::vector<JobProgress>& seen) {
  ASSERT_GE(seen.size(), 3U);
  EXPECT_EQ(seen.front().share, 0);
  EXPECT_GE(seen.back().share, 0.75);
  std::set<std::string> phases;
  for (const JobProgress& now : seen) {
    EXPECT_GE(now.share, 0);
    EXPECT_LE(now.share, 1 + 1e-9);
    EXPECT_EQ(now.earlier, 0);
    phases.insert(now.phase);
  }
  EXPECT_GE(phases.size(), 3U) << "training, something else, and the report";
}

TEST_P(SideBySide, TellHowFarTheWholeIs) {
  for (const int64_t jobs : {1, 2}) {
    const Json told = in_a_copy([&]() -> Json {
      Json all = Json::array();
      const auto tell = [&](const JobProgress& now) {
        all.push_back({now.phase, now.share, now.earlier, now.step});
      };
      start_job(GetParam(), *job(parts_of(GetParam().name)), path("told-" + std::to_string(jobs)),
                {.progress = tell}, jobs);
      return all;
    });
    std::vector<JobProgress> seen;
    for (const Json& now : told)
      seen.push_back({.phase = now[0], .share = now[1], .earlier = now[2], .step = now[3]});
    expect_whole(seen);
  }
}

TEST_P(SideBySide, InterruptedAndResumedAreUninterrupted) {
  ASSERT_EQ(start("whole", nlohmann::json::object(), 1).at("finished"), true);
  for (const int64_t jobs : {1, 2}) {
    const std::string out = "cut-" + std::to_string(jobs);
    std::atomic<bool> interrupt{false};
    const Json cut = start(out, nlohmann::json::object(), jobs,
                           {.progress = [&](const JobProgress& p) { interrupt = interrupt || p.share > 0; },
                            .interrupt = &interrupt});
    EXPECT_EQ(cut.at("reason"), "interrupted") << cut;
    EXPECT_FALSE(fs::exists(path(out + "/summary.json")));
    EXPECT_EQ(resume(out, 3 - jobs).at("finished"), true);
    expect_same_files(out, "whole");
  }
}

TEST_P(SideBySide, AWorkerThatIsKilledIsNamedAndResumed) {
  ASSERT_EQ(start("whole", nlohmann::json::object(), 1).at("finished"), true);
  const Json killed = in_a_copy([&]() -> Json {
    const auto kill_all = [](const JobProgress& p) {
      if (p.share == 0) return;
      for (const pid_t child : children_of(::getpid())) ::kill(child, SIGKILL);
    };
    nlohmann::json options = parts_of(GetParam().name);
    return message_of<WorkerError>(
        [&] { start_job(GetParam(), *job(options), path("cut"), {.progress = kill_all}, 2); });
  });
  EXPECT_CONTAINS(killed.get<std::string>(), ": its process was ended by signal 9");
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  EXPECT_EQ(resume("cut", 2).at("finished"), true);
  expect_same_files("cut", "whole");
}

TEST_P(SideBySide, RefuseAnImpossibleNumber) {
  for (const int64_t jobs : {0, 1001}) {
    const std::string refusal = in_a_copy([&] {
      return message_of<InputError>([&] { start_job(GetParam(), *job(), path("out"), {}, jobs); });
    });
    EXPECT_CONTAINS(refusal, jobs == 0 ? "jobs = 0: must be >= 1" : "jobs = 1001: must be <= 1000");
    EXPECT_FALSE(fs::exists(path("out")));
  }
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
  EXPECT_CONTAINS(refusal("encoder", "cnn"), "encoder = cnn: must be one of auto, bag");
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
  EXPECT_TRUE(whole.summary.at("metrics").at("test").is_object() || GetParam().name == "clean" ||
              GetParam().name == "mix")
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
  ASSERT_TRUE(start_job(GetParam(), *learning_job(), path("whole")).finished);
  std::atomic<bool> interrupt{false};
  const JobResult cut =
      start_job(GetParam(), *learning_job(), path("cut"),
                {.progress = [&](const JobProgress& p) { interrupt = interrupt || p.step >= 5; },
                 .interrupt = &interrupt});
  EXPECT_FALSE(cut.finished);
  EXPECT_EQ(cut.reason, StopReason::interrupted);
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  const JobResult rest = resume_job(GetParam(), path("cut"));
  ASSERT_TRUE(rest.finished) << rest.message;
  EXPECT_TRUE(bytes(path("cut")) == bytes(path("whole")));
  int checkpoints = 0;
  for (const auto& [file, unused] : files_in(path("whole"))) {
    if (fs::path(file).filename() != "checkpoint.safetensors") continue;
    ++checkpoints;
    auto [expected, of_expected] = load_safetensors(file);
    auto [resumed, of_resumed] = load_safetensors(path("cut/" + fs::relative(file, path("whole")).string()));
    EXPECT_EQ(of_resumed, of_expected);
    ASSERT_EQ(resumed.size(), expected.size());
    for (const auto& [name, tensor] : expected) {
      // Clock readings, and where the trace ends that is full of them.
      if (name.ends_with("seconds") || name == "task/trace_bytes") continue;
      ASSERT_TRUE(resumed.contains(name)) << name;
      ASSERT_EQ(resumed.at(name).sizes(), tensor.sizes()) << name;
      EXPECT_EQ(std::memcmp(resumed.at(name).data_ptr(), tensor.data_ptr(), tensor.nbytes()), 0) << name;
    }
  }
  EXPECT_GT(checkpoints, 0);
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
  const std::string rows = read_bytes(file_), model = bytes(path("run"));
  fs::create_hard_link(file_, path("other_name"));
  for (const std::string& out :
       {file_, path("other_name"), path("run/model.safetensors"), path("run/summary.json")}) {
    PredictRequest over = request;
    over.out = out;
    EXPECT_CONTAINS(message_of<InputError>([&] { predict(over); }), "would be overwritten");
  }
  EXPECT_EQ(read_bytes(file_), rows);
  EXPECT_TRUE(bytes(path("run")) == model);
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
  size_t shared = 0, of_baselines = 0;
  for (size_t c = 0; c < own.columns(); ++c) {
    of_baselines += own.names()[c].starts_with("score_") || own.names()[c].starts_with("p_") ? 1 : 0;
    const std::optional<size_t> same = again.find_column(own.names()[c]);
    if (!same) continue;
    ++shared;
    for (size_t row = 0; row < own.rows(); ++row)
      ASSERT_EQ(own.cell(row, c), again.cell(row, *same)) << own.names()[c] << " of row " << row + 1;
  }
  EXPECT_EQ(shared + of_baselines + 2, own.columns()) << "all but file and line, and what baselines say";
  EXPECT_EQ(shared + 1, again.columns()) << "all but row";
}

// A bad cell is a missing value, and a row without a known label has none; all other rows are what they are without them.
TEST_P(Jobs, PredictEveryRow) {
  ASSERT_TRUE(start_job(GetParam(), *job(), path("run")).finished);
  const std::string shots = GetParam().predicts_from_shots ? file_ : "";
  const auto predicted = [&](const std::string& input, bool strict = false) {
    return predict({.model = path("run"),
                    .input = input,
                    .out = path("p.tsv"),
                    .shots = shots,
                    .read = {},
                    .strict = strict});
  };
  std::vector<std::string> lines = lines_in(rows_of_eight_classes());  // the header, and row i at i
  const auto file_of = [&](const std::string& name) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return folder_.write(name, text);
  };
  predicted(file_);
  const Table whole = read_table(path("p.tsv"));
  const auto with = [&](size_t row, const std::string& pattern, const std::string& text) {
    lines[row] =
        std::regex_replace(lines[row], std::regex(pattern), text, std::regex_constants::format_first_only);
  };
  with(7, ",[-0-9.]+,", ",word,");
  with(9, ",[-0-9.]+$", ",inf");
  const std::string cells = file_of("cells.csv");
  with(3, "^[a-z]+", "");
  with(5, "^[a-z]+", "eggs");
  const std::string labels = file_of("labels.csv");
  const Prediction found = predicted(labels);
  const Table table = read_table(path("p.tsv"));
  ASSERT_EQ(table.rows(), 160U);
  ASSERT_EQ(table.names(), whole.names());
  for (size_t row = 0; row < 160; ++row) {
    for (size_t c = 0; c < table.columns(); ++c) {
      const bool no_label = table.names()[c] == "label" && (row == 2 || row == 4);
      if (row != 6 && row != 8) {
        EXPECT_EQ(table.cell(row, c), no_label ? "" : whole.cell(row, c)) << row;
      }
    }
  }
  const Json& summary = found.summary;
  EXPECT_EQ(summary.at("labelled"), 158);
  EXPECT_EQ(summary.at("unknown_labels"), Json({{"eggs", 1}}));
  EXPECT_EQ(summary.at("cells_taken_as_missing"), Json({{"a", 1}, {"b", 1}}));
  EXPECT_EQ(
      summary.at("warnings").at(0),
      "1 row has no label and 1 row has a label that the model does not know ('eggs'); such rows count in no "
      "figure; cells that the model cannot read were taken as missing: 1 in column 'a' ('word' on line 8), 1 "
      "in column 'b' ('inf' on line 10)");

  EXPECT_CONTAINS(message_of<InputError>([&] { predicted(labels, true); }), ":4:");
  EXPECT_CONTAINS(message_of<InputError>([&] { predicted(cells, true); }), ":8:");
  lines.erase(lines.begin() + 5);
  lines.erase(lines.begin() + 3);
  const Json rest = predicted(file_of("rest.csv")).summary;
  for (const char* figure : {"auc", "accuracy", "loss"}) {
    ASSERT_EQ(rest.contains(figure), summary.contains(figure));
    if (rest.contains(figure)) {
      EXPECT_NEAR(rest.at(figure).get<double>(), summary.at(figure).get<double>(), 1e-12) << figure;
    }
  }
}

TEST_P(Jobs, PredictBesideTheColumnsToKeep) {
  ASSERT_TRUE(start_job(GetParam(), *job(), path("run")).finished);
  const std::string shots = GetParam().predicts_from_shots ? file_ : "";
  const std::string input = folder_.write(
      "i.csv", "row,a,b,class,label,input:label,predicted\n7,1,word,spam,x,y,z\n8,-1,0.5,ham,\"t\tt\",,\n");
  const auto kept = [&](const std::vector<std::string>& keep) {
    const Prediction found = predict({.model = path("run"),
                                      .input = input,
                                      .out = kStandardOutput,
                                      .shots = shots,
                                      .read = {},
                                      .keep = keep});
    return read_table(folder_.write("kept.tsv", found.table));
  };
  const std::vector<std::string> ours = kept({}).names();
  EXPECT_EQ(ours.front(), "row");
  const auto names = [&](std::vector<std::string> first) {
    first.insert(first.end(), ours.begin(), ours.end());
    return first;
  };
  const Table some = kept({"b", "2", "b"});
  EXPECT_EQ(some.names(), names({"b", "a"}));
  EXPECT_EQ(some.cell(0, 0), "word") << "as the file has it";
  const Table all = kept({"all"});
  EXPECT_EQ(all.names(),
            names({"input:row", "a", "b", "class", "input:input:label", "input:label", "input:predicted"}));
  const Table file = read_table(input);
  for (size_t row = 0; row < 2; ++row) {
    for (size_t c = 0; c < file.columns(); ++c) EXPECT_EQ(all.cell(row, c), file.cell(row, c));
  }
  EXPECT_CONTAINS(message_of<InputError>([&] { kept({"z"}); }), "has no column 'z'");
}

// Labels may hold what separates cells and rows; every table is read back.
TEST_P(Jobs, TablesHoldAnyLabel) {
  const auto odd = [](std::string name) {
    return name == "spam" ? "sp\ta\"m" : name == "ham" ? "h\nam" : name;
  };
  const Table rows = read_table(file_);
  std::string lines;
  std::set<std::string> labels;
  for (size_t row = 0; row < rows.rows(); ++row) {
    labels.insert(odd(std::string(rows.cell(row, 0))));
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
  if (fields.find("sources") != nullptr) fields.set("sources", {file});
  if (fields.find("positive") != nullptr) fields.set("positive", odd("spam"));
  ASSERT_TRUE(start_job(GetParam(), *made, path("run")).finished);
  predict({.model = path("run"),
           .input = file,
           .out = path("run/p.tsv"),
           .shots = GetParam().predicts_from_shots ? file : "",
           .read = {}});
  for (const auto& entry : fs::directory_iterator(path("run"))) {
    if (entry.path().extension() != ".tsv") continue;
    if (lines_in(read_bytes(entry.path().string())).size() < 2) continue;  // nothing is suspicious
    const Table table = read_table(entry.path().string());
    EXPECT_TRUE(table.names().size() > 1) << entry.path();
    for (const char* column : {"label", "given_label"}) {
      const std::optional<size_t> found = table.find_column(column);
      if (!found) continue;
      EXPECT_TRUE(labels.contains(std::string(table.cell(0, *found)))) << entry.path();
    }
  }
}

TEST_P(Jobs, HaveAContest) {
  const std::unique_ptr<Contest> contest = contest_of(GetParam(), *learning_job());
  const ContestFacts facts = contest->facts();
  EXPECT_EQ(facts.task, GetParam().name);
  EXPECT_NE(facts.metric.key, facts.tuning_metric.key) << "trials see nothing of what ranks";
  EXPECT_EQ(contest->default_steps(), 12);
  EXPECT_EQ(contest->files().front(), file_);
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

INSTANTIATE_TEST_SUITE_P(Registry, SideBySide, testing::ValuesIn(jobs_in_parts()),
                         [](const auto& entry) { return entry.param.name; });
INSTANTIATE_TEST_SUITE_P(Registry, Jobs, testing::ValuesIn(job_registry()),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace bilevel
