// The command-line program, run as a person runs it: arguments in; files, output and an exit code out.
#include <fmt/format.h>
#include <signal.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <set>

#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

bool is_in_path(const std::string& program) {
  const char* given = std::getenv("PATH");
  std::istringstream folders(given != nullptr ? given : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

// ---- data: the same rows in every format ----

struct Row {
  bool positive;
  std::string text;
  double a, b;
  std::string kind;
};

std::vector<Row> make_rows(size_t count, uint32_t seed = 1) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
  const auto pick = [&](const std::vector<std::string>& words) { return words[random() % words.size()]; };
  std::vector<Row> rows;
  for (size_t i = 0; i < count; ++i) {
    Row row{.positive = uniform() < 0.3, .text = {}, .a = 0, .b = 0, .kind = {}};
    for (int word = 0; word < 6; ++word) {
      const std::string chosen = uniform() < 0.6 ? pick({"the", "a", "of", "to", "and"})
                                 : row.positive  ? pick({"prize", "free", "cash", "offer", "home"})
                                                 : pick({"hello", "lunch", "home", "today", "train"});
      row.text += (word > 0 ? " " : "") + chosen;
    }
    row.a = std::round(1000 * (uniform() + (row.positive ? 0.4 : 0))) / 1000;
    row.b = std::round(1000 * uniform()) / 1000;
    row.kind = pick({"x", "y", "z"});
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string table_of(const std::vector<Row>& rows, char comma, bool with_label = true) {
  std::ostringstream table;
  table << (with_label ? std::string("class") + comma : "") << "text" << comma << "a" << comma << "b" << comma
        << "kind\n";
  for (const Row& row : rows) {
    if (with_label) table << (row.positive ? "spam" : "ham") << comma;
    table << row.text << comma << row.a << comma << row.b << comma << row.kind << "\n";
  }
  return table.str();
}

std::string jsonl_of(const std::vector<Row>& rows) {
  std::string lines;
  for (const Row& row : rows) {
    lines += Json{{"class", row.positive ? "spam" : "ham"},
                  {"text", row.text},
                  {"a", row.a},
                  {"b", row.b},
                  {"kind", row.kind}}
                 .dump() +
             "\n";
  }
  return lines;
}

std::string libsvm_of(const std::vector<Row>& rows, bool with_label = true) {
  std::ostringstream lines;
  for (const Row& row : rows)
    lines << (!with_label ? "" : row.positive ? "+1 " : "-1 ") << "1:" << row.a << " 3:" << row.b << "\n";
  return lines.str();
}

class CliTest : public ProgramTest {
 protected:
  /// The options for a file of make_rows.
  static Arguments text(const std::string& train) {
    return {"--train", train, "--text", "text", "--label", "class", "--positive", "spam"};
  }
  static Arguments columns(const std::string& train) {
    return {"--train", train, "--features", "a,b", "--label", "class", "--positive", "spam"};
  }
  /// `bilevel auc` with few steps and one thread unless `arguments` say otherwise.
  static Arguments auc_arguments(const Arguments& arguments, const std::string& out) {
    Arguments all = joined({"auc"}, arguments);
    const auto given = [&](const char* name) { return std::find(all.begin(), all.end(), name) != all.end(); };
    if (!given("--steps") && !given("--epochs") && !given("--max-seconds"))
      all = joined(all, {"--steps", "20"});
    if (!given("--threads")) all = joined(all, {"--threads", "1"});
    return joined(all, {"--out", out});
  }
  Outcome auc(const Arguments& arguments) const { return bilevel_program(auc_arguments(arguments, out())); }

  Json trained(const Arguments& arguments, const std::string& folder = "out") const {
    return succeeds(auc_arguments(arguments, path(folder)));
  }
  void refused(const Arguments& arguments, const std::vector<std::string>& parts) const {
    refuses(auc_arguments(arguments, out()), parts);
  }

  std::vector<Row> rows_ = make_rows(120);
};

// ---- help, version, list ----

TEST_F(CliTest, HelpVersionAndList) {
  const Outcome help = bilevel_program({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"auc", "predict", "list", "demo", "solve"}) EXPECT_CONTAINS(help.out, command);
  EXPECT_EQ(bilevel_program({}).out, help.out);
  EXPECT_EQ(bilevel_program({"help", "auc"}).out, bilevel_program({"auc", "--help"}).out);
  EXPECT_EQ(bilevel_program({"help", "nosuch"}).code, 2);
  const Outcome version = bilevel_program({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out.rfind("bilevel ", 0), 0U);
  const Outcome options = bilevel_program({"auc", "--help"});
  EXPECT_EQ(options.code, 0);
  for (const char* option :
       {"--train",      "--valid",    "--test",        "--text",       "--features",
        "--label",      "--positive", "--encoder",     "--hidden",     "--layers",
        "--embedding",  "--loss",     "--levels",      "--solver",     "--set",
        "--epochs",     "--steps",    "--max-seconds", "--batch-size", "--positive-fraction",
        "--split",      "--seed",     "--threads",     "--device",     "--out",
        "--resume",     "--json",     "--quiet",       "--no-refit",   "--format",
        "--categorical"}) {
    EXPECT_CONTAINS(options.out, option);
  }
  const Outcome all = bilevel_program({"list"});
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(all.out, bilevel_program({"list", "solvers"}).out + bilevel_program({"list", "encoders"}).out +
                         bilevel_program({"list", "jobs"}).out + bilevel_program({"list", "problems"}).out);
  for (const char* name : {"adambo",
                           "upper_step_size",
                           "lower_step_size",
                           "neumann_step_size",
                           "neumann_terms",
                           "warm_start_steps",
                           "momentum_weight",
                           "second_moment_weight",
                           "epsilon",
                           "lower_rule",
                           "lower_steps",
                           "order",
                           "samples",
                           "bag",
                           "linear",
                           "mlp",
                           "rnn",
                           "lstm",
                           "gru",
                           "transformer",
                           "auc"}) {
    EXPECT_CONTAINS(all.out, name);
  }
}

TEST_F(CliTest, TheFileOfTheProgramDoesTheSame) {
  const std::string printed = path("printed");
  ASSERT_EQ(std::system((std::string(BILEVEL_PROGRAM) + " list > " + printed).c_str()), 0);
  EXPECT_EQ(read_bytes(printed), bilevel_program({"list"}).out);
  EXPECT_EQ(WEXITSTATUS(std::system((std::string(BILEVEL_PROGRAM) + " auc 2> " + printed).c_str())), 2);
  EXPECT_EQ(read_bytes(printed), bilevel_program({"auc"}).err);
}

TEST_F(CliTest, WrongUsage) {
  for (const Arguments& arguments :
       {Arguments{"nonsense"}, {"list", "nonsense"}, {"auc", "--nonsense"}, {"auc"}, {"predict"}}) {
    const Outcome run = bilevel_program(arguments);
    EXPECT_EQ(run.code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_NE(run.err, "");
  }
  const Outcome unknown = bilevel_program({"list", "options", "nosuch"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_CONTAINS(unknown.err,
                  "there is no job or solver 'nosuch'; jobs: auc, clean, meta, mix, tune; solvers: accbo, ");
}

// ---- bad input ----

// What all jobs refuse alike: malformed_jobs_test.cpp.
TEST_F(CliTest, RefusesWhatGivesNoPositiveRows) {
  std::string good = "class,text\n";
  for (int i = 0; i < 10; ++i) good += "spam,x\nham,y\n";
  const auto refused_rows = [&](const std::string& rows, const std::string& positive,
                                const std::vector<std::string>& parts) {
    refused({"--train", folder_.write("a.csv", rows), "--text", "text", "--label", "class", "--positive",
             positive},
            parts);
  };
  refused_rows("class,text\nspam,x y\nspam,z\n", "spam",
               {"a.csv: all 2 rows have the positive label 'spam'"});
  refused_rows("class,text\nham,x y\nham,z\n", "spam",
               {"a.csv: no row has the positive label 'spam'", "'ham' (2 rows)"});
  refused_rows(good, "Spam", {"no row has the positive label 'Spam'"});
  refused_rows("class,text\nspam,x\nham,y\n", "spam", {"has only 1 row, too few for a split"});
  refused({"--train", folder_.write("a.csv", good), "--text", "text", "--label", "class"}, {"--positive"});
  refused({"--train", folder_.write("a.svm", libsvm_of(rows_)), "--positive", "1", "--text", "text"},
          {"no columns by name", "text"});
}

TEST_F(CliTest, RefusesImpossibleOptions) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const auto option = [&](const Arguments& more, const std::vector<std::string>& parts) {
    refused(text(train) + more, parts);
  };
  for (const char* name : {"--steps", "--epochs", "--max-seconds", "--batch-size"}) {
    std::string field = std::string(name).substr(2);
    std::replace(field.begin(), field.end(), '-', '_');
    for (const char* value : {"0", "-1", "abc"}) option({name, value}, {field + " = " + value + ": must be"});
  }
  option({"--loss", "magic"}, {"loss = magic", "libauc"});
  option({"--levels", "magic"}, {"levels = magic", "papers"});
  for (const char* value : {"nonsense", "0.5", "1,-1,1", "0.8,0.2,0", "0,0.5,0.5", "0.7,0.1,0.2,"})
    option({"--split", value}, {std::string("split = ") + value});
  for (const char* value : {"2", "-0.5", "1"})
    option({"--positive-fraction", value}, {std::string("positive_fraction = ") + value});
  option({"--set", "unknown=1"}, {"'unknown'", "upper_step_size"});
  option({"--header", "--no-header"}, {"--header or --no-header"});
  option({"--nonsense"}, {"--nonsense"});
  refused(columns(train) + Arguments{"--encoder", "bag"}, {"encoder = bag", "--text"});
  const Outcome cuda = auc(text(train) + Arguments{"--device", "cuda"});
  if (cuda.code != 0) {  // no device here
    EXPECT_EQ(cuda.code, 2);
    EXPECT_CONTAINS(cuda.err, "cuda");
    EXPECT_FALSE(fs::exists(out()));
  }
}

TEST_F(CliTest, TouchesNoFolderOfOthers) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  trained(columns(train));
  const auto before = files_in(path("."));
  const Outcome again = auc(columns(train));
  EXPECT_EQ(again.code, 2);
  EXPECT_CONTAINS(again.err, "holds another run; continue it with 'bilevel auc --resume");
  const Outcome other = bilevel_program(joined(joined({"auc"}, columns(train)), {"--out", path(".")}));
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "not an empty folder");
  const Outcome file = bilevel_program(joined(joined({"auc"}, columns(train)), {"--out", train}));
  EXPECT_EQ(file.code, 2);
  EXPECT_CONTAINS(file.err, "not an empty folder");
  EXPECT_EQ(files_in(path(".")), before);
}

TEST_F(CliTest, AFolderThatCannotBeMadeIsFileTrouble) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const Outcome run = bilevel_program(auc_arguments(columns(train), train + "/out"));
  EXPECT_EQ(run.code, 4) << run.err;
  EXPECT_CONTAINS(run.err, "a.csv/out");
}

// ---- success ----

TEST_F(CliTest, WritesEverythingThatIsPromised) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const Json summary = trained(text(train));
  for (const char* key :
       {"command", "solver", "encoder", "seed", "steps", "seconds", "training_seconds", "stop_reason",
        "best_step", "metrics", "oracle_calls", "samples", "peak_rss_bytes", "out"}) {
    EXPECT_TRUE(summary.contains(key)) << key;
  }
  for (const char* part : {"train", "valid", "test"}) {
    const Json& metrics = summary.at("metrics").at(part);
    EXPECT_GE(metrics.at("auc").get<double>(), 0.5) << part;
    EXPECT_LE(metrics.at("auc").get<double>(), 1) << part;
    EXPECT_GT(metrics.at("average_precision").get<double>(), 0) << part;
    EXPECT_TRUE(std::isfinite(metrics.at("loss").get<double>())) << part;
  }
  for (const char* kind : {"lower_gradient", "lower_joint_gradient", "upper_gradient", "hvp", "cross_vjp",
                           "upper_hvp", "upper_cross_vjp"}) {
    EXPECT_TRUE(summary.at("oracle_calls").at(kind).is_number_integer()) << kind;
    for (const char* purpose : {"warm_start", "automatic", "evaluation"})
      EXPECT_TRUE(summary.at("oracle_calls_apart").at(purpose).contains(kind)) << purpose;
  }
  EXPECT_EQ(summary.at("command"), "auc");
  EXPECT_EQ(summary.at("encoder"), "bag");
  EXPECT_EQ(summary.at("stop_reason"), "max_steps");
  EXPECT_EQ(summary.at("oracle_calls").at("upper_gradient"), summary.at("steps"));
  EXPECT_GT(summary.at("samples").at("upper").get<int64_t>(), 0);
  EXPECT_GT(summary.at("peak_rss_bytes").get<int64_t>(), 1 << 20);
  EXPECT_EQ(summary.at("out"), out());

  std::vector<std::string> names{"summary.json", "trace.jsonl",     "model.safetensors",
                                 "model.json",   "predictions.tsv", "report.html"};
  if (is_in_path("gnuplot")) names.insert(names.end(), {"loss.svg", "auc.svg", "roc.svg"});
  for (const std::string& name : names) EXPECT_GT(read_bytes(out() + "/" + name).size(), 0U) << name;
  EXPECT_EQ(Json::parse(read_bytes(out() + "/summary.json")), summary);

  // The predictions are the test rows: their lines, labels and scores agree with the file and the summary.
  const auto predictions = read_tsv(out() + "/predictions.tsv");
  ASSERT_EQ(predictions[0], (std::vector<std::string>{"file", "line", "label", "score", "predicted",
                                                      "p(spam)", "score_logistic_regression"}));
  double pairs = 0, right = 0;
  for (size_t i = 1; i < predictions.size(); ++i) {
    const Row& row = rows_[std::stoul(predictions[i][1]) - 2];
    EXPECT_EQ(predictions[i][2], row.positive ? "spam" : "ham");
    for (size_t j = 1; j < predictions.size(); ++j) {
      if (predictions[i][2] != "spam" || predictions[j][2] != "ham") continue;
      const double difference = std::stod(predictions[i][3]) - std::stod(predictions[j][3]);
      pairs += 1;
      right += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
    }
  }
  EXPECT_NEAR(right / pairs, summary.at("metrics").at("test").at("auc").get<double>(), 1e-6);

  const std::vector<Json> trace = trace_of(out());
  EXPECT_EQ(trace.front().at("phase"), "select");
  EXPECT_EQ(trace.back().at("phase"), "refit");
  EXPECT_EQ(trace.back().at("step"), summary.at("best_step"));
  const std::string report = read_bytes(out() + "/report.html");
  for (const char* part : {"<html", "logistic regression", "</html>"}) EXPECT_CONTAINS(report, part);
  EXPECT_EQ(report.find("src=\"http"), std::string::npos);
  EXPECT_EQ(report.find("href=\"http"), std::string::npos);
}

TEST_F(CliTest, SpeaksToAPersonOnlyWhenAsked) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const Outcome run = auc(columns(train));
  EXPECT_EQ(run.code, 0);
  EXPECT_CONTAINS(run.out, "test AUC ");
  const std::string few = "warning: few rows to judge by",
                    folds = "warning: the validation rows hold few of a class";
  EXPECT_CONTAINS(run.out, few);
  EXPECT_CONTAINS(run.out, folds);
  EXPECT_EQ(run.out.find("warning", run.out.find(folds) + 1), std::string::npos) << run.out;
  EXPECT_CONTAINS(run.out, "95 % score interval ");
  const std::string page = read_bytes(out() + "/report.html");
  EXPECT_CONTAINS(page, "score interval after Newcombe and DeLong");
  const auto numbers = decimals_of(run.out.substr(0, run.out.find("best-ranked")));
  EXPECT_GE(numbers.size(), 5U);  // the AUC with its interval, average precision, a baseline's AUC; verdicts
  for (const std::string& number : numbers) EXPECT_CONTAINS(page, number) << "rounded alike";
  EXPECT_CONTAINS(run.out, "report: " + out() + "/report.html");
  EXPECT_CONTAINS(run.err, "rows to train");
  EXPECT_CONTAINS(run.err, "\nauc 100 %");
  EXPECT_EQ(run.err.find(" %  "), run.err.rfind(" %  "))
      << "a short run has one line of progress: " << run.err;
  const Outcome quiet = bilevel_program(joined(auc_arguments(columns(train), path("quiet")), {"--quiet"}));
  EXPECT_EQ(quiet.code, 0);
  ASSERT_EQ(std::ranges::count(quiet.err, '\n'), 2) << quiet.err;
  EXPECT_TRUE(quiet.err.starts_with(few));
  EXPECT_CONTAINS(quiet.out, "test AUC ");
  EXPECT_CONTAINS(quiet.out, "report: " + path("quiet") + "/report.html");
  const Outcome json = bilevel_program(joined(auc_arguments(columns(train), path("json")), {"--json"}));
  EXPECT_EQ(json.code, 0);
  EXPECT_TRUE(Json::parse(json.out).is_object());
  EXPECT_CONTAINS(json.err, "auc 100 %");
}

TEST_F(CliTest, ForceReplacesARunOnceAllIsChecked) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  trained(columns(train));
  folder_.write("out/mark.svg", "of the old run");
  const Arguments again = auc_arguments(columns(train), out());
  const auto refused_beside = [&](const Arguments& arguments, const std::string& part) {
    const auto before = files_in(out());
    const Outcome run = bilevel_program(arguments);
    EXPECT_EQ(run.code, 2) << run.err;
    EXPECT_CONTAINS(run.err, part);
    EXPECT_EQ(files_in(out()), before);
  };
  refused_beside(again, "--force");
  refused_beside(joined(again, {"--split", "0.5,0.5", "--force"}), "split");
  refused_beside(joined(again, {"--set", "nonsense=1", "--force"}), "nonsense");
  refused_beside({"auc", "--resume", out(), "--force"}, "--force cannot be changed");
  refused_beside(joined({"auc"}, joined(columns(train), {"--force"})), "--out");
  EXPECT_EQ(bilevel_program(joined(again, {"--force", "--quiet"})).code, 0);
  EXPECT_FALSE(fs::exists(out() + "/mark.svg"));
  EXPECT_TRUE(fs::exists(out() + "/summary.json"));
  const std::string inside = folder_.write("out/cleaned.csv", table_of(rows_, ','));
  refused_beside(joined(auc_arguments(columns(inside), out()), {"--force"}), "is read from it");
}

// Twenty numbers a row that no other row has: the rows to train are told apart by these, and the offset of the scores by nothing.
TEST_F(CliTest, ScoresThatTheRefitHasShiftedAreTold) {
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  std::string rows;
  for (int i = 0; i < 300; ++i) {
    const bool positive = random() % 10 < 3;
    rows += fmt::format("{} 1:{:.3f}", positive ? "+1" : "-1", normal(random) + (positive ? 1.5 : 0));
    std::set<uint64_t> indices;
    while (indices.size() < 20) indices.insert(2 + random() % 2'000'000);
    for (const uint64_t index : indices) rows += fmt::format(" {}:{:.3f}", index, normal(random));
    rows += '\n';
  }
  const Arguments wide{"auc", "--train", folder_.write("wide.libsvm", rows), "--positive", "1", "--quiet"};
  const char* shifted = "the refit has shifted all scores";
  EXPECT_CONTAINS(bilevel_program(joined(wide, {"--out", out()})).out, shifted);
  EXPECT_EQ(bilevel_program(joined(wide, {"--out", path("once"), "--no-refit"})).out.find(shifted),
            std::string::npos);
}

TEST_F(CliTest, ScoresThatSaturateAreToldEverywhere) {
  const Arguments wild = joined(columns(folder_.write("a.csv", table_of(rows_, ','))),
                                {"--encoder", "fourier", "--l2", "0", "--set", "upper_step_size=1e6"});
  const Outcome run = auc(wild);
  ASSERT_EQ(run.code, 0) << run.err;
  const Json summary = Json::parse(read_bytes(out() + "/summary.json"));
  ASSERT_EQ(summary.at("warnings").size(), 3U) << summary.at("warnings");  // two of few rows
  const std::string warning = summary.at("warnings")[2].get<std::string>();
  EXPECT_CONTAINS(warning, "beyond +-0.999");
  EXPECT_CONTAINS(run.out, "warning: " + warning);
  EXPECT_CONTAINS(read_bytes(out() + "/report.html"), "the network saturates");
  const Outcome quiet =
      bilevel_program({"auc", "--options", out() + "/options.json", "--out", path("b"), "--quiet"});
  EXPECT_CONTAINS(quiet.out, "test AUC ");
  EXPECT_TRUE(quiet.err.ends_with("warning: " + warning + "\n")) << quiet.err;
}

TEST_F(CliTest, EveryFormatGivesTheSameModel) {
  const std::string model = [&] {
    trained(columns(folder_.write("a.csv", table_of(rows_, ','))), "csv");
    return read_bytes(path("csv/model.safetensors"));
  }();
  const auto same = [&](const std::string& train, const Arguments& more = {}) {
    const std::string name = fs::path(train).filename().string() + ".out";
    trained(joined(columns(train), more), name);
    EXPECT_EQ(read_bytes(path(name + "/model.safetensors")), model) << train;
  };
  same(folder_.write("a.tsv", table_of(rows_, '\t')));
  same(folder_.write("a.jsonl", jsonl_of(rows_)));
  same(folder_.write_gzip("a.csv.gz", table_of(rows_, ',')));
  same(folder_.write("a.dat", table_of(rows_, '\t')), {"--format", "tsv"});
  std::string bare = table_of(rows_, ',');
  bare = folder_.write("bare.csv", bare.substr(bare.find('\n') + 1));
  trained({"--train", bare, "--features", "3,4", "--label", "1", "--positive", "spam", "--no-header"},
          "bare");
  EXPECT_EQ(fs::file_size(path("bare/model.safetensors")), model.size());
  EXPECT_EQ(trace_of(path("bare")), trace_of(path("csv")));
}

TEST_F(CliTest, ReadsLibsvm) {
  const std::string train = folder_.write("a.svm", libsvm_of(rows_));
  trained({"--train", train, "--positive", "1"}, "one");
  trained({"--train", train, "--positive", "+1"}, "plus_one");
  trained({"--train", folder_.write_gzip("a.svm.gz", libsvm_of(rows_)), "--positive", "+1.0"}, "zipped");
  const std::string model = read_bytes(path("one/model.safetensors"));
  EXPECT_EQ(read_bytes(path("plus_one/model.safetensors")), model);
  EXPECT_EQ(read_bytes(path("zipped/model.safetensors")), model);
}

TEST_F(CliTest, MissingValuesAndCategories) {
  std::string table = "y,number,code,word\n";
  const char* missing[] = {"", "NA", "NaN", "null", "?"};
  for (size_t i = 0; i < rows_.size(); ++i) {
    table += std::string(rows_[i].positive ? "1" : "+0") + "," +
             (i % 7 == 0 ? missing[(i / 7) % 5] : std::to_string(rows_[i].a)) + "," +
             (i % 3 == 0   ? "12"
              : i % 3 == 1 ? "ab"
                           : "7") +
             "," + rows_[i].kind + "\n";
  }
  const std::string train = folder_.write("m.csv", table);
  const Arguments all{"--train", train, "--features", "all", "--label", "y", "--positive", "+1"};
  refused(all, {"column 'code'", "--categorical"});
  trained(joined(all, {"--categorical", "code"}));
  const std::string report = read_bytes(out() + "/report.html");
  EXPECT_CONTAINS(report, "missing");
  trained(joined(all, {"--categorical", "code", "--encoder", "mlp"}), "mlp");
}

TEST_F(CliTest, EveryEncoderRuns) {
  const std::string train = folder_.write("a.csv", table_of(make_rows(60), ','));
  std::string glove;
  for (const char* word : {"the", "prize", "free", "cash", "hello", "lunch"})
    glove += std::string(word) + " 0.1 -0.2 0." + std::to_string(glove.size()) + " 0.3\n";
  const Arguments plain{"--embedding", folder_.write("g.txt", glove)},
      zipped{"--embedding", folder_.write_gzip("g.txt.gz", glove), "--train-embedding"};
  const auto runs = [&](const std::string& encoder, const Arguments& more, const std::string& folder) {
    const Json summary =
        trained(text(train) +
                    Arguments{"--encoder", encoder, "--hidden", "8", "--layers", "1", "--steps", "2"} + more,
                folder);
    EXPECT_EQ(summary.at("encoder"), encoder);
  };
  for (const char* encoder : {"lstm", "gru"}) runs(encoder, {}, encoder);
  for (const std::string encoder : {"rnn", "transformer"}) {
    runs(encoder, plain, encoder + ".frozen");
    runs(encoder, zipped, encoder + ".trained");
    EXPECT_NE(read_bytes(path(encoder + ".frozen/model.safetensors")),
              read_bytes(path(encoder + ".trained/model.safetensors")));
  }
  trained(joined(columns(train), {"--encoder", "linear"}), "linear");
  trained(joined(columns(train), {"--encoder", "mlp", "--hidden", "4", "--layers", "2"}), "mlp");
}

TEST_F(CliTest, OtherFilesForValidationAndTest) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const std::string valid = folder_.write("v.jsonl", jsonl_of(make_rows(40, 2)));
  const std::vector<Row> others = make_rows(50, 3);
  const std::string test = folder_.write("t.tsv", table_of(others, '\t'));
  refused(joined(columns(train), {"--valid", valid, "--test", path("none.tsv")}), {"none.tsv"});
  refused(joined(columns(train), {"--test", test, "--split", "0.7,0.1,0.2"}),
          {"split", "--test gives a file"});
  trained(joined(columns(train), {"--valid", valid, "--test", test}));
  const auto predictions = read_tsv(out() + "/predictions.tsv");
  ASSERT_EQ(predictions.size(), 51U);
  EXPECT_EQ(predictions[1][0], test);
}

TEST_F(CliTest, ThinningLeavesTheTestRowsAlone) {
  const std::string train = folder_.write("a.csv", table_of(make_rows(300), ','));
  trained(columns(train), "whole");
  trained(joined(columns(train), {"--positive-fraction", "0.1"}), "thin");
  const auto rows = [&](const char* folder) {
    auto table = read_tsv(path(std::string(folder) + "/predictions.tsv"));
    for (auto& row : table) row.resize(3);  // file, line, label
    return table;
  };
  EXPECT_EQ(rows("whole"), rows("thin"));
  EXPECT_NE(read_bytes(path("whole/model.safetensors")), read_bytes(path("thin/model.safetensors")));
  const Outcome told =
      bilevel_program(auc_arguments(joined(columns(train), {"--positive-fraction", "0.1"}), path("told")));
  EXPECT_CONTAINS(told.err, "10.");  // about 10 % of the training rows
}

TEST_F(CliTest, LossesLevelsAndRefit) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  for (const char* loss : {"libauc", "ppd", "authors"})
    trained(joined(columns(train), {"--loss", loss}), loss);
  EXPECT_EQ(trace_of(path("libauc")).back().at("phase"), "refit");
  trained(joined(columns(train), {"--no-refit"}), "chosen");
  EXPECT_EQ(trace_of(path("chosen")).back().at("phase"), "select");
  trained(joined(columns(train), {"--levels", "papers"}), "papers");
  EXPECT_EQ(trace_of(path("papers")).back().at("phase"), "select");
  EXPECT_NE(read_bytes(path("chosen/model.safetensors")), read_bytes(path("papers/model.safetensors")));
  EXPECT_EQ(
      trained(joined(columns(train), {"--epochs", "2", "--batch-size", "16"}), "epochs").at("stop_reason"),
      "max_steps");
  const Json timed =
      trained(joined(columns(train), {"--max-seconds", "0.5", "--set", "upper_step_size=1e-3"}), "timed");
  EXPECT_TRUE(timed.at("metrics").at("test").contains("auc"));
}

TEST_F(CliTest, TheSeedDecidesEverything) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const auto run = [&](const char* folder, const char* seed) {
    trained(joined(text(train), {"--encoder", "gru", "--hidden", "4", "--steps", "6", "--seed", seed}),
            folder);
    return read_bytes(path(std::string(folder) + "/model.safetensors"));
  };
  const std::string first = run("a", "7");
  EXPECT_EQ(run("b", "7"), first);
  EXPECT_EQ(trace_of(path("a")), trace_of(path("b")));
  EXPECT_NE(run("c", "8"), first);
  EXPECT_NE(trace_of(path("a")), trace_of(path("c")));
}

// ---- predict ----

class PredictTest : public CliTest {
 protected:
  Outcome predict(const std::string& input, const Arguments& more = {}) const {
    return bilevel_program(
        joined({"predict", "--model", out(), "--input", input, "--out", path("scores.tsv")}, more));
  }

  /// The scores agree with predictions.tsv, whose lines start with `first_line` for row 1.
  void expect_scores_of_training(const std::string& input, size_t first_line, bool with_label) const {
    SCOPED_TRACE(input);
    const Outcome run = predict(input);
    ASSERT_EQ(run.code, 0) << run.err;
    const auto scores = read_tsv(path("scores.tsv"));
    ASSERT_EQ(scores.size(), rows_.size() + 1);
    ASSERT_EQ(scores[0].size(), with_label ? 5U : 4U);
    const auto predictions = read_tsv(out() + "/predictions.tsv");
    for (size_t i = 1; i < predictions.size(); ++i) {
      const auto& row = scores.at(std::stoul(predictions[i][1]) - first_line + 1);
      EXPECT_EQ(row[1], predictions[i][3]);
      EXPECT_EQ(row[2], predictions[i][4]);
      EXPECT_EQ(row[3], predictions[i][5]);
      if (with_label) {
        EXPECT_EQ(row[4], predictions[i][2]);
      }
    }
  }
};

TEST_F(PredictTest, RepeatsTheScoresOfTraining) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  trained(columns(train));
  expect_scores_of_training(train, 2, true);
  expect_scores_of_training(folder_.write("b.csv", table_of(rows_, ',', false)), 2, false);
  expect_scores_of_training(folder_.write("b.tsv", table_of(rows_, '\t')), 2, true);
  expect_scores_of_training(folder_.write("b.jsonl", jsonl_of(rows_)), 2, true);
  expect_scores_of_training(folder_.write_gzip("b.csv.gz", table_of(rows_, ',')), 2, true);
}

TEST_F(PredictTest, ReadsTextAndLibsvm) {
  const std::string train = folder_.write("a.tsv", table_of(rows_, '\t'));
  trained(text(train));
  expect_scores_of_training(train, 2, true);
  expect_scores_of_training(folder_.write("b.csv", table_of(rows_, ',', false)), 2, false);
  fs::remove_all(out());
  trained(joined(text(train), {"--encoder", "lstm", "--hidden", "4", "--steps", "4"}));
  expect_scores_of_training(train, 2, true);
  fs::remove_all(out());
  trained({"--train", folder_.write("a.svm", libsvm_of(rows_)), "--positive", "1"});
  expect_scores_of_training(path("a.svm"), 1, true);
  expect_scores_of_training(folder_.write("b.svm", libsvm_of(rows_, false)), 1, false);
}

TEST_F(PredictTest, RefusesWhatItCannotScore) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  trained(columns(train));
  const auto refused = [&](const Outcome& run, const std::string& part) {
    EXPECT_EQ(run.code, 2) << run.err;
    EXPECT_CONTAINS(run.err, part);
    EXPECT_FALSE(fs::exists(path("scores.tsv")));
  };
  refused(predict(folder_.write("b.csv", "a,c\n1,2\n")), "has no column 'b'");
  refused(predict(folder_.write("b.csv", "a,b\n1,2\n3,inf\n"), {"--strict"}), "b.csv:3:3: ");
  refused(predict(folder_.write("b.csv", "a,b\n1,2\n3,word\n"), {"--strict"}), "b.csv:3:3: ");
  refused(predict(train, {"--keep", "a,none"}), "has no column 'none'");
  refused(predict(folder_.write("b.svm", libsvm_of(rows_))), "b.svm");
  refused(predict(path("none.csv")), "none.csv: there is no such file");
  refused(
      bilevel_program({"predict", "--model", path("none"), "--input", train, "--out", path("scores.tsv")}),
      "there is no model");
  refused(bilevel_program({"predict", "--model", out(), "--input", train, "--out", "-", "--json"}),
          "--out -");
  EXPECT_FALSE(fs::exists("-"));
  const Outcome json = predict(train, {"--json"});
  EXPECT_EQ(json.code, 0);
  EXPECT_EQ(Json::parse(json.out).at("rows"), rows_.size());
  const Outcome loud = predict(train, {}), quiet = predict(train, {"--quiet"});
  EXPECT_EQ(quiet.out, loud.out);
  EXPECT_EQ(quiet.err, "");
}

TEST_F(PredictTest, WritesToStandardOutput) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  trained(columns(train));
  ASSERT_EQ(predict(train, {"--keep", "kind"}).code, 0);
  const Outcome run =
      bilevel_program({"predict", "--model", out(), "--input", train, "--keep", "kind", "--out", "-"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, read_bytes(path("scores.tsv")));
  EXPECT_CONTAINS(run.err, "120 rows, ");
  EXPECT_CONTAINS(run.err, "AUC on their labels");
  const std::string command = std::string(BILEVEL_PROGRAM) + " predict --model " + out() +
                              " --input - --keep kind --out - < " + train + " > " + path("piped.tsv") +
                              " 2> /dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_bytes(path("piped.tsv")), run.out);
}

// predicted and label are names: of both classes, or of the positive one and "not" it.
TEST_F(PredictTest, NamesClassesAndTellsTheirProbability) {
  rows_ = make_rows(600);
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const Json summary = trained(columns(train));
  EXPECT_EQ(summary.at("calibration"), Json::parse(read_bytes(out() + "/model.json")).at("calibration"));
  ASSERT_EQ(predict(folder_.write("new.csv", table_of(make_rows(2000, 5), ','))).code, 0);
  const auto table = read_tsv(path("scores.tsv"));
  std::map<std::string, int> names;
  double expected = 0, spam = 0;
  std::vector<std::pair<double, double>> pairs;
  for (size_t i = 1; i < table.size(); ++i) {
    ++names[table[i][2]];
    expected += std::stod(table[i][3]);
    spam += table[i][4] == "spam" ? 1 : 0;
    pairs.emplace_back(std::stod(table[i][1]), std::stod(table[i][3]));
  }
  EXPECT_EQ(names.size(), 2U);
  EXPECT_TRUE(names.contains("ham") && names.contains("spam"));
  EXPECT_NEAR(expected / 2000, spam / 2000, 0.1)
      << "two standard errors of the share among 72 validation rows";
  std::sort(pairs.begin(), pairs.end());
  EXPECT_TRUE(std::is_sorted(pairs.begin(), pairs.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; }));

  fs::remove_all(out());
  for (Row& row : rows_) row.kind = row.positive ? "spam" : row.kind;
  trained({"--train", folder_.write("a.csv", table_of(rows_, ',')), "--features", "a,b", "--label", "kind",
           "--positive", "spam"});
  ASSERT_EQ(predict(path("a.csv")).code, 0);
  names.clear();
  for (const auto& row : read_tsv(path("scores.tsv"))) ++names[row[2]];
  EXPECT_TRUE(names.contains("not spam") && names.contains("spam") && names.size() == 3) << "and the header";

  // A model of an earlier version.
  Json model = Json::parse(read_bytes(out() + "/model.json"));
  model.erase("calibration");
  model.erase("classes");
  folder_.write("out/model.json", model.dump());
  const Outcome old = predict(path("a.csv"));
  EXPECT_CONTAINS(old.err, "no column of probabilities");
  EXPECT_CONTAINS(old.out, "AUC on their labels");
  EXPECT_EQ(read_tsv(path("scores.tsv"))[0],
            (std::vector<std::string>{"row", "score", "predicted", "label"}));
}

// ---- numerical failure ----

TEST_F(CliTest, NonFiniteLossEndsTheRun) {
  const std::string train = folder_.write("a.csv", table_of(rows_, ','));
  const auto fails = [&](const Arguments& more, const std::string& folder) {
    const Outcome run = bilevel_program(
        joined(auc_arguments(joined(columns(train), more), path(folder)), {"--json", "--quiet"}));
    EXPECT_EQ(run.code, 3) << run.err;
    EXPECT_CONTAINS(run.err, "not finite");
    EXPECT_CONTAINS(run.err, "last good checkpoint is kept");
    const Json summary = Json::parse(run.out);
    EXPECT_EQ(summary.at("stop_reason"), "nonfinite");
    EXPECT_GT(fs::file_size(path(folder + "/parts/select/checkpoint.safetensors")), 0U);
    EXPECT_FALSE(fs::exists(path(folder + "/model.safetensors")));
    EXPECT_FALSE(fs::exists(path(folder + "/summary.json")));
    EXPECT_EQ(bilevel_program({"auc", "--resume", path(folder), "--quiet"}).code, 3);
  };
  fails({"--set", "upper_step_size=1e30"}, "upper");
  fails({"--set", "lower_step_size=1e30"}, "lower");
  fails({"--set", "upper_step_size=1e30", "--encoder", "mlp"}, "mlp");
}

// ---- resume ----

/// A run of some seconds in each of its two passes, and what it gives when nothing disturbs it. Disturbances come
/// when the trace has grown to a share of the undisturbed one: at the same place whatever the machine's speed.
class ResumeTest : public CliTest {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    const std::string train = shared_->write("a.csv", table_of(make_rows(400), ','));
    base_ = joined(columns(train), {"--quiet"});
    const Outcome trial = bilevel_program(auc_arguments(with_steps(400), shared_->path("trial")));
    ASSERT_EQ(trial.code, 0) << trial.err;
    const Json summary = Json::parse(read_bytes(shared_->path("trial/summary.json")));
    const double steps_per_second =
        summary.at("steps").get<double>() / summary.at("training_seconds").get<double>();
    // A pass of 5 seconds is longer than the time between two checkpoints; nothing below depends on it.
    steps_ = static_cast<int>(std::clamp(5 * steps_per_second, 1000.0, 20000.0));
    const Outcome whole = bilevel_program(auc_arguments(with_steps(steps_), whole_folder()));
    ASSERT_EQ(whole.code, 0) << whole.err;
    const std::string trace = read_bytes(whole_folder() + "/trace.jsonl");
    refit_begins_ = static_cast<double>(trace.find("{\"phase\":\"refit\""));
    trace_ends_ = static_cast<double>(trace.size());
    // A trace is written in pieces of 64 KiB.
    ASSERT_GT(refit_begins_, 5 << 16);
    ASSERT_GT(trace_ends_ - refit_begins_, 5 << 16);
  }
  static void TearDownTestSuite() { shared_.reset(); }

  static std::string whole_folder() { return shared_->path("whole"); }
  static Arguments with_steps(int steps) { return joined(base_, {"--steps", std::to_string(steps)}); }
  Arguments begin() const { return auc_arguments(with_steps(steps_), out()); }
  Arguments resume() const { return {"auc", "--resume", out(), "--quiet"}; }

  std::string part(const std::string& pass) const { return out() + "/parts/" + pass; }
  std::string checkpoint() const { return part("select") + "/checkpoint.safetensors"; }
  bool wait_for_checkpoint(Process& process) const {
    return process.wait_until([&] { return fs::exists(checkpoint()); });
  }

  /// Waits until the pass's trace holds this share of it (what an earlier process left there counts).
  bool wait_for_share(Process& process, const char* pass, double share) const {
    const bool select = std::string(pass) == "select";
    const double begins = select ? 0 : refit_begins_, ends = select ? refit_begins_ : trace_ends_;
    return process.wait_until([&] {
      std::error_code none_yet;
      const auto size = fs::file_size(part(pass) + "/trace.jsonl", none_yet);
      return !none_yet && static_cast<double>(size) >= share * (ends - begins);
    });
  }

  void expect_the_undisturbed_result() const {
    EXPECT_EQ(read_bytes(out() + "/model.safetensors"), read_bytes(whole_folder() + "/model.safetensors"));
    EXPECT_EQ(read_bytes(out() + "/predictions.tsv"), read_bytes(whole_folder() + "/predictions.tsv"));
    EXPECT_EQ(trace_of(out()), trace_of(whole_folder()));
    const auto summary = [](const std::string& folder) {
      return without_clock(Json::parse(read_bytes(folder + "/summary.json")), {"oracle_calls_apart"});
    };
    EXPECT_EQ(summary(out()), summary(whole_folder()));
    for (const auto& entry : fs::directory_iterator(out()))
      EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }

  static inline std::unique_ptr<TemporaryFolder> shared_;
  static inline Arguments base_;
  static inline int steps_ = 0;
  static inline double refit_begins_ = 0, trace_ends_ = 0;  // bytes of the undisturbed trace
};

TEST_F(ResumeTest, AKilledRunEndsInTheSameBytes) {
  std::mt19937 random(20);
  const auto between = [&](double least, double most) {
    return least + (most - least) * static_cast<double>(random()) / 4294967296.0;
  };
  const auto start_or_resume = [&] { return fs::exists(out() + "/options.json") ? resume() : begin(); };
  for (int i = 0; i < 3; ++i) {  // while it starts: much earlier than a run can end
    Process process(start_or_resume());
    std::this_thread::sleep_for(std::chrono::duration<double>(between(0.02, 0.6)));
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().code, -SIGKILL);
  }
  for (const char* pass :
       {"select", "refit"}) {  // before and after the first of the pass's later checkpoints
    for (const auto& [least, most] : {std::pair(0.1, 0.3), std::pair(0.85, 0.95)}) {
      const double share = between(least, most);
      SCOPED_TRACE(std::string(pass) + " " + std::to_string(share));
      Process process(start_or_resume());
      EXPECT_TRUE(wait_for_share(process, pass, share));
      process.send(SIGKILL);
      EXPECT_EQ(process.wait().code, -SIGKILL);
    }
  }
  const Outcome last = bilevel_program(start_or_resume());
  EXPECT_EQ(last.code, 0) << last.err;
  expect_the_undisturbed_result();
}

TEST_F(ResumeTest, AnInterruptedRunEndsInTheSameBytes) {
  Process first(begin());
  ASSERT_TRUE(wait_for_share(first, "select", 0.1));
  first.send(SIGINT);
  const Outcome in_select = first.wait();
  EXPECT_EQ(in_select.code, 130) << in_select.err;
  EXPECT_CONTAINS(in_select.err, "bilevel auc --resume " + out());
  EXPECT_FALSE(fs::exists(out() + "/summary.json"));

  Process second(resume());
  ASSERT_TRUE(wait_for_share(second, "refit", 0.1));
  second.send(SIGINT);
  const Outcome in_refit = second.wait();
  EXPECT_EQ(in_refit.code, 130) << in_refit.err;
  EXPECT_CONTAINS(in_refit.err, "bilevel auc --resume " + out());
  EXPECT_FALSE(fs::exists(out() + "/summary.json"));
  EXPECT_FALSE(fs::exists(out() + "/model.safetensors"));

  const Outcome last = bilevel_program(resume());
  EXPECT_EQ(last.code, 0) << last.err;
  expect_the_undisturbed_result();
}

TEST_F(ResumeTest, TheLockDiesWithItsProcess) {
  const Arguments endless = auc_arguments(with_steps(1000000000), out());
  Process first(endless);
  ASSERT_TRUE(wait_for_checkpoint(first));
  for (const Arguments& arguments : {resume(), endless}) {
    const Outcome refused = bilevel_program(arguments);
    EXPECT_EQ(refused.code, 2) << refused.err;
    EXPECT_CONTAINS(refused.err, out());
  }
  EXPECT_CONTAINS(bilevel_program(resume()).err, "another process");
  first.send(SIGKILL);
  EXPECT_EQ(first.wait().code, -SIGKILL);
  const auto left = fs::last_write_time(checkpoint());
  Process second(resume());
  ASSERT_TRUE(second.wait_until([&] { return fs::last_write_time(checkpoint()) != left; }));
  second.send(SIGINT);
  EXPECT_EQ(second.wait().code, 130);
}

TEST_F(ResumeTest, AFinishedRunIsDone) {
  const auto before = files_in(whole_folder());
  const Outcome run = bilevel_program({"auc", "--resume", whole_folder(), "--json"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out), Json::parse(read_bytes(whole_folder() + "/summary.json")));
  EXPECT_EQ(files_in(whole_folder()), before);
}

TEST_F(ResumeTest, RefusesWhatCannotBeContinued) {
  const Outcome none = bilevel_program({"auc", "--resume", path("none")});
  EXPECT_EQ(none.code, 2);
  EXPECT_CONTAINS(none.err, "no run to resume");
  EXPECT_FALSE(fs::exists(path("none")));
  fs::create_directory(path("empty"));
  EXPECT_EQ(bilevel_program({"auc", "--resume", path("empty")}).code, 2);
  EXPECT_TRUE(fs::is_empty(path("empty")));
  const Outcome other = bilevel_program({"auc", "--resume", whole_folder(), "--steps", "5"});
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "--steps cannot be changed");

  // A run whose file changes meanwhile.
  const std::string train = folder_.write("c.csv", table_of(make_rows(400), ','));
  Process process(auc_arguments(joined(columns(train), {"--steps", "1000000000", "--quiet"}), out()));
  ASSERT_TRUE(wait_for_checkpoint(process));
  process.send(SIGINT);
  EXPECT_EQ(process.wait().code, 130);
  const auto before = files_in(out());
  folder_.write("c.csv", table_of(make_rows(400, 9), ','));
  const Outcome changed = bilevel_program(resume());
  EXPECT_EQ(changed.code, 2);
  EXPECT_CONTAINS(changed.err, "changed");
  EXPECT_EQ(files_in(out()), before);
}

}  // namespace
}  // namespace bilevel
