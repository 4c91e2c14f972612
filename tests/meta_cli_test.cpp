// `bilevel meta` and `bilevel predict --shots`, run as a person runs them.
#include <signal.h>

#include <random>
#include <sstream>

#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
/// A text of class c, which mixes two of six themes, so that a class never seen has words that are known.
std::string text_of(int c, std::mt19937& random) {
  static const std::vector<std::pair<int, int>> themes{{0, 1}, {2, 3}, {4, 5}, {0, 2}, {1, 3}, {2, 4},
                                                       {3, 5}, {0, 4}, {1, 5}, {0, 3}, {1, 4}, {2, 5}};
  const auto [first, second] = themes.at(static_cast<size_t>(c));
  std::string text;
  for (int word = 0; word < 6; ++word) {
    const bool own = word % 2 == 0;
    const int theme = random() % 2 == 0 ? first : second;
    text += (word > 0 ? " " : "") + (own ? "t" + std::to_string(theme) + "w" + std::to_string(random() % 4)
                                         : "w" + std::to_string(random() % 20));
  }
  return text;
}

/// Columns label and text: `classes` classes of `rows` rows.
std::string topics(int classes, int rows, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string table = "label\ttext\n";
  for (int i = 0; i < rows; ++i) {
    for (int c = 0; c < classes; ++c) table += std::to_string(c) + "\t" + text_of(c, random) + "\n";
  }
  return table;
}

/// Columns domain, label and text: good and bad reviews of `domains` products.
std::string reviews(int domains, int rows) {
  std::mt19937 random(2);
  std::string table = "domain\tlabel\ttext\n";
  for (int i = 0; i < rows; ++i) {
    for (int d = 0; d < domains; ++d) {
      for (const char* label : {"bad", "good"}) {
        table += "d" + std::to_string(d) + "\t" + label + "\tthe " + text_of(d, random) + " is " +
                 (label == std::string("bad") ? (random() % 2 == 0 ? "awful" : "poor")
                                              : (random() % 2 == 0 ? "great" : "fine")) +
                 "\n";
      }
    }
  }
  return table;
}

/// Columns label, premise and hypothesis.
std::string pairs(int rows, uint32_t seed) {
  std::mt19937 random(seed);
  std::string table = "label\tpremise\thypothesis\n";
  for (int i = 0; i < rows; ++i) {
    const std::string premise = text_of(static_cast<int>(random() % 6), random);
    table += "same\t" + premise + "\t" + premise + "\n";
    table += "other\t" + premise + "\t" + text_of(static_cast<int>(random() % 6), random) + "\n";
  }
  return table;
}

class MetaTest : public ProgramTest {
 protected:
  static Arguments quick(const Arguments& more, const std::string& folder) {
    return joined(joined({"meta"}, more), {"--hidden", "8", "--queries", "4", "--meta-batch", "4",
                                           "--valid-episodes", "20", "--threads", "1", "--out", folder});
  }
  Arguments base(const std::string& data) const {
    return {"--data", data, "--text", "text", "--label", "label", "--ways", "3", "--shots", "2"};
  }

  Json trained(const Arguments& more, const std::string& folder = "out") const {
    return succeeds(quick(more, path(folder)));
  }
  void refused(const Arguments& more, const std::vector<std::string>& parts) const {
    refuses(quick(more, out()), parts);
  }
};

TEST_F(MetaTest, WritesEverythingThatIsPromised) {
  const std::string data = folder_.write("t.tsv", topics(12, 14));
  const Json summary = trained(
      joined(base(data), {"--train-classes", "0-5", "--valid-classes", "6-8", "--test-classes", "9-11",
                          "--steps", "60", "--test-episodes", "100", "--set", "upper_step_size=0.01"}));
  for (const char* file : {"options.json", "trace.jsonl", "summary.json", "model.safetensors", "model.json",
                           "episodes.tsv", "report.html", "parts/train/checkpoint.safetensors"}) {
    EXPECT_TRUE(fs::is_regular_file(out() + "/" + file)) << file;
  }
  const Json& test = summary.at("metrics").at("test");
  EXPECT_EQ(test.at("episodes"), 100);
  EXPECT_LT(test.at("interval")[0], test.at("accuracy"));
  EXPECT_GT(test.at("interval")[1], test.at("accuracy"));
  EXPECT_GT(test.at("accuracy"), 1.0 / 3);
  for (const char* name : {"untrained", "anil", "maml"}) {
    EXPECT_EQ(summary.at("baselines").at(name).at("episodes"), 100) << name;
    EXPECT_EQ(summary.at("baselines").at(name).at("interval").size(), 2u) << name;
    expect_difference(summary.at("baselines").at(name), test.at("accuracy"),
                      summary.at("baselines").at(name).at("accuracy"));
    EXPECT_FALSE(summary.at("baselines").at(name).contains("of_task"));
  }
  EXPECT_FALSE(summary.at("baselines").contains("nearest_class_mean"));  // there are no word vectors
  EXPECT_EQ(summary.at("warnings"), Json::array());
  const std::string report = read_bytes(out() + "/report.html");
  for (const char* words : {"tasks from the same 3 test classes: they say nothing about other classes",
                            "not calibrated", "needs word vectors"}) {
    EXPECT_CONTAINS(summary.at("notes").dump(), words);
    EXPECT_CONTAINS(report, words);
  }
  EXPECT_EQ(summary.at("parts").at("train"), (Json{"0", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(summary.at("parts").at("test"), (Json{"9", "10", "11"}));
  EXPECT_EQ(summary.at("oracle_calls").at("upper_gradient"), 60);
  EXPECT_EQ(summary.at("samples").at("upper"), 60 * 4 * 3 * (2 + 4));
  EXPECT_EQ(summary.at("command"), "meta");
  EXPECT_EQ(summary, Json::parse(read_bytes(out() + "/summary.json")));
  const std::string episodes = read_bytes(out() + "/episodes.tsv");
  EXPECT_TRUE(episodes.starts_with("episode\taccuracy\tuntrained\tanil\tmaml\n1\t"));
  std::istringstream lines(episodes.substr(episodes.find('\n')));
  double of_anil = 0, skipped = 0, accuracy = 0;
  while (lines >> skipped >> skipped >> skipped >> accuracy >> skipped) of_anil += accuracy / 100;
  EXPECT_NEAR(of_anil, summary.at("baselines").at("anil").at("accuracy").get<double>(), 1e-6);
  EXPECT_EQ(std::count(episodes.begin(), episodes.end(), '\n'), 101);
  const Outcome again = bilevel_program({"meta", "--resume", out(), "--json"});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(Json::parse(again.out), summary);
  const Outcome quiet = bilevel_program({"meta", "--resume", out(), "--quiet"});
  EXPECT_EQ(quiet.code, 0);
  EXPECT_CONTAINS(quiet.out, "this run had finished");
  EXPECT_EQ(quiet.err, "");
}

TEST_F(MetaTest, PredictAdaptsToNewClassesAndLeavesTheModelAlone) {
  const std::string data = folder_.write("t.tsv", topics(12, 14));
  trained(joined(base(data), {"--test-classes", "9-11", "--steps", "30", "--test-episodes", "20",
                              "--baselines", "none"}));
  const auto before = files_in(out());
  // Two classes whose words the encoder knows, in unequal numbers.
  std::mt19937 random(5);
  std::string shots = "label\ttext\n", input = "text\tlabel\n";
  for (int i = 0; i < 4; ++i) shots += "red\t" + text_of(0, random) + "\n";
  for (int i = 0; i < 6; ++i) shots += "blue\t" + text_of(1, random) + "\n";
  for (int i = 0; i < 20; ++i) input += text_of(i % 2, random) + (i % 2 == 0 ? "\tred\n" : "\tblue\n");
  const std::string shots_file = folder_.write("shots.tsv", shots),
                    input_file = folder_.write("new.tsv", input);
  const Arguments predict{"predict", "--model",  out(),   "--shots",    shots_file,
                          "--input", input_file, "--out", path("p.tsv")};
  const Outcome run = bilevel_program(joined(predict, {"--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const Json result = Json::parse(run.out);
  EXPECT_EQ(result.at("shots"), 10);
  EXPECT_EQ(result.at("rows"), 20);
  EXPECT_EQ(result.at("classes"), (Json{"blue", "red"}));
  EXPECT_GT(result.at("accuracy"), 0.8);
  EXPECT_EQ(result.at("warnings"), Json::array());
  EXPECT_CONTAINS(result.at("notes").dump(), "not calibrated");
  const std::string table = read_bytes(path("p.tsv"));
  std::istringstream rows(table.substr(table.find('\n') + 1));
  double stated = 0;
  for (std::string row, predicted, label; rows >> row >> predicted;) {
    double blue = 0, red = 0;
    rows >> blue >> red >> label;
    stated += std::max(blue, red) / 20;
  }
  EXPECT_NEAR(result.at("mean_probability").get<double>(), stated, 1e-7);
  EXPECT_TRUE(table.starts_with("row\tpredicted\tp(blue)\tp(red)\tlabel\n1\t")) << table;
  EXPECT_EQ(files_in(out()), before);
  const Outcome person = bilevel_program(predict);
  EXPECT_CONTAINS(person.out, "adapted to 10 rows of 2 classes; 20 rows classified");
  EXPECT_CONTAINS(person.out, "not calibrated");
  EXPECT_EQ(read_bytes(path("p.tsv")), table);

  const auto refusal = [&](const Arguments& arguments) {
    const Outcome refused = bilevel_program(arguments);
    EXPECT_EQ(refused.code, 2) << refused.err;
    return refused.err;
  };
  EXPECT_CONTAINS(refusal({"predict", "--model", out(), "--input", input_file, "--out", path("q.tsv")}),
                  "--shots");
  const auto with_shots = [&](const std::string& file) {
    return refusal(
        {"predict", "--model", out(), "--shots", file, "--input", input_file, "--out", path("q.tsv")});
  };
  EXPECT_CONTAINS(with_shots(path("none.tsv")), "none.tsv");
  EXPECT_CONTAINS(with_shots(folder_.write("one.tsv", "label\ttext\nred\ta b\n")), "one.tsv");
  EXPECT_CONTAINS(with_shots(folder_.write("unlabelled.tsv", "class\ttext\nred\ta b\nblue\tc\n")), "label");
  EXPECT_FALSE(fs::exists(path("q.tsv")));
}

TEST_F(MetaTest, EveryHeadEncoderAndWayToDivideRuns) {
  const std::string topic = folder_.write("t.tsv", topics(9, 14));
  const std::string review = folder_.write("r.tsv", reviews(6, 12));
  const std::string train = folder_.write("p.tsv", pairs(80, 1)), test = folder_.write("q.tsv", pairs(20, 2));
  const Arguments domains{"--data", review,     "--text", "text",    "--label",
                          "label",  "--domain", "domain", "--shots", "2"};
  const Arguments two{"--data", train,        "--test",  test,    "--text",  "premise",
                      "--pair", "hypothesis", "--label", "label", "--shots", "2"};
  const Arguments brief{"--steps", "3", "--test-episodes", "20", "--baselines", "untrained"};
  const std::vector<std::pair<Arguments, std::string>> cases{
      {joined(base(topic), {"--head", "softmax", "--encoder", "transformer"}), "classes"},
      {joined(base(topic), {"--encoder", "gru", "--solver", "slip", "--no-token-mean"}), "classes"},
      {joined(domains, {"--head", "shared"}), "domains"},
      {joined(domains, {"--head", "shared", "--solver", "bo-rep"}), "domains"},
      {joined(domains, {"--encoder", "lstm", "--test-classes", "d0,d3"}), "domains"},
      {two, "rows"},
      {joined(two, {"--head", "shared"}), "rows"}};
  int number = 0;
  for (const auto& [arguments, units] : cases) {
    const std::string folder = "case" + std::to_string(++number);
    const Json summary = trained(joined(arguments, brief), folder);
    ASSERT_FALSE(summary.is_null()) << folder;
    EXPECT_EQ(summary.at("tasks").at("divided_by"), units) << folder;
    EXPECT_EQ(summary.at("metrics").at("test").at("episodes"), 20) << folder;
  }
}

TEST_F(MetaTest, ReadsColumnsAndFindsTheirNearestClassMean) {
  std::mt19937 random(4);
  std::string table = "label,a,b,c\n";
  for (int i = 0; i < 150; ++i) {
    table += std::to_string(i % 10);
    for (int j = 0; j < 3; ++j)
      table += "," + std::to_string((i % 10) * (j == 0 ? 1 : j == 1 ? -1 : 0) + 1e-9 * random());
    table += "\n";
  }
  const Json summary = trained({"--data", folder_.write("t.csv", table), "--label", "label", "--ways", "2",
                                "--shots", "2", "--steps", "5", "--test-episodes", "50", "--baselines",
                                "nearest-class-mean,logistic-regression"});
  EXPECT_EQ(summary.at("encoder"), "mlp");
  for (const char* name : {"nearest_class_mean", "logistic_regression"})
    EXPECT_GT(summary.at("baselines").at(name).at("accuracy"), 0.8) << name;
}

TEST_F(MetaTest, RefusesWhatTasksCannotBeDrawnFrom) {
  const std::string data = folder_.write("t.tsv", topics(9, 14));
  const Arguments lists{"--train-classes", "0-2", "--valid-classes", "3-5", "--test-classes", "6-8"};
  refused(joined(base(data), {"--test-classes", "6-9"}), {"test_classes", "have no '9'"});
  refused(joined(base(data), {"--train-classes", "0-3", "--test-classes", "3-5"}),
          {"'3' stands in train_classes and in test_classes"});
  refused(joined(base(data), {"--train-classes", "0,1"}), {"ways = 3", "training", "2 classes"});
  refused({"--data", data, "--text", "text", "--label", "label", "--ways", "4"},
          {"ways = 4: the training part has 1 class"});
  refused(
      joined({"--data", data, "--text", "text", "--label", "label", "--ways", "3", "--shots", "12"}, lists),
      {"shots = 12: ", "shots + queries = 12 + 4 = 16", "3 of 3 classes in the training part",
       "class '0' has 14 rows"});
  // The division of nine classes into three parts of five fails too, but is not what is wrong.
  refused({"--data", data, "--text", "text", "--label", "label", "--shots", "200"},
          {"shots = 200: ", "9 of 9 classes in the file", "class '0' has 14 rows"});
  const std::string lonely = folder_.write("l.tsv", topics(9, 14) + "9\tlonely\n");
  refused(joined(base(lonely), {"--test-classes", "7-9"}),
          {"1 of 10 classes in the file", "class '9' has 1 row."});
  refused({"--data", data, "--text", "text", "--label", "label", "--ways", "1"}, {"ways = 1"});
  refused(joined(base(data), {"--valid-classes", "3,,4"}), {"valid_classes", "empty"});
  refused(joined(base(data), {"--head", "shared"}), {"head = shared", "--domain"});
  refused(joined(base(data), {"--head", "mlp"}), {"head = mlp", "must be one of"});
  refused(joined(base(data), {"--encoder", "bag"}), {"encoder = bag"});
  refused(joined(base(data), {"--baselines", "svm"}), {"baselines = svm"});
  refused(joined(base(data), {"--batch-size", "8"}), {"--batch-size"});
  refused(joined(base(data), {"--l2", "0"}), {"l2 = 0"});
  refused(joined(base(data), {"--episodes", "2"}), {"episodes = 2"});
  refused(joined(base(data), {"--pair", "second"}), {"second"});
  refused(joined(base(data), {"--domain", "shop"}), {"shop"});
  const std::string review = folder_.write("r.tsv", reviews(4, 12) + "\tgood\tno domain\n");
  refused({"--data", review, "--text", "text", "--label", "label", "--domain", "domain", "--shots", "2"},
          {"r.tsv:98", "domain is missing"});
  refused(joined(base(data), {"--test", folder_.write("other.tsv", "label\ttext\n77\ta b\n")}),
          {"other.tsv", "77"});
  refused(joined(base(data), {"--test", data, "--train-classes", "0-2"}), {"train_classes", "--test"});
  refused(joined(base(data), {"--valid", data}), {"--valid", "--test"});
}

// ---- interrupted and resumed ----

TEST_F(MetaTest, AnInterruptedRunEndsInTheSameBytes) {
  const std::string data = folder_.write("t.tsv", topics(12, 14));
  for (const char* head : {"ridge", "shared"}) {
    const std::string review = folder_.write("r.tsv", reviews(6, 14));
    const bool shared = head == std::string("shared");
    const Arguments arguments =
        joined(shared ? Arguments{"--data", review, "--text", "text", "--label", "label", "--domain",
                                  "domain", "--shots", "2"}
                      : base(data),
               {"--head", head, "--steps", "500", "--test-episodes", "20", "--baselines", "untrained"});
    const std::string whole = path(std::string("whole-") + head), cut = path(std::string("cut-") + head);
    const Outcome run = bilevel_program(quick(arguments, whole));
    ASSERT_EQ(run.code, 0);
    EXPECT_CONTAINS(run.out, "they say nothing about other");
    Process first(quick(arguments, cut));
    const auto share = [&](double part) {
      std::error_code none_yet;
      const auto size = fs::file_size(cut + "/parts/train/trace.jsonl", none_yet);
      return !none_yet &&
             static_cast<double>(size) >= part * static_cast<double>(fs::file_size(whole + "/trace.jsonl"));
    };
    ASSERT_TRUE(first.wait_until([&] { return share(0.2); }));
    first.send(SIGINT);
    const Outcome interrupted = first.wait();
    EXPECT_EQ(interrupted.code, 130) << interrupted.err;
    EXPECT_CONTAINS(interrupted.err, "bilevel meta --resume " + cut);
    EXPECT_FALSE(fs::exists(cut + "/summary.json"));
    Process second({"meta", "--resume", cut, "--quiet"});
    ASSERT_TRUE(second.wait_until([&] { return share(0.6); }));
    second.send(SIGKILL);
    EXPECT_EQ(second.wait().code, -SIGKILL);
    const Outcome last = bilevel_program({"meta", "--resume", cut, "--quiet"});
    EXPECT_EQ(last.code, 0) << last.err;
    EXPECT_EQ(read_bytes(cut + "/model.safetensors"), read_bytes(whole + "/model.safetensors")) << head;
    EXPECT_EQ(read_bytes(cut + "/episodes.tsv"), read_bytes(whole + "/episodes.tsv")) << head;
    EXPECT_EQ(trace_of(cut), trace_of(whole)) << head;
  }
}

TEST_F(MetaTest, TheSeedDecidesEverything) {
  const std::string data = folder_.write("t.tsv", topics(12, 14));
  const Arguments arguments =
      joined(base(data), {"--steps", "5", "--test-episodes", "30", "--baselines", "none"});
  trained(joined(arguments, {"--seed", "3"}), "a");
  trained(joined(arguments, {"--seed", "3"}), "b");
  const Json other = trained(joined(arguments, {"--seed", "4"}), "c");
  EXPECT_EQ(read_bytes(path("a/model.safetensors")), read_bytes(path("b/model.safetensors")));
  EXPECT_EQ(read_bytes(path("a/episodes.tsv")), read_bytes(path("b/episodes.tsv")));
  EXPECT_NE(read_bytes(path("a/episodes.tsv")), read_bytes(path("c/episodes.tsv")));
}

}  // namespace
}  // namespace bilevel
