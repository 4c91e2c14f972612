// `bilevel solve`, run as a person runs it.
#include <fmt/format.h>
#include <signal.h>

#include <cmath>

#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
class SolveTest : public ProgramTest {
 protected:
  static Outcome solve(const Arguments& arguments) { return bilevel_program(Arguments{"solve"} + arguments); }
  static Json solved(const Arguments& arguments) { return succeeds(Arguments{"solve"} + arguments); }
  void refused(const Arguments& arguments, const std::vector<std::string>& parts) const {
    refuses(Arguments{"solve"} + arguments, parts);
  }
};

/// AdamBO on one coordinate of P1 with c = 2, a = b = mu = 1, in plain numbers.
struct ScalarAdamBO {
  double upper = 0.05, lower = 0.2, scale = 0.5;
  int terms = 3;
  double x = 0, y = 0, m = 0, v = 0;
  int t = 0;

  void warm_start(int steps) {
    for (int k = 0; k < steps; ++k) y -= lower * (y - x);
  }
  void step() {
    double z = 0;
    for (int q = 0; q < terms; ++q) z += scale * std::pow(1 - scale, q) * std::cos(y);
    const double g = 2 * std::sinh(2 * x) + z;  // d2g/dxdy = -1
    y -= lower * (y - x);
    ++t;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    x -= upper * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  }
};

TEST_F(SolveTest, EqualsAScalarComputation) {
  const std::vector<double> start{2.5, -1.25, 0.3, 0};
  const Json run =
      solved({"p1", "--solver", "adambo", "--steps", "120", "--start", "2.5,-1.25,0.3,0", "--set",
              "upper_step_size=0.05", "--set", "lower_step_size=0.2", "--set", "neumann_step_size=0.5",
              "--set", "neumann_terms=3", "--set", "warm_start_steps=2"});
  ASSERT_EQ(run.at("x").size(), 4U);
  double squares = 0;
  for (size_t i = 0; i < 4; ++i) {
    ScalarAdamBO scalar{.x = start[i]};
    scalar.warm_start(2);
    for (int k = 0; k < 120; ++k) scalar.step();
    EXPECT_NEAR(run.at("x")[i].get<double>(), scalar.x, 1e-11);
    EXPECT_NEAR(run.at("y")[i].get<double>(), scalar.y, 1e-11);
    const double slope = 2 * std::sinh(2 * scalar.x) + std::cos(scalar.x);
    squares += slope * slope;
  }
  EXPECT_NEAR(run.at("metrics").at("gradient_norm").get<double>(), std::sqrt(squares), 1e-9);
  EXPECT_EQ(run.at("steps"), 120) << "the warm start is not counted";
  EXPECT_EQ(run.at("oracle_calls").at("lower_gradient"), 120);
  EXPECT_EQ(run.at("oracle_calls_apart").at("warm_start").at("lower_gradient"), 2);
  EXPECT_EQ(run.at("oracle_calls_apart").at("evaluation").at("lower_gradient"), 0);
}

TEST_F(SolveTest, TheJsonHoldsWhatIsPromised) {
  const Json run = solved({"p1", "--solver", "adambo", "--steps", "30", "--seed", "5", "--dim", "3", "--c",
                           "1.5", "--set", "upper_step_size=0.1"});
  for (const char* key : {"command",
                          "problem",
                          "solver",
                          "seed",
                          "steps",
                          "seconds",
                          "stop_reason",
                          "metrics",
                          "x",
                          "y",
                          "problem_options",
                          "noise",
                          "oracle_calls",
                          "oracle_calls_apart",
                          "samples",
                          "solver_options",
                          "chosen_step_sizes",
                          "within_theory",
                          "warnings",
                          "peak_rss_bytes",
                          "out"}) {
    EXPECT_TRUE(run.contains(key)) << key;
  }
  EXPECT_EQ(run.at("command"), "solve");
  EXPECT_EQ(run.at("problem"), "p1");
  EXPECT_EQ(run.at("solver"), "adambo");
  EXPECT_EQ(run.at("seed"), 5);
  EXPECT_EQ(run.at("steps"), 30);
  EXPECT_EQ(run.at("stop_reason"), "max_steps");
  EXPECT_EQ(run.at("x").size(), 3U);
  EXPECT_EQ(run.at("problem_options"), Json({{"a", 1.0}, {"b", 1.0}, {"c", 1.5}, {"dim", 3}, {"mu", 1.0}}));
  EXPECT_EQ(run.at("solver_options").at("upper_step_size"), 0.1);
  EXPECT_EQ(run.at("within_theory"), true);
  EXPECT_EQ(run.at("warnings"), Json::array());
  EXPECT_EQ(run.at("out"), nullptr);
  EXPECT_GT(run.at("peak_rss_bytes").get<int64_t>(), 1 << 20);
  const double x = run.at("x")[0].get<double>(), y = run.at("y")[0].get<double>();
  const Json& metrics = run.at("metrics");
  EXPECT_NEAR(metrics.at("upper").get<double>(), 3 * (std::cosh(1.5 * x) + std::sin(y)), 1e-12);
  EXPECT_NEAR(metrics.at("lower").get<double>(), 1.5 * (y - x) * (y - x), 1e-12);
  double root = 0;  // of 1.5 sinh(1.5 x) + cos(x)
  for (int i = 0; i < 50; ++i) {
    root -= (1.5 * std::sinh(1.5 * root) + std::cos(root)) / (2.25 * std::cosh(1.5 * root) - std::sin(root));
  }
  EXPECT_NEAR(metrics.at("distance").get<double>(), std::abs(x - root), 1e-12)
      << "divided by the root of the dimension";
}

TEST_F(SolveTest, DefaultsOfP1) {
  const Json run = solved({"p1", "--solver", "adambo", "--steps", "1", "--set", "upper_step_size=1e-300",
                           "--set", "warm_start_steps=0", "--set", "lower_step_size=1e-300"});
  EXPECT_EQ(run.at("x"), Json(std::vector<double>(4, 2.5)));
  ASSERT_EQ(run.at("y").size(), 4U);
  for (const Json& y : run.at("y")) EXPECT_NEAR(y.get<double>(), 0, 1e-200);
  EXPECT_NEAR(run.at("metrics").at("gradient_norm").get<double>(), 2 * (2 * std::sinh(5.0) + std::cos(2.5)),
              1e-10);
}

TEST_F(SolveTest, EveryProblemRuns) {
  std::istringstream listed(bilevel_program({"list", "problems"}).out);
  int problems = 0;
  for (std::string line; std::getline(listed, line);) {
    if (line.rfind("  ", 0) != 0 || line[2] == ' ') continue;
    const std::string name = line.substr(2, line.find(' ', 2) - 2);
    SCOPED_TRACE(name);
    const Json run = solved({name, "--steps", "3"});
    ASSERT_TRUE(run.is_object());
    const bool known = name != "logistic" && name != "softmax-cleaning";
    EXPECT_EQ(run.at("metrics").at("distance").is_number(), known);
    for (const char* key : {"gradient_norm", "upper", "lower"})
      EXPECT_TRUE(run.at("metrics").at(key).is_number());
    EXPECT_EQ(run.at("metrics").contains("projected_gradient_norm"), name == "box");
    const bool convex_only = name == "merely-convex" || name == "many-minimizers";
    EXPECT_EQ(run.at("within_theory"), !convex_only);
    EXPECT_EQ(run.at("warnings").size(), convex_only ? 1U : 0U);
    ++problems;
  }
  EXPECT_GE(problems, 9);
}

// What the page says of a method that leaves the flat part of y alone.
TEST_F(SolveTest, AMethodOutsideOfItsTheoryEndsElsewhere) {
  const Json run = solved({"many-minimizers", "--solver", "adambo", "--dim", "2", "--steps", "800", "--set",
                           "upper_step_size=0.03"});
  EXPECT_EQ(run.at("within_theory"), false);
  for (const Json& x : run.at("x")) EXPECT_NEAR(x.get<double>(), -0.2, 1e-3);
  EXPECT_NEAR(run.at("metrics").at("distance").get<double>(), 1.2, 1e-3);
}

TEST_F(SolveTest, WhetherATheoryCoversTheRunIsSaid) {
  const auto within = [](Arguments arguments) {
    arguments.insert(arguments.end(), {"--steps", "2"});
    const Json run = solved(arguments);
    EXPECT_EQ(run.at("warnings").empty(), run.at("within_theory").get<bool>());
    return run.at("within_theory").get<bool>();
  };
  EXPECT_FALSE(within({"p1", "--solver", "soba"}));
  EXPECT_TRUE(within({"p1", "--solver", "slip"}));
  EXPECT_FALSE(within({"merely-convex", "--solver", "sl-bamm", "--set", "aggregation_weight=0"}));
  EXPECT_TRUE(within({"merely-convex", "--solver", "sl-bamm"}));
  EXPECT_FALSE(within({"merely-convex", "--solver", "sl-bamm", "--noise", "0.1"}));
  EXPECT_FALSE(
      within({"cosine", "--solver", "f2sa", "--set", "multiplier=0.1", "--set", "multiplier_growth=0.001"}));
  EXPECT_TRUE(within({"cosine", "--solver", "f2sa"}));
  EXPECT_FALSE(within({"quadratic", "--noise", "0.1", "--set", "samples=shared"}));
  EXPECT_FALSE(within({"logistic", "--solver", "sl-bamm", "--batch-size", "20"}));
}

TEST_F(SolveTest, LargeVariablesAreLeftOut) {
  const Json run = solved({"merely-convex", "--steps", "1", "--dim", "101"});
  EXPECT_EQ(run.at("x").size(), 101U);
  EXPECT_EQ(run.at("y"), nullptr);  // 202 coordinates
}

TEST_F(SolveTest, WarnsOutsideOfTheTheory) {
  const Outcome run = solve({"merely-convex", "--solver", "adambo", "--steps", "2", "--quiet"});
  EXPECT_EQ(run.code, 0);
  EXPECT_CONTAINS(run.out, "adambo on merely-convex: 2 steps");
  EXPECT_CONTAINS(run.err, "warning: adambo is outside of its theory here");
  const Outcome shown = solve({"merely-convex", "--solver", "adambo", "--steps", "2"});
  EXPECT_EQ(shown.code, 0);
  EXPECT_CONTAINS(shown.out, "adambo on merely-convex: 2 steps");
  EXPECT_CONTAINS(shown.out, "warning: adambo is outside of its theory here");
  EXPECT_CONTAINS(shown.out, "not strongly convex");
  EXPECT_CONTAINS(shown.out, "norm of the true hypergradient");
}

TEST_F(SolveTest, StartTakesOneValueOrOnePerCoordinate) {
  const Arguments still{"--solver", "adambo", "--steps", "1", "--set", "upper_step_size=1e-300"};
  const auto started = [&](const std::string& problem, const std::string& start) {
    Arguments arguments{problem, "--start", start};
    arguments.insert(arguments.end(), still.begin(), still.end());
    return solved(arguments).at("x");
  };
  EXPECT_EQ(started("p1", "-1.5"), Json(std::vector<double>(4, -1.5)));
  EXPECT_EQ(started("p1", "-1,2,1e-3,4"), Json({-1.0, 2.0, 1e-3, 4.0}));
  EXPECT_EQ(started("cosine", "7"), Json({7.0}));
  refused({"p1", "--start", "1,2,3"}, {"start", "3 values, but x has 4 coordinates"});
  refused({"p1", "--start", "1,two"}, {"start = 1,two", "'two' is not a finite number"});
  refused({"p1", "--start", "1,,2,3"}, {"'' is not a finite number"});
  refused({"p1", "--start", "nan"}, {"start", "finite"});
  refused({"box", "--start", "5"}, {"start", "outside"});
}

TEST_F(SolveTest, RefusesWrongUsage) {
  refused({}, {"which problem?"});
  refused({"nothing"}, {"there is no problem 'nothing'", "merely-convex"});
  refused({"p1", "--solver", "nothing"}, {"there is no solver 'nothing'", "adambo"});
  refused({"p1", "--set", "nothing=1"}, {"there is no option 'nothing'", "upper_step_size"});
  refused({"p1", "--set", "upper_step_size=-1"}, {"upper_step_size = -1"});
  refused({"p1", "--c", "0"}, {"c = 0"});
  refused({"p1", "--dim", "1.5"}, {"dim = 1.5", "whole number"});
  refused({"p1", "--upper-size", "3"}, {"there is no option 'upper_size'", "mu, dim"});
  refused({"p1", "--nonsense", "3"}, {"--nonsense"});
  refused({"p1", "--steps", "0"}, {"steps = 0"});
  refused({"p1", "--steps", "many"}, {"steps = many: must be a number"});
  refused({"p1", "--noise", "-1"}, {"noise = -1"});
  refused({"p1", "--tolerance", "-1"}, {"tolerance = -1"});
  refused({"p1", "--max-seconds", "0"}, {"max_seconds = 0"});
  refused({"p1", "--seed", "-1"}, {"seed = -1"});
  refused({"logistic", "--train", "nowhere.libsvm"}, {"nowhere.libsvm: there is no such file"});
}

TEST_F(SolveTest, TheSeedDecidesEverything) {
  const Arguments noisy{"p1", "--steps", "20", "--noise", "0.5", "--set", "upper_step_size=0.05"};
  const auto with_seed = [&](const std::string& seed, const std::string& out) {
    Arguments arguments = noisy;
    arguments.insert(arguments.end(), {"--seed", seed, "--out", path(out)});
    return without_clock(solved(arguments));
  };
  const Json one = with_seed("3", "a");
  EXPECT_EQ(one, with_seed("3", "b"));
  EXPECT_EQ(trace_of(path("a")), trace_of(path("b")));
  EXPECT_NE(one.at("x"), with_seed("4", "c").at("x"));
}

TEST_F(SolveTest, NoiseShiftsNoMetric) {
  const Json run = solved({"p1", "--steps", "1", "--noise", "3", "--set", "upper_step_size=1e-300", "--set",
                           "lower_step_size=1e-300", "--set", "warm_start_steps=0"});
  EXPECT_NEAR(run.at("metrics").at("upper").get<double>(), 4 * std::cosh(5.0), 1e-10);
  EXPECT_NEAR(run.at("metrics").at("lower").get<double>(), 2 * 6.25, 1e-12);
  EXPECT_EQ(run.at("noise"), 3.0);
}

TEST_F(SolveTest, BatchesOfTheDataProblemsAreDrawn) {
  const Json full = solved({"logistic", "--steps", "4"});
  EXPECT_EQ(full.at("samples").at("upper"), 800);
  const Json batches = solved({"logistic", "--steps", "4", "--batch-size", "16"});
  EXPECT_EQ(batches.at("samples").at("upper"), 64);
  EXPECT_NE(full.at("x"), batches.at("x"));
}

TEST_F(SolveTest, WritesEverythingThatIsPromised) {
  const Json summary =
      solved({"strongly-convex", "--steps", "50", "--out", path("out"), "--set", "upper_step_size=0.05"});
  EXPECT_EQ(summary, Json::parse(read_bytes(path("out/summary.json"))));
  const std::vector<Json> trace = trace_of(path("out"));
  ASSERT_EQ(trace.size(), 51U);
  for (size_t step = 0; step < trace.size(); ++step) {
    EXPECT_EQ(trace[step].at("step"), step);
    for (const char* key : {"distance", "gradient_norm", "upper", "lower"}) {
      EXPECT_TRUE(trace[step].at("metrics").at(key).is_number()) << key;
    }
    EXPECT_EQ(trace[step].at("oracle_calls").at("upper_gradient"), step);
  }
  EXPECT_EQ(trace[0].at("metrics").at("distance"), 1.5);  // from 2 to 1/2
  EXPECT_EQ(trace[0].at("metrics").at("upper"), 250.0);   // n (2^2 + 1)/2
  EXPECT_EQ(trace.back().at("metrics"), summary.at("metrics"));
  EXPECT_LT(summary.at("metrics").at("distance"), 0.5);
  const std::string report = read_bytes(path("out/report.html"));
  for (const char* part : {"adambo on strongly-convex", "gradient_norm", "upper_step_size"})
    EXPECT_CONTAINS(report, part);
  for (const char* file : {"options.json", "checkpoint.safetensors"})
    EXPECT_TRUE(fs::exists(path("out/") + file));
  if (fs::exists("/usr/bin/gnuplot")) {
    for (const char* file : {"distance.svg", "gradient_norm.svg", "objectives.svg"}) {
      EXPECT_CONTAINS(read_bytes(path("out/") + file), "<svg");
    }
  }
}

TEST_F(SolveTest, EveryWeightBelongsToALineOfTheFile) {
  // Two distant clouds; the rows of lines 3, 13, 23, ... have the other's label.
  std::string text = "# a comment\n";
  for (int i = 0; i < 60; ++i) {
    const bool right = i % 2 == 0, wrong = i % 10 == 1;
    text += fmt::format("{} 1:{:.2f} 2:{:.2f}\n", right != wrong ? 7 : 3, (right ? 2 : -2) + 0.01 * (i % 7),
                        0.01 * (i % 5));
  }
  const std::string train = folder_.write("train.svm", text);
  std::string right_rows;
  for (int i = 0; i < 20; ++i)
    right_rows += fmt::format("{} 1:{}\n", i % 2 == 0 ? 7 : 3, i % 2 == 0 ? 2 : -2);
  const std::string valid = folder_.write("valid.svm", right_rows);
  const Json run = solved({"softmax-cleaning", "--train", train, "--valid", valid, "--corruption", "0",
                           "--steps", "300", "--set", "upper_step_size=.05", "--out", path("out")});
  const Json& rows = run.at("x_rows");
  ASSERT_EQ(rows.size(), 60U);
  std::istringstream table(read_bytes(path("out/weights.tsv")));
  std::string head;
  std::getline(table, head);
  EXPECT_EQ(head, "row\tlabel\tused_label\tweight");
  double least_right = 1, most_wrong = 0;
  for (size_t k = 0; k < 60; ++k) {
    int64_t line = 0;
    double label = 0, used = 0, weight = 0;
    ASSERT_TRUE(table >> line >> label >> used >> weight);
    EXPECT_EQ(rows[k], line);
    EXPECT_NEAR(weight, 1 / (1 + std::exp(-run.at("x")[k].get<double>())), 1e-12);
    const bool wrong = (line - 2) % 10 == 1;
    EXPECT_EQ(label, ((line - 2) % 2 == 0) != wrong ? 7 : 3);
    EXPECT_EQ(used, label);
    (wrong ? most_wrong : least_right) = wrong ? std::max(most_wrong, weight) : std::min(least_right, weight);
  }
  EXPECT_LT(most_wrong, 0.5 * least_right) << "so the order of the rows is right";
}

TEST_F(SolveTest, TerminalAndPageRoundAlike) {
  const Outcome run = solve({"p1", "--steps", "20", "--set", "upper_step_size=0.03", "--out", path("out")});
  ASSERT_EQ(run.code, 0) << run.err;
  const std::string report = read_bytes(path("out/report.html"));
  const auto numbers = decimals_of(run.out.substr(0, run.out.find("trace:")));
  EXPECT_EQ(numbers.size(), 5U);  // seconds, distance, gradient, both objectives
  for (const std::string& number : numbers) EXPECT_CONTAINS(report, ">" + number);
}

TEST_F(SolveTest, TracesOfLongRunsAreThinned) {
  solved({"softmax-cleaning", "--steps", "401", "--out", path("out")});
  const std::vector<Json> trace = trace_of(path("out"));
  EXPECT_LE(trace.size(), 202U);
  EXPECT_GE(trace.size(), 100U);
  EXPECT_EQ(trace.back().at("step"), 401);
}

TEST_F(SolveTest, StopsAtItsTolerance) {
  const Json run =
      solved({"strongly-convex", "--steps", "5000", "--tolerance", "1e-3", "--set", "upper_step_size=0.05"});
  EXPECT_EQ(run.at("stop_reason"), "converged");
  EXPECT_LT(run.at("steps"), 5000);
  EXPECT_LE(run.at("metrics").at("gradient_norm"), 1e-3);
}

TEST_F(SolveTest, StopsWhenTheTimeIsOver) {
  const Json run = solved({"p1", "--steps", "100000000", "--max-seconds", "0.3"});
  EXPECT_EQ(run.at("stop_reason"), "max_seconds");
  EXPECT_GE(run.at("seconds"), 0.3);
  EXPECT_LT(run.at("steps"), 100000000);
  EXPECT_TRUE(run.at("metrics").at("distance").is_number());
}

TEST_F(SolveTest, ANumberThatIsNotFiniteEndsTheRun) {
  const Outcome run = solve(
      {"p1", "--steps", "50", "--set", "upper_step_size=1e6", "--out", path("out"), "--json", "--quiet"});
  EXPECT_EQ(run.code, 3);
  EXPECT_CONTAINS(run.err, "not finite");
  EXPECT_CONTAINS(run.err, "the last good checkpoint is kept in");
  const Json summary = Json::parse(run.out);
  EXPECT_EQ(summary.at("stop_reason"), "nonfinite");
  EXPECT_FALSE(fs::exists(path("out/summary.json")));
  EXPECT_TRUE(fs::exists(path("out/checkpoint.safetensors")));
}

TEST_F(SolveTest, TouchesNoFolderOfOthers) {
  solved({"p1", "--steps", "2", "--out", path("out")});
  const Outcome again = solve({"p1", "--steps", "2", "--out", path("out")});
  EXPECT_EQ(again.code, 2);
  EXPECT_CONTAINS(again.err, "holds another run; continue it with 'bilevel solve --resume");
  const Outcome other = solve({"p1", "--steps", "2", "--out", path(".")});
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "not an empty folder");
  const std::string file = folder_.write("file", "x");
  EXPECT_EQ(solve({"p1", "--steps", "2", "--out", file + "/out"}).code, 4);
}

TEST_F(SolveTest, AnInterruptedRunContinuesToTheSameNumbers) {
  const Arguments options{"quadratic",           "--steps", "2400", "--noise", "0.1", "--seed", "2", "--set",
                          "upper_step_size=0.01"};
  const auto arguments = [&](const std::string& out) {
    Arguments all{"solve"};
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), {"--out", path(out), "--json", "--quiet"});
    return all;
  };
  Process process(arguments("cut"));
  ASSERT_TRUE(process.wait_until([&] {  // a piece of the trace is written: a sixth of the run
    std::error_code none_yet;
    const auto size = fs::file_size(path("cut/trace.jsonl"), none_yet);
    return !none_yet && size > 50000;
  }));
  process.send(SIGINT);
  const Outcome cut = process.wait();
  ASSERT_EQ(cut.code, 130) << cut.err;
  EXPECT_CONTAINS(cut.err, "continue with: bilevel solve --resume");
  const Json half = Json::parse(cut.out);
  EXPECT_EQ(half.at("stop_reason"), "interrupted");
  ASSERT_LT(half.at("steps"), 2400);
  ASSERT_GT(half.at("steps"), 0);
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));

  EXPECT_EQ(solve({"--resume", path("cut"), "--steps", "3"}).code, 2);
  const Outcome resumed = solve({"--resume", path("cut"), "--json", "--quiet"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  const Outcome whole = bilevel_program(arguments("whole"));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(without_clock(Json::parse(resumed.out)), without_clock(Json::parse(whole.out)));
  EXPECT_EQ(trace_of(path("cut")), trace_of(path("whole")));

  const Outcome done = solve({"--resume", path("cut"), "--json", "--quiet"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(Json::parse(done.out), Json::parse(resumed.out));
  EXPECT_EQ(solve({"--resume", path("nowhere")}).code, 2);
}

TEST_F(SolveTest, AnInterruptWithoutFolderKeepsNothing) {
  Process process({"solve", "p1", "--steps", "100000000", "--quiet"});
  ASSERT_TRUE(process.wait_until([&] { return process.catches(SIGINT); }));
  process.send(SIGINT);
  const Outcome run = process.wait();
  EXPECT_EQ(run.code, 130) << run.err;
  EXPECT_CONTAINS(run.err, "nothing was kept");
}

TEST_F(SolveTest, AChangedFileIsNotContinued) {
  std::string rows;
  for (int i = 0; i < 40; ++i) rows += (i % 2 == 0 ? "+1 1:" : "-1 1:") + std::to_string(i % 7) + " 2:1\n";
  const std::string train = folder_.write("train", rows);
  const Outcome failed = solve(
      {"logistic", "--train", train, "--out", path("out"), "--set", "lower_step_size=1e300", "--quiet"});
  ASSERT_EQ(failed.code, 3) << failed.err;
  folder_.write("train", rows + "+1 1:1\n");
  const Outcome resumed = solve({"--resume", path("out")});
  EXPECT_EQ(resumed.code, 2);
  EXPECT_CONTAINS(resumed.err, "an input file has changed");
}

TEST_F(SolveTest, HelpNamesTheFlags) {
  const Outcome help = solve({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* flag :
       {"--solver", "--steps", "--set", "--noise", "--start", "--seed", "--json", "--out", "--max-seconds",
        "--tolerance", "--resume", "--dim", "--mu", "--train", "--batch-size", "--corruption"}) {
    EXPECT_CONTAINS(help.out, flag);
  }
  const Outcome list = bilevel_program({"list", "problems"});
  EXPECT_EQ(list.code, 0);
  for (const char* part :
       {"quadratic", "merely-convex", "strongly-convex", "p1", "cosine", "logistic", "softmax-cleaning",
        "many-minimizers", "box", "--upper-size", "--dim", "--train-labels"}) {
    EXPECT_CONTAINS(list.out, part);
  }
}

}  // namespace
}  // namespace bilevel
