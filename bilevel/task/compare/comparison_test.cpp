#include "bilevel/task/compare/comparison.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "bilevel/task/compare/known_contest.h"
#include "bilevel/task/compare/page.h"
#include "bilevel/task/compare/results.h"
#include "bilevel/task/compare/table.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace comparison_test {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A solver with options, on a contest.
Played played(Contest& contest, const Budget& budget, const std::vector<std::string>& set = {},
              uint64_t seed = 1, const std::string& name = "adambo") {
  return play(contest, solver_registry().at(name),
              [&] {
                std::unique_ptr<Solver> solver = contest.solver(name);
                for (const std::string& assignment : set) fields_of(*solver).set_text(assignment);
                return solver;
              },
              {.seed = seed, .budget = budget});
}

/// A problem of one number each, whose parts a test chooses.
class SmallContest : public Contest {
 public:
  double curvature = 1;
  bool gives_hessian = false;
  ProblemTraits traits;
  std::function<double(double x)> metric = [](double x) { return x; };

  ContestFacts facts() const override {
    const Measure x{.key = "x", .name = "x"};
    return {.task = "small",
            .title = "small",
            .metric = x,
            .tuning_metric = x,
            .further = {},
            .traits = traits,
            .seeds_mean = "Nothing."};
  }
  std::unique_ptr<Attempt> attempt(uint64_t) override {
    struct Own : Attempt {
      explicit Own(const SmallContest& c) : contest(c) {}
      Problem problem() override {
        Problem problem{
            .upper = {.parameters = {x},
                      .loss = [*this](const Batch&) { return (0.5 * x * x + x * y).sum(); },
                      .batches = no_data()},
            .lower = {
                .parameters = {y},
                .loss = [*this](const Batch&) { return (0.5 * contest.curvature * y * y - x * y).sum(); },
                .batches = no_data()}};
        if (contest.gives_hessian)
          problem.lower_hessian = [c = contest.curvature](const torch::Tensor& v) { return c * v; };
        return problem;
      }
      Json measure(int64_t) override { return {{"x", contest.metric(x.item<double>())}}; }
      const SmallContest& contest;
      torch::Tensor x = torch::ones({1}, torch::kFloat64).requires_grad_();
      torch::Tensor y = torch::zeros({1}, torch::kFloat64).requires_grad_();
    };
    return std::make_unique<Own>(*this);
  }
  int64_t default_steps() const override { return 7; }
  Json to_json() const override { return {{"kind", "small"}}; }
};

// ---- who takes part ----

TEST(Comparison, ReadsCompetitors) {
  const auto two = parse_competitors("adambo,slow=adambo",
                                     {"epsilon=1e-6", "slow.upper_step_size=0.01", "slow.epsilon=1e-4"});
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].label, "adambo");
  EXPECT_EQ(two[0].set, (std::vector<std::string>{"epsilon=1e-6"}));
  EXPECT_EQ(two[1].label, "slow");
  EXPECT_EQ(two[1].solver, "adambo");
  EXPECT_EQ(two[1].set, (std::vector<std::string>{"epsilon=1e-6", "upper_step_size=0.01", "epsilon=1e-4"}));
  // Without a competitor of that name, the solver's name means all that use it.
  const auto named = parse_competitors("a=adambo,b=adambo", {"adambo.epsilon=1e-5"});
  for (const Competitor& c : named) EXPECT_EQ(c.set.size(), 1U);
  EXPECT_EQ(parse_competitors("all", {}).size(), solver_registry().size());
}

TEST(Comparison, RefusesWrongCompetitors) {
  const auto message = [](const std::string& solvers, const std::vector<std::string>& set = {}) {
    return message_of<InputError>([&] { parse_competitors(solvers, set); });
  };
  EXPECT_CONTAINS(message("nobody"), "there is no solver 'nobody'");
  EXPECT_CONTAINS(message("adambo,adambo"), "'adambo' stands there twice");
  EXPECT_CONTAINS(message("adambo,"), "must be names, separated by commas");
  EXPECT_CONTAINS(message(""), "must be names, separated by commas");
  EXPECT_CONTAINS(message("../x=adambo"), "must consist of letters");
  EXPECT_CONTAINS(message("=adambo"), "must consist of letters");
  EXPECT_CONTAINS(message("adambo", {"epsilon"}), "not of the form key=value");
  EXPECT_CONTAINS(message("adambo", {"nonsense=1"}), "no option 'nonsense' in any of the solvers adambo");
  EXPECT_CONTAINS(message("adambo", {"adambo.nonsense=1"}), "adambo: there is no option 'nonsense'");
  EXPECT_CONTAINS(message("adambo", {"other.epsilon=1"}), "no competitor 'other'");
  EXPECT_CONTAINS(message("adambo", {"epsilon=-1"}), "adambo: epsilon = -1: must be > 0");
}

// ---- one run ----

TEST(Comparison, StepsEndARun) {
  KnownContest contest({.problem = "quadratic"});
  const Played run = played(contest, {.steps = 50});
  ASSERT_GE(run.rows.size(), 2U);
  EXPECT_EQ(run.rows.front().at("step"), 0);
  EXPECT_EQ(run.rows.back().at("step"), 50);
  EXPECT_EQ(run.end.at("end"), "finished");
  EXPECT_EQ(run.end.at("steps"), 50);
  EXPECT_EQ(run.end.at("schedule_steps"), 50);
  // The last tenth: steps 46 to 50, each of which is measured.
  double sum = 0, low = HUGE_VAL, high = 0;
  for (size_t i = run.rows.size() - 5; i < run.rows.size(); ++i) {
    const auto value = run.rows[i].at("metrics").at("gradient_norm").get<double>();
    EXPECT_EQ(run.rows[i].at("step"), 46 + static_cast<int64_t>(i + 5 - run.rows.size()));
    sum += value;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  EXPECT_NEAR(run.end.at("result").at("gradient_norm").get<double>(), sum / 5, 1e-12 * sum);
  EXPECT_NEAR(run.end.at("swing").get<double>(), high - low, 1e-12 * high);
  EXPECT_EQ(run.end.at("start"), run.rows.front().at("metrics").at("gradient_norm"));
  // Warm start and automatic step sizes are among the costs: more than the documented cost of the steps.
  const std::unique_ptr<Solver> solver = contest.solver("adambo");
  const OracleCounts steps = solver_registry().at("adambo").documented_calls(*solver, 50);
  EXPECT_EQ(run.end.at("oracle_calls").at("lower_gradient"), steps.lower_gradient + 3);
  EXPECT_EQ(run.end.at("oracle_calls").at("upper_gradient"), steps.upper_gradient);
  EXPECT_GT(run.end.at("oracle_calls").at("hvp"), steps.hvp);
}

TEST(Comparison, SamplesAndOracleCallsEndARun) {
  KnownContest contest({.problem = "quadratic"});
  for (const bool samples : {true, false}) {
    const Budget budget{.samples = samples ? 1500 : 0, .oracle_calls = samples ? 0 : 1500};
    const Played run = played(contest, budget, {"schedule=cosine"});
    EXPECT_EQ(run.end.at("reason"), "budget");
    const int64_t used = run.end.at(samples ? "samples" : "oracle_calls").at("all");
    EXPECT_LE(used, 1500);
    EXPECT_GT(used, 1500 - 20);  // a step costs 12 of either
    // The schedule is as long as the run.
    EXPECT_NEAR(run.end.at("schedule_steps").get<double>(), run.end.at("steps").get<double>(), 1);
    EXPECT_EQ(run.rows.back().at("step"), run.end.at("steps"));
  }
  // Twice the cost of a step, half the steps.
  const Played cheap = played(contest, {.oracle_calls = 4000}, {"neumann_terms=3"});
  const Played dear = played(contest, {.oracle_calls = 4000}, {"neumann_terms=7"});
  EXPECT_NEAR(cheap.end.at("steps").get<double>() / dear.end.at("steps").get<double>(), 9.0 / 5, 0.02);
}

// A schedule that is too long never ends; the cost of random truncation is the expected one.
TEST(Comparison, SchedulesAreAsLongAsRunsForEverySolver) {
  KnownContest contest({.problem = "quadratic"});
  for (const SolverEntry& entry : solver_registry()) {
    for (const bool samples : {false, true}) {
      SCOPED_TRACE(entry.name + (samples ? ", samples" : ", calls"));
      const Budget budget{.samples = samples ? 1000 : 0, .oracle_calls = samples ? 0 : 1000};
      const Played run = played(contest, budget, {"schedule=cosine"}, 1, entry.name);
      const auto steps = run.end.at("steps").get<double>(),
                 planned = run.end.at("schedule_steps").get<double>();
      // p is uniform in {0, ..., 9}, standard deviation 2.87; a step costs 3 + p calls and samples (SUSTAIN twice the
      // calls): 4.5 standard deviations over the run.
      const double error =
          entry.random_estimate ? 4.5 * 2.87 / 7.5 / std::sqrt(steps) : 0.01;  // a period may be cut
      EXPECT_NEAR(planned, steps, 1 + error * steps);
    }
  }
}

TEST(Comparison, PlansSamplesWhereTheHessianNeedsNone) {
  SmallContest contest;
  contest.gives_hessian = true;
  const Played run = played(contest, {.samples = 900}, {"upper_step_size=0.001"}, 1, "ttsa");
  // An upper batch and two lower ones, whatever p; the start draws one.
  EXPECT_EQ(run.end.at("steps"), 299);
  EXPECT_NEAR(run.end.at("schedule_steps").get<double>(), 299, 1);
}

// A step that goes beyond the budget is undone: the run ends where one of so many steps ends.
TEST(Comparison, NoRunUsesMoreThanItsBudget) {
  KnownContest contest({.problem = "quadratic"});
  for (const SolverEntry& entry : solver_registry()) {
    for (const bool samples : {false, true}) {
      SCOPED_TRACE(entry.name + (samples ? ", samples" : ", calls"));
      const Budget budget{.samples = samples ? 500 : 0, .oracle_calls = samples ? 0 : 700};
      const Played run = played(contest, budget, {}, 1, entry.name);
      ASSERT_EQ(run.end.at("end"), "finished") << run.end.at("message");
      EXPECT_LE(run.end.at(samples ? "samples" : "oracle_calls").at("all"), samples ? 500 : 700);
      const Played same = played(contest, {.steps = run.end.at("steps")}, {}, 1, entry.name);
      EXPECT_EQ(run.rows.back().at("metrics"), same.rows.back().at("metrics"));
      EXPECT_EQ(run.end.at("oracle_calls"), same.end.at("oracle_calls"));
      EXPECT_EQ(run.end.at("samples"), same.end.at("samples"));
    }
  }
}

TEST(Comparison, ABudgetWithoutAStepIsSaid) {
  KnownContest contest({.problem = "quadratic"});
  const Played run = played(contest, {.samples = 60}, {}, 1, "vrbo");
  EXPECT_EQ(run.end.at("end"), "failed");
  EXPECT_CONTAINS(run.end.at("message").get<std::string>(),
                  "not one step fits into the budget of 60 samples: with the first, 133 samples");
  EXPECT_TRUE(run.end.at("result").is_null());
}

TEST(Comparison, TimeEndsARun) {
  KnownContest contest({.problem = "quadratic"});
  const Played run = played(contest, {.max_seconds = 0.2});
  EXPECT_EQ(run.end.at("reason"), "budget");
  EXPECT_LE(run.end.at("seconds").get<double>(), 0.2);
  EXPECT_GT(run.end.at("steps").get<int64_t>(), 1);
}

TEST(Comparison, SameSeedSameRunFromTheSameStart) {
  KnownContest contest({.problem = "quadratic", .noise = 0.1});
  const auto trace = [&](uint64_t seed, const std::vector<std::string>& set) {
    std::vector<Json> metrics;
    for (const Json& row : played(contest, {.steps = 30}, set, seed).rows)
      metrics.push_back(row.at("metrics"));
    return metrics;
  };
  const auto first = trace(4, {});
  EXPECT_EQ(trace(4, {}), first);
  EXPECT_NE(trace(5, {}), first);
  EXPECT_EQ(trace(4, {"upper_step_size=0.1"}).front(), first.front());
  EXPECT_NE(trace(4, {"upper_step_size=0.1"}).back(), first.back());
}

// Where nothing is random, other seeds tell which digits a billionth more at the start decides.
TEST(Comparison, SeedsNudgeTheStartWhereOraclesAreExact) {
  KnownContest exact({.problem = "quadratic", .seed = 3}),
      noisy({.problem = "quadratic", .noise = 0.1, .seed = 3});
  const auto start = [](Contest& contest, uint64_t seed) {
    return contest.attempt(seed)->measure(0).at("gradient_norm").get<double>();
  };
  EXPECT_EQ(start(exact, 3), start(noisy, 3));
  EXPECT_EQ(start(noisy, 4), start(noisy, 3));
  EXPECT_NE(start(exact, 4), start(exact, 3));
  EXPECT_NE(start(exact, 4), start(exact, 5));
  EXPECT_NEAR(start(exact, 4) / start(exact, 3), 1, 1e-7);
  EXPECT_EQ(exact.facts().traits.noise, Noise::none);
  EXPECT_EQ(noisy.facts().traits.noise, Noise::any);
  KnownContest box({.problem = "box"});  // a nudge does not leave the set
  EXPECT_NO_THROW(played(box, {.steps = 1}, {}, 9));
}

TEST(Comparison, StartAndFieldsOfKnownProblems) {
  KnownContest contest({.problem = "p1", .fields = {{"dim", "3"}}, .start = {1, 2, 3}});
  const Played run = played(contest, {.steps = 1});
  torch::Tensor x = torch::tensor({1.0, 2.0, 3.0}, torch::kFloat64);
  const double norm = (2 * torch::sinh(2 * x) + torch::cos(x)).norm().item<double>();
  EXPECT_NEAR(run.rows.front().at("metrics").at("gradient_norm").get<double>(), norm, 1e-9 * norm);
  EXPECT_CONTAINS(message_of<InputError>([] {
                    KnownContest({.problem = "p1", .start = {1, 2}});
                  }),
                  "2 values, but x has 4 coordinates");
  EXPECT_CONTAINS(message_of<InputError>([] { KnownContest({.problem = "none"}); }),
                  "there is no problem 'none'");
}

TEST(Comparison, DivergedRunKeepsItsRows) {
  KnownContest contest({.problem = "p1"});
  const Played run = played(contest, {.steps = 200}, {"upper_step_size=500"});
  EXPECT_EQ(run.end.at("end"), "diverged");
  EXPECT_EQ(run.end.at("reason"), "nonfinite");
  EXPECT_TRUE(run.end.at("result").is_null());
  EXPECT_EQ(run.rows.front().at("step"), 0);
}

TEST(Comparison, RunWithoutAFiniteMetricHasDiverged) {
  SmallContest contest;
  contest.metric = [](double x) { return x < 1 ? std::nan("") : x; };
  const Played run = played(contest, {.steps = 5});
  EXPECT_EQ(run.end.at("end"), "diverged");
  EXPECT_EQ(run.end.at("reason"), "metric_not_finite");
}

TEST(Comparison, RefusalToStartIsReported) {
  SmallContest contest;
  contest.curvature = -1;  // no automatic step size
  for (const Budget& budget : {Budget{.steps = 5}, Budget{.oracle_calls = 50}}) {
    const Played run = played(contest, budget);
    EXPECT_EQ(run.end.at("end"), "failed");
    EXPECT_CONTAINS(run.end.at("message").get<std::string>(), "curvature");
  }
}

// ---- results ----

/// A finished run with the metric "m" along steps 0, 10, 20, ...
Trace run_with(const std::vector<double>& course, const std::string& end = "finished") {
  Trace trace;
  trace.rows.push_back(
      {{"run", {{"random_estimate", false}, {"trial", 0}, {"seed", 0}, {"options", Json::object()}}}});
  int64_t step = 0;
  for (const double value : course) {
    trace.rows.push_back({{"step", step}, {"metrics", {{"m", value}}}});
    step += 10;
  }
  Json result = nullptr;
  if (end == "finished") result = Json{{"m", course.back()}};
  trace.rows.push_back({{"end", end},
                        {"message", "why"},
                        {"start", course.front()},
                        {"swing", nullptr},
                        {"rise", nullptr},
                        {"steps", step},
                        {"seconds", 1.5},
                        {"samples", {{"all", 3}}},
                        {"oracle_calls", {{"all", 4}}},
                        {"solver_options", Json::object()},
                        {"result", result}});
  return trace;
}

CompetitorRuns runs_of(const std::string& label, const std::vector<double>& values, int64_t diverged = 0,
                       const std::string& gaps = "g is flat") {
  CompetitorRuns c{.competitor = {label, "adambo", {}}, .trials = {}, .runs = {}};
  for (const double value : values) c.runs.push_back(run_with({9, value}));
  for (int64_t i = 0; i < diverged; ++i) c.runs.push_back(run_with({1, 2}, "diverged"));
  for (Trace& run : c.runs) run.rows.front()["run"]["theory_gaps"] = gaps;
  return c;
}

Comparison comparison_of(std::vector<CompetitorRuns> competitors) {
  Comparison c{.options = {},
               .facts = {.task = "test",
                         .title = "test",
                         .metric = {.key = "m", .name = "m"},
                         .tuning_metric = {.key = "m", .name = "m"},
                         .further = {},
                         .traits = {.noise = Noise::any},
                         .seeds_mean = ""},
               .competitors = std::move(competitors)};
  c.options.seeds = static_cast<int64_t>(c.competitors.front().runs.size());
  return c;
}

TEST(Comparison, TableRanksAndTellsWhatIsDistinguishable) {
  // Paired by seed, b is always 0.1 behind a; c is like a on the whole; d lost a run, with the best mean.
  const Json summary = summarize(comparison_of({runs_of("c", {1.2, 1.9, 3.1}), runs_of("b", {1.1, 2.11, 3.1}),
                                                runs_of("d", {0.1, 0.1}, 1, ""), runs_of("a", {1, 2, 3})}));
  const Json& table = summary.at("table");
  ASSERT_EQ(table.size(), 4U);
  EXPECT_EQ(table[0].at("competitor"), "a");
  EXPECT_EQ(table[1].at("competitor"), "c");
  EXPECT_EQ(table[2].at("competitor"), "b");
  EXPECT_EQ(table[3].at("competitor"), "d");
  EXPECT_EQ(table[3].at("rank"), 4);
  EXPECT_EQ(table[3].at("diverged"), 1);
  EXPECT_EQ(table[3].at("messages"), Json({"why"}));
  EXPECT_FALSE(table[3].at("out_of_theory").get<bool>());
  EXPECT_TRUE(table[0].at("out_of_theory").get<bool>());
  EXPECT_EQ(summary.at("best"), "a");
  EXPECT_EQ(summary.at("not_distinguishable"), Json({"c"}));
  EXPECT_DOUBLE_EQ(table[0].at("mean").get<double>(), 2);
  EXPECT_NEAR(table[0].at("interval")[1].get<double>(), 2 + 4.302653 / std::sqrt(3.0), 1e-5);
  EXPECT_NEAR(table[0].at("interval")[0].get<double>(), 2 - 4.302653 / std::sqrt(3.0), 1e-5);  // uncut

  const std::string text = table_text(summary);
  EXPECT_CONTAINS(text, "Not distinguishable from it");
  EXPECT_CONTAINS(text, "2 of 3 (1 diverged)");
  EXPECT_CONTAINS(text, "out of the theory, †: c, b, a (g is flat)");
  EXPECT_CONTAINS(table_tsv(summary), "1\ta\tadambo\t2.0\t-0.48");
  EXPECT_CONTAINS(text,
                  "Behind it by more than chance (95 % for all differences together, paired by seed): b.");
  EXPECT_CONTAINS(text, "With lost runs: d.");
}

// Differences of 0.8, 1 and 1.2: 1 -+ 0.50 between two solvers. The best of five is chosen by the same runs, and the
// interval of each difference is that of 1 - 0.05 / 10: 1 -+ 1.63.
TEST(Comparison, DifferencesToTheBestHoldTogether) {
  const CompetitorRuns a = runs_of("a", {1, 2, 3}), b = runs_of("b", {1.8, 3, 4.2});
  const auto interval_of = [](const Json& summary) {
    for (const Json& entry : summary.at("table")) {
      if (entry.at("competitor") == "b") return entry.at("difference_to_best").at("interval");
    }
    return Json();
  };
  const Json two = summarize(comparison_of({a, b}));
  EXPECT_NEAR(interval_of(two)[0].get<double>(), 1 - 4.302653 * 0.2 / std::sqrt(3.0), 1e-5);
  EXPECT_EQ(two.at("not_distinguishable"), Json::array());
  const Json five = summarize(comparison_of(
      {a, b, runs_of("c", {11, 12, 13}), runs_of("d", {21, 22, 23}), runs_of("e", {31, 32, 33})}));
  EXPECT_NEAR(interval_of(five)[0].get<double>(), 1 - 14.089 * 0.2 / std::sqrt(3.0), 1e-3);
  EXPECT_EQ(five.at("not_distinguishable"), Json({"b"}));
}

/// One without randomness, and its values.
Comparison exact_comparison(std::vector<CompetitorRuns> competitors) {
  Comparison c = comparison_of(std::move(competitors));
  c.facts.traits.noise = Noise::none;
  c.facts.metric.log_scale = true;
  return c;
}

TEST(Comparison, ChanceIsNotSpokenOfWhereNothingIsRandom) {
  Comparison c = exact_comparison({runs_of("a", {1, 1, 1}), runs_of("b", {1 + 2e-16, 1 + 4e-16, 1 + 2e-16}),
                                   runs_of("c", {1.5, 1.5, 1.5001}), runs_of("d", {1, 1.2, 0.9})});
  const Json summary = summarize(c);
  const std::string text = table_text(summary);
  EXPECT_EQ(text.find("chance"), std::string::npos) << text;
  EXPECT_CONTAINS(text, "Equal to it in every digit that means something: b, d.");
  EXPECT_CONTAINS(text, "Behind it, where nothing is random: c.");
  EXPECT_EQ(summary.at("not_distinguishable"), Json({"b", "d"}));
  for (const Json& entry : summary.at("table")) EXPECT_TRUE(entry.at("interval").is_null());
  // A solver with a random estimate has an interval there too.
  for (Trace& run : c.competitors[3].runs) run.rows.front()["run"]["random_estimate"] = true;
  const Json mixed = summarize(c);
  EXPECT_FALSE(mixed.at("table")[2].at("interval").is_null());
  EXPECT_CONTAINS(table_text(mixed), "Not distinguishable from it (95 % for all differences together");
  // Rounding is no difference, though it is the same in all runs.
  const Json tiny = summarize(exact_comparison({runs_of("a", {3e-16, 3e-16}), runs_of("b", {5e-16, 5e-16})}));
  EXPECT_EQ(tiny.at("not_distinguishable"), Json({"b"}));
  Comparison noisy = comparison_of({runs_of("a", {3e-16, 3e-16}), runs_of("b", {5e-16, 5e-16})});
  EXPECT_EQ(summarize(noisy).at("not_distinguishable"), Json({"b"}));
}

TEST(Comparison, DigitsThatANudgeDecidesAreNotShown) {
  const auto shown_mean = [](const std::vector<double>& values) {
    return summarize(exact_comparison({runs_of("a", values)})).at("table")[0].at("shown").get<std::string>();
  };
  EXPECT_EQ(shown_mean({0.001234, 0.001234}), "0.00123");
  EXPECT_EQ(shown_mean({0.0012341, 0.0012349}), "0.00123");
  EXPECT_EQ(shown_mean({0.00120, 0.00124}), "0.0012");
  EXPECT_EQ(shown_mean({0.0012, 0.0018}), "0.002");
  EXPECT_EQ(shown_mean({0.001, 0.004}), "~0.003");
  EXPECT_EQ(shown_mean({0.0, 0.0}), "0");
  const Json noisy = summarize(comparison_of({runs_of("a", {0.001, 0.004})}));
  EXPECT_EQ(noisy.at("table")[0].at("shown"), "0.0025");  // beside an interval
}

TEST(Comparison, NoNearerAndOscillatingAreVerdicts) {
  CompetitorRuns still = runs_of("still", {5, 5}), wild = runs_of("wild", {2, 2}),
                 far = runs_of("far", {9, 12});
  const auto moving = [](CompetitorRuns& c, size_t run, double swing, double rise) {
    c.runs[run].rows.back()["swing"] = swing;
    c.runs[run].rows.back()["rise"] = rise;
  };
  moving(still, 0, 3, 0.1);  // still falling
  moving(still, 1, 2.4, 2.4);
  moving(wild, 0, 1.5, 1.1);
  moving(wild, 1, 1.5, 0.9);
  moving(far, 0, 0.01, 0.01);
  moving(far, 1, 0.01, 0.01);
  const Json summary = summarize(comparison_of({still, wild, far}));
  const Json& table = summary.at("table");
  EXPECT_EQ(table[0].at("competitor"), "wild");
  EXPECT_EQ(table[0].at("oscillating"), 1);
  EXPECT_EQ(table[0].at("no_nearer"), 0);
  EXPECT_DOUBLE_EQ(table[0].at("swing").get<double>(), 1.5);
  EXPECT_EQ(table[1].at("oscillating"), 0);
  EXPECT_EQ(table[2].at("no_nearer"), 2);  // 9 is the start
  const std::string text = table_text(summary);
  EXPECT_CONTAINS(text, "note: end no nearer than they started: far\n");
  EXPECT_CONTAINS(text,
                  "note: still oscillating at the end, so that their mean says little: wild (1 of 2 runs)\n");
  EXPECT_EQ(text.find("No solver ends nearer"), std::string::npos);
  EXPECT_CONTAINS(table_text(summarize(comparison_of({far}))), "No solver ends nearer than it started.");
  // A run without a last tenth has no swing, and the table no column for it.
  EXPECT_EQ(table_text(summarize(comparison_of({runs_of("a", {1, 2})}))).find("swing"), std::string::npos);
}

TEST(Comparison, ARunThatOscillatesIsSeen) {
  KnownContest contest({.problem = "quadratic"});
  const Played wild =
      played(contest, {.steps = 300}, {"upper_step_size=0.5", "schedule=constant"}, 0, "slip");
  const Played calm = played(contest, {.steps = 300}, {"upper_step_size=0.5", "schedule=cosine"}, 0, "slip");
  EXPECT_GT(wild.end.at("rise").get<double>(), 1);
  EXPECT_LT(calm.end.at("rise").get<double>(), 0.2);
}

TEST(Comparison, TerminalAndPageRoundAlike) {
  const Comparison c = comparison_of({runs_of("a", {0.123456, 0.2}), runs_of("b", {0.3, 0.45678})});
  const Json summary = summarize(c);
  const std::string page = compare_report_html(c, summary, {}), text = table_text(summary);
  for (const Json& entry : summary.at("table")) {
    const auto mean = entry.at("shown").get<std::string>();
    EXPECT_CONTAINS(text, fmt::format("  {}  ", mean));
    EXPECT_CONTAINS(page, fmt::format("<b>{}</b>", mean));
    for (const Json& value : entry.at("values"))
      EXPECT_CONTAINS(page, fmt::format(">{}<", shown(value.get<double>(), c.facts.metric)));
  }
}

TEST(Comparison, OneSeedHasNoInterval) {
  const Json summary = summarize(comparison_of({runs_of("a", {1}), runs_of("b", {2})}));
  EXPECT_TRUE(summary.at("table")[0].at("interval").is_null());
  EXPECT_EQ(summary.at("not_distinguishable"), Json({"b"}));
  EXPECT_CONTAINS(table_text(summary), "one seed");
  EXPECT_CONTAINS(table_text(summary), "One run each cannot tell whether that is chance.");
  EXPECT_EQ(table_text(summary).find("paired by seed"), std::string::npos);
}

TEST(Comparison, NothingFinished) {
  const Json summary = summarize(comparison_of({runs_of("a", {}, 2), runs_of("b", {}, 2)}));
  EXPECT_TRUE(summary.at("best").is_null());
  EXPECT_EQ(summary.at("table")[1].at("rank"), 1);
  EXPECT_CONTAINS(table_text(summary), "No run has finished.");
}

TEST(Comparison, CurvesAreMediansWithABand) {
  const Trace a = run_with({1, 3, 5}), b = run_with({2, 2}), c = run_with({9, 9}, "diverged");
  const Series series = median_and_band({&a, &b, &c}, "/step", "/metrics/m", "x");
  EXPECT_EQ(series.x, (std::vector<double>{0, 10, 20}));
  EXPECT_EQ(series.y, (std::vector<double>{2, 3, 3.5}));  // b keeps its last value, c ends at 10
  EXPECT_EQ(series.low, (std::vector<double>{1, 2, 2}));
  EXPECT_EQ(series.high, (std::vector<double>{9, 9, 5}));
  const Series alone = median_and_band({&a}, "/step", "/metrics/m", "x");
  EXPECT_EQ(alone.y, (std::vector<double>{1, 3, 5}));
  EXPECT_TRUE(alone.low.empty());
  // Between two points of a run, the straight line.
  Trace shifted = run_with({0, 10});
  shifted.rows[2]["step"] = 20;
  const Series joined = median_and_band({&a, &shifted}, "/step", "/metrics/m", "x");
  EXPECT_EQ(joined.y, (std::vector<double>{0.5, 4, 7.5}));
}

// ---- whole comparisons ----

TEST(Comparison, TrialsAndRunsAreFilesAndTheBestTrialRuns) {
  const TemporaryFolder folder;
  KnownContest contest({.problem = "quadratic"});
  // Given step sizes: automatic ones depend a little on the seed, which starts their power iteration.
  CompareOptions options{
      .competitors = parse_competitors(
          "adambo,other=adambo", {"lower_step_size=0.5", "neumann_step_size=0.5", "other.neumann_terms=2"})};
  options.seeds = 2;
  options.tune = 4;
  options.budget.steps = 40;
  std::vector<std::string> begun, said;
  const CompareResult result =
      run_comparison(contest, options, folder.path("c"),
                     {.message = [&](const std::string& line) { said.push_back(line); },
                      .begins = [&](const std::string& run) { begun.push_back(run); }});
  EXPECT_EQ(begun.size(), 12U);
  ASSERT_EQ(said.size(), 3U);
  EXPECT_EQ(said[0], "12 runs: 2 solvers, 4 trials and 2 seeds each; a run has 40 steps; one at a time");
  EXPECT_CONTAINS(said[1], "the first run took ");
  EXPECT_CONTAINS(said[1], "; 11 more at that pace: about ");
  EXPECT_CONTAINS(said[2], "the first 2 runs took ");
  EXPECT_CONTAINS(said[2], "; 10 more at that pace: about ");
  EXPECT_EQ(begun[0], "adambo, trial 0 (run 1 of 12)");
  EXPECT_EQ(begun[1], "other, trial 0 (run 2 of 12)");
  EXPECT_EQ(begun[8], "adambo, seed 0 (run 9 of 12)");
  for (const Json& entry : result.summary.at("table")) {
    const Json& trials = entry.at("tuning").at("trials");
    ASSERT_EQ(trials.size(), 4U);
    double best = std::numeric_limits<double>::infinity();
    int64_t at = 0;
    for (const Json& trial : trials) {
      const auto score = trial.at("score").get<double>();
      if (score < best) {
        best = score;
        at = trial.at("trial");
      }
      const bool fixed = entry.at("competitor") == "other" && trial.at("options").contains("neumann_terms");
      EXPECT_FALSE(fixed);
      if (trial.at("trial") == 1 || trial.at("trial") == 2) {  // that of x alone
        EXPECT_EQ(trial.at("options").size(), 1U);
        EXPECT_TRUE(trial.at("options").contains("upper_step_size"));
      }
    }
    EXPECT_EQ(entry.at("tuning").at("chosen"), at);
    EXPECT_EQ(entry.at("tuned"), trials[static_cast<size_t>(at)].at("options"));
    // Without noise and automatic step sizes the seed only nudges the start: the run repeats its trial.
    EXPECT_NEAR(entry.at("mean").get<double>(), best, 1e-5 * best);
    for (const auto& [option, value] : entry.at("tuned").items())
      EXPECT_EQ(entry.at("solver_options").at(option), value) << option;
    const Trace trial = read_trace(
        folder.path("c/runs/" + entry.at("competitor").get<std::string>() + "/trial-1/trace.jsonl"));
    const Trace run = read_trace(
        folder.path("c/runs/" + entry.at("competitor").get<std::string>() + "/seed-1/trace.jsonl"));
    EXPECT_NE(head_of(trial).at("seed"), 0);
    EXPECT_NE(head_of(trial).at("seed"), 1);
    EXPECT_EQ(head_of(run).at("seed"), 1);
  }

  // What is missing is made again, the same; the rest is left alone.
  const std::string lost = folder.path("c/runs/other/seed-1/trace.jsonl");
  const Json before = end_of(read_trace(lost)).at("result");
  fs::remove(lost);
  EXPECT_CONTAINS(message_of<InputError>([&] { replot_comparison(folder.path("c")); }), "is not complete");
  begun.clear();
  said.clear();
  const CompareResult again =
      resume_comparison(folder.path("c"), {.message = [&](const std::string& line) { said.push_back(line); },
                                           .begins = [&](const std::string& run) { begun.push_back(run); }});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(
      said[0],
      "12 runs: 2 solvers, 4 trials and 2 seeds each (11 done already); a run has 40 steps; one at a time");
  EXPECT_EQ(begun, (std::vector<std::string>{"other, seed 1 (run 12 of 12)"}));
  EXPECT_EQ(end_of(read_trace(lost)).at("result"), before);
  EXPECT_EQ(again.summary.at("best"), result.summary.at("best"));

  // From the traces alone, bit for bit.
  const std::string page = read_bytes(folder.path("c/report.html"));
  for (const char* name : {"report.html", "summary.json", "table.tsv", "steps.svg"})
    fs::remove(folder / ("c/" + std::string(name)));
  EXPECT_EQ(replot_comparison(folder.path("c")).summary, again.summary);
  EXPECT_EQ(read_bytes(folder.path("c/report.html")), page);
}

TEST(Comparison, SomeoneWhoCannotStartIsInTheTable) {
  const TemporaryFolder folder;
  SmallContest contest;
  contest.curvature = -1;
  contest.traits = {.convexity = Convexity::none, .caveat = "g is concave"};
  CompareOptions options{.competitors =
                             parse_competitors("adambo,given=adambo",
                                               {"given.lower_step_size=0.1", "given.neumann_step_size=0.1"})};
  options.seeds = 2;
  const CompareResult result = run_comparison(contest, options, folder.path("c"));
  EXPECT_TRUE(result.any_finished);
  const Json& table = result.summary.at("table");
  EXPECT_EQ(table[0].at("competitor"), "given");
  EXPECT_EQ(table[0].at("steps"), 7);  // the task's default
  EXPECT_TRUE(table[1].at("rank").is_null());
  EXPECT_EQ(table[1].at("failed"), 2);
  EXPECT_CONTAINS(table[1].at("messages")[0].get<std::string>(), "curvature");
  EXPECT_CONTAINS(read_bytes(folder.path("c/report.html")), "2 failed");
}

TEST(Comparison, RefusesWrongOptionsBeforeItWrites) {
  const TemporaryFolder folder;
  KnownContest contest({.problem = "quadratic"});
  const auto message = [&](const CompareOptions& options) {
    return message_of<InputError>([&] { run_comparison(contest, options, folder.path("c")); });
  };
  const std::vector<Competitor> one = parse_competitors("adambo", {});
  EXPECT_CONTAINS(message({}), "--solvers");
  EXPECT_CONTAINS(message({.competitors = one, .seeds = 0}), "seeds = 0: must be >= 1");
  EXPECT_CONTAINS(message({.competitors = one, .tune = -1}), "tune = -1");
  EXPECT_CONTAINS(message({.competitors = one, .budget = {.steps = -5}}), "steps = -5");
  EXPECT_CONTAINS(message({.competitors = one, .budget = {.max_seconds = std::nan("")}}), "max_seconds");
  EXPECT_FALSE(fs::exists(folder / "c"));
  folder.write("c", "a file");
  EXPECT_CONTAINS(message({.competitors = one}), "exists and is not an empty folder");
}

}  // namespace comparison_test
}  // namespace bilevel
