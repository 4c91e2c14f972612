// What every registered solver must do, whatever its algorithm. A new solver is tested here without a change.

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <sstream>

#include "bilevel/core/error.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/problem/sets.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/parameter_name.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using nlohmann::json;

class Conformance : public ::testing::TestWithParam<SolverEntry> {
 protected:
  std::unique_ptr<Solver> make() const { return GetParam().make(); }

  /// With one option set; none for an empty name.
  std::unique_ptr<Solver> make_with(const std::string& name, const json& value) const {
    auto solver = make();
    if (!name.empty()) fields_of(*solver).set(name, value);
    return solver;
  }

  /// A solver with the given values of those options that it has.
  std::unique_ptr<Solver> with(const std::map<std::string, json>& values) const {
    auto solver = make();
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      if (values.contains(field.name)) field.set(values.at(field.name));
    }
    return solver;
  }

  /// A solver in its form for a strongly convex g, with this upper step size, a diminishing schedule, and at
  /// most three steps of an inner loop, which keeps double loops fast, and batches of a mean.
  std::unique_ptr<Solver> stepping(double upper_step_size) const {
    auto solver = with({{"upper_step_size", upper_step_size}, {"schedule", "cosine"}});
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      if (field.name != "lower_steps" && field.name != "linear_steps" && field.name != "refresh_batches")
        continue;
      if (field.get().get<int64_t>() > 3) field.set(3);
    }
    fields_of(*solver).from_json(GetParam().strongly_convex_options);
    return solver;
  }
};

bool has_field(Solver& solver, const std::string& name) { return fields_of(solver).find(name) != nullptr; }

/// x and y after every step.
using Path = std::vector<std::pair<torch::Tensor, torch::Tensor>>;

Path path_of(const Problem& problem, Solver& solver, RunOptions options) {
  Path path;
  options.callback = [&](const MadeStep&, Oracles& oracles) {
    path.emplace_back(oracles.x().flat().clone(), oracles.y().flat().clone());
    return true;
  };
  const Result result = run(problem, solver, options);
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
  return path;
}

INSTANTIATE_TEST_SUITE_P(Registry, Conformance, ::testing::ValuesIn(solver_registry()), NameOfParameter());

void expect_same(const std::vector<TraceRow>& found, const std::vector<TraceRow>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].step, expected[i].step);
    EXPECT_EQ(found[i].upper_loss, expected[i].upper_loss);
    EXPECT_EQ(found[i].hypergradient_norm, expected[i].hypergradient_norm);
    EXPECT_EQ(found[i].linear_residual, expected[i].linear_residual);
    EXPECT_EQ(found[i].oracle_calls, expected[i].oracle_calls);
  }
}

TEST_P(Conformance, IsFoundByItsName) {
  EXPECT_EQ(make()->name(), GetParam().name);
  EXPECT_EQ(make_solver(GetParam().name)->name(), GetParam().name);
  EXPECT_FALSE(GetParam().summary.empty());
}

TEST_P(Conformance, SameSeedSameTrace) {
  for (const double noise : {0.0, 0.2}) {
    const Quadratic first({.noise = noise}), second({.noise = noise});
    const Result a = run(first.problem(), *make(), {.max_steps = 6, .seed = 4});
    const Result b = run(second.problem(), *make(), {.max_steps = 6, .seed = 4});
    expect_same(b.trace, a.trace);
    EXPECT_TRUE(torch::equal(first.x, second.x));
    EXPECT_TRUE(torch::equal(first.y, second.y));
  }
}

TEST_P(Conformance, AnotherSeedIsAnotherTrace) {
  const Quadratic noisy({.noise = 0.2}), noisy_again({.noise = 0.2});
  run(noisy.problem(), *make(), {.max_steps = 6, .seed = 4});
  run(noisy_again.problem(), *make(), {.max_steps = 6, .seed = 5});
  EXPECT_FALSE(torch::equal(noisy.y, noisy_again.y));
  const Ridge batches, batches_again;
  const Result a = run(batches.problem(), *make(), {.max_steps = 6, .seed = 4});
  const Result b = run(batches_again.problem(), *make(), {.max_steps = 6, .seed = 5});
  EXPECT_NE(a.trace.back().upper_loss, b.trace.back().upper_loss);
}

TEST_P(Conformance, ACheckpointContinuesBitForBit) {
  const TemporaryFolder folder;
  constexpr int64_t kSteps = 7;
  const Ridge whole;
  const Result expected = run(whole.problem(), *make(), {.max_steps = kSteps, .seed = 4});
  for (const int64_t k : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{5}, kSteps}) {
    std::atomic<bool> interrupt = k == 0;
    RunOptions options{.max_steps = kSteps, .seed = 4, .interrupt = &interrupt, .checkpoint = folder / "c"};
    options.callback = [&](const MadeStep& row, Oracles&) { return row.step != k; };
    const Ridge first;
    Result before = run(first.problem(), *make(), options);
    ASSERT_EQ(before.steps, k);
    const Ridge second(0.4);
    const Result after =
        run(second.problem(), *make(), {.max_steps = kSteps, .checkpoint = folder / "c", .resume = true});
    before.trace.insert(before.trace.end(), after.trace.begin(), after.trace.end());
    expect_same(before.trace, expected.trace);
    EXPECT_TRUE(torch::equal(second.x, whole.x)) << "resumed after step " << k;
    EXPECT_TRUE(torch::equal(second.y, whole.y)) << "resumed after step " << k;
    EXPECT_EQ(after.oracle_calls.steps, expected.oracle_calls.steps);
  }
}

TEST_P(Conformance, StopsAtNumbersThatAreNotFinite) {
  const TemporaryFolder folder;
  const Ridge ridge;
  const Result result = run(ridge.spoiled(12, NAN), *make(),
                            {.max_steps = 50, .checkpoint = folder / "c", .checkpoint_seconds = 0});
  EXPECT_EQ(result.reason, StopReason::nonfinite) << result.message;
  EXPECT_LT(result.steps, 50);
  for (const auto& [name, tensor] : load_safetensors((folder / "c").string()).tensors) {
    if (tensor.is_floating_point()) {
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
    }
  }
}

TEST_P(Conformance, RefusesImpossibleValuesOfEveryField) {
  const auto solver = make();
  const Fields fields = fields_of(*solver);
  EXPECT_FALSE(fields.list().empty());
  for (const Field& field : fields.list()) {
    std::vector<json> bad{json(), json::array(), json::object()};
    if (field.type == "number" || field.type == "integer" || field.type == "number|auto") {
      bad.insert(bad.end(), {"many", true, NAN, HUGE_VAL, -HUGE_VAL});
      if (field.rule.starts_with(">") || field.rule.starts_with("in [0") || field.rule.starts_with("in (0")) {
        bad.push_back(-1);
      }
      if (field.type == "integer") bad.push_back(1.5);
    } else if (field.type == "true|false") {
      bad.insert(bad.end(), {1, "yes"});
    } else {
      bad.insert(bad.end(), {1, true, "", "no such choice"});
    }
    const json before = field.get();
    for (const json& value : bad) {
      EXPECT_CONTAINS(message_of<InputError>([&] { fields.set(field.name, value); }), field.name + " = ");
      EXPECT_EQ(field.get(), before);
    }
    EXPECT_FALSE(field.meaning.empty()) << field.name;
    EXPECT_NO_THROW(fields.set(field.name, before)) << "a default must be possible";
  }
  EXPECT_THROW(fields.set("no_such_option", 1), InputError);
}

// Random truncation: the expected cost, in TheDocumentedCallsAreThoseThatTheLossesSee.
TEST_P(Conformance, CountsEqualTheDocumentedCalls) {
  constexpr int64_t kSteps = 5;
  const auto check = [&](const std::string& name, const json& value) {
    const auto solver = make_with(name, value);
    const Ridge ridge;
    OracleCounts found = run(ridge.problem(), *solver, {.max_steps = kSteps}).oracle_calls.steps;
    EXPECT_GT(found.upper_samples, 0);
    found.upper_samples = found.lower_samples = 0;  // rows are no calls
    EXPECT_EQ(found.upper_gradient + found.upper_hvp > 0, true);
    const OracleCounts documented = GetParam().documented_calls(*solver, kSteps);
    EXPECT_EQ(documented, GetParam().documented_calls(*make_with(name, value), kSteps))
        << "the documented cost must not depend on a run";
    if (GetParam().random_estimate) found.hvp = documented.hvp;
    if (GetParam().calls_are_a_bound) {
      for (const auto kind : {&OracleCounts::lower_gradient, &OracleCounts::hvp})
        EXPECT_LE(found.*kind, documented.*kind) << name << " = " << value;
      return;
    }
    EXPECT_EQ(found, documented) << name << " = " << value;
  };
  check("", {});
  const auto solver = make();
  const Fields fields = fields_of(*solver);
  for (const Field& field : fields.list()) {
    if (field.type == "integer") {
      for (const int64_t value : {1, 2, 3, 6}) check(field.name, value);
    } else if (field.type == "true|false") {
      for (const bool value : {false, true}) check(field.name, value);
    } else if (field.type.find('|') != std::string::npos && field.type != "number|auto") {
      std::istringstream choices(field.type);
      for (std::string value; std::getline(choices, value, '|');) check(field.name, value);
    }
  }
}

/// Derivatives that a loss was asked for, counted where they are computed.
struct SeenCalls {
  int64_t values = 0;
  int64_t gradients_in_y = 0;     ///< alone, without a graph
  int64_t gradients_in_both = 0;  ///< without a graph
  int64_t gradient_graphs = 0;    ///< gradients that products may follow
  int64_t hvp = 0, cross_vjp = 0;
};

/// 1/2 x'Px + 1/2 y'Ay + x'Cy + a'y, whose derivatives are autograd functions of our own that count.
struct CountedQuadratic {
  torch::Tensor P, A, C, a;
  SeenCalls seen = {};
};

class CountedGradient : public torch::autograd::Function<CountedGradient> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, torch::Tensor x,
                                                torch::Tensor y, CountedQuadratic* q) {
    context->saved_data["q"] = reinterpret_cast<int64_t>(q);
    return {q->P.mv(x) + q->C.mv(y), q->A.mv(y) + q->C.t().mv(x) + q->a};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list v) {
    auto* q = reinterpret_cast<CountedQuadratic*>(context->saved_data["q"].toInt());
    q->seen.cross_vjp += context->needs_input_grad(0) ? 1 : 0;
    q->seen.hvp += context->needs_input_grad(1) ? 1 : 0;
    return {q->P.mv(v[0]) + q->C.mv(v[1]), q->C.t().mv(v[0]) + q->A.mv(v[1]), {}};
  }
};

class CountedValue : public torch::autograd::Function<CountedValue> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor x, torch::Tensor y,
                               CountedQuadratic* q) {
    ++q->seen.values;
    context->saved_data["q"] = reinterpret_cast<int64_t>(q);
    context->save_for_backward({x, y});
    return 0.5 * x.dot(q->P.mv(x)) + 0.5 * y.dot(q->A.mv(y)) + x.dot(q->C.mv(y)) + q->a.dot(y);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list v) {
    auto* q = reinterpret_cast<CountedQuadratic*>(context->saved_data["q"].toInt());
    const bool in_x = context->needs_input_grad(0);
    ++(at::GradMode::is_enabled() ? q->seen.gradient_graphs
       : in_x                     ? q->seen.gradients_in_both
                                  : q->seen.gradients_in_y);
    const auto saved = context->get_saved_variables();
    const auto gradient = CountedGradient::apply(saved[0], saved[1], q);
    return {v[0] * gradient[0], v[0] * gradient[1], {}};
  }
};

// Counts that neither the solver nor the library's counters have a hand in.
TEST_P(Conformance, TheDocumentedCallsAreThoseThatTheLossesSee) {
  const SolverEntry& entry = GetParam();
  const int64_t steps = entry.random_estimate ? 400 : 25;
  const auto matrix = [](std::vector<double> v) { return torch::tensor(v, torch::kFloat64).view({2, 2}); };
  const auto check = [&](const std::string& name, const json& value) {
    SCOPED_TRACE(name + " = " + value.dump());
    const auto solver = make_with(name, value);
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {  // automatic ones take products of their own
      if (field.name.ends_with("step_size")) field.set(0.01);
    }
    const torch::Tensor x = torch::ones({2}, torch::kFloat64).requires_grad_();
    const torch::Tensor y = torch::ones({2}, torch::kFloat64).requires_grad_();
    CountedQuadratic upper{.P = matrix({2, 0, 0, 1}),
                           .A = matrix({1, 0.2, 0.2, 1}),
                           .C = matrix({0.1, 0, 0.2, 0.1}),
                           .a = torch::ones({2}, torch::kFloat64)};
    CountedQuadratic lower = upper;
    const Problem problem{.upper = {.parameters = {x},
                                    .loss = [&](const Batch&) { return CountedValue::apply(x, y, &upper); },
                                    .batches = no_data()},
                          .lower = {.parameters = {y},
                                    .loss = [&](const Batch&) { return CountedValue::apply(x, y, &lower); },
                                    .batches = no_data()}};
    run(problem, *solver, {.max_steps = steps, .callback = [&](const MadeStep& row, Oracles&) {
                             if (row.step == 1) upper.seen = lower.seen = {};  // the probe and the start
                             return true;
                           }});
    const OracleCounts first = entry.documented_calls(*solver, 1),
                       all = entry.documented_calls(*solver, steps);
    const auto documented = [&](int64_t OracleCounts::*kind) { return all.*kind - first.*kind; };
    const int64_t gradients = documented(&OracleCounts::lower_gradient);
    EXPECT_GE(gradients, lower.seen.gradients_in_y);
    EXPECT_LE(gradients, lower.seen.gradients_in_y + lower.seen.gradient_graphs);
    EXPECT_EQ(documented(&OracleCounts::lower_joint_gradient), lower.seen.gradients_in_both);
    EXPECT_EQ(documented(&OracleCounts::cross_vjp), lower.seen.cross_vjp);
    // grad_x F and grad_y F count as one, also where each has a batch of its own.
    const int64_t values = upper.seen.values - 1;  // but for the objective at the end of the run
    EXPECT_LE(documented(&OracleCounts::upper_gradient), values);
    EXPECT_GE(2 * documented(&OracleCounts::upper_gradient), values);
    EXPECT_EQ(documented(&OracleCounts::upper_hvp), upper.seen.hvp);
    EXPECT_EQ(documented(&OracleCounts::upper_cross_vjp), upper.seen.cross_vjp);
    if (entry.calls_are_a_bound) {
      EXPECT_GE(documented(&OracleCounts::hvp), lower.seen.hvp);
      return;
    }
    if (!entry.random_estimate) {
      EXPECT_EQ(documented(&OracleCounts::hvp), lower.seen.hvp);
      return;
    }
    // A step evaluates its draw of p, uniform in {0, ..., Q-1}, at as many points as it takes cross products.
    const auto draws = static_cast<double>(steps - 1);
    const double points = static_cast<double>(documented(&OracleCounts::cross_vjp)) / draws;
    const double terms = fields_of(*solver).to_json().at("neumann_terms");
    EXPECT_NEAR(static_cast<double>(documented(&OracleCounts::hvp)), static_cast<double>(lower.seen.hvp),
                4.5 * points * std::sqrt(draws * (terms * terms - 1) / 12) + 1);
  };
  check("", {});
  const auto solver = make();
  const Fields fields = fields_of(*solver);
  for (const Field& field : fields.list()) {
    if (field.type != "integer") continue;
    for (const int64_t value : {1, 2, 6}) check(field.name, value);
  }
}

/// Calls an iteration as the papers have them, by the options: grad_y G, grad F, H v, J v; the expected ones
/// where they are random.
using CallsOfAPaper = std::function<std::array<double, 4>(const json& options)>;

const std::map<std::string, CallsOfAPaper>& calls_of_the_papers() {
  const auto single_loop = [](const json&) { return std::array<double, 4>{1, 1, 1, 1}; };
  static const std::map<std::string, CallsOfAPaper> calls{
      {"adambo",
       [](const json& o) {
         return std::array<double, 4>{1, 1, o["neumann_terms"].get<double>() - 1, 1};
       }},
      {"vr-adambo",
       [](const json& o) {
         return std::array<double, 4>{1, 2, 2 * (o["neumann_terms"].get<double>() - 1), 2};
       }},
      {"accbo",
       [](const json& o) {
         return std::array<double, 4>{1, 2, 2 * (o["neumann_terms"].get<double>() - 1), 2};
       }},
      {"bo-rep",
       [](const json& o) {
         return std::array<double, 4>{o["lower_steps"].get<double>() / o["period"].get<double>(), 1, 1, 1};
       }},
      {"slip", single_loop},
      {"sl-bamm", single_loop},
      {"soba", single_loop},
      {"saba", single_loop},
      {"ma-soba", single_loop},
      {"stocbio",
       [](const json& o) {
         return std::array<double, 4>{o["lower_steps"].get<double>(), 1, o["neumann_terms"].get<double>() - 1,
                                      1};
       }},
      {"ttsa",
       [](const json& o) {
         return std::array<double, 4>{1, 1, (o["neumann_terms"].get<double>() - 1) / 2, 1};
       }},
      {"sustain",
       [](const json& o) {
         return std::array<double, 4>{2, 2, o["neumann_terms"].get<double>() - 1, 2};
       }},
      {"amigo",
       [](const json& o) {
         return std::array<double, 4>{o["lower_steps"].get<double>(), 1, o["linear_steps"].get<double>(), 1};
       }},
  };
  return calls;
}

// The first iterations may differ (initial estimates), so the difference between two lengths counts.
TEST_P(Conformance, TheDocumentedCallsAreThoseOfThePaper) {
  const auto found = calls_of_the_papers().find(GetParam().name);
  if (found == calls_of_the_papers().end()) GTEST_SKIP() << "no numbers of a paper are known";
  const auto solver = make();
  const auto paper = found->second(fields_of(*solver).to_json());
  constexpr int64_t kSteps = 60;  // a multiple of every period
  const OracleCounts more = GetParam().documented_calls(*solver, 2 * kSteps);
  const OracleCounts less = GetParam().documented_calls(*solver, kSteps);
  const auto per_step = [&](int64_t OracleCounts::*kind) {
    return static_cast<double>(more.*kind - less.*kind) / kSteps;
  };
  EXPECT_DOUBLE_EQ(per_step(&OracleCounts::lower_gradient), paper[0]);
  EXPECT_DOUBLE_EQ(per_step(&OracleCounts::upper_gradient), paper[1]);
  EXPECT_DOUBLE_EQ(per_step(&OracleCounts::hvp), paper[2]);
  EXPECT_DOUBLE_EQ(per_step(&OracleCounts::cross_vjp), paper[3]);
}

// An encoder of its own and a constant lower Hessian save passes and batches, and change nothing else.
TEST_P(Conformance, EncodersAndLowerHessiansChangeNothing) {
  for (const int64_t batch_size : {99, 4}) {
    Path plain;
    for (const bool split : {false, true}) {
      for (const bool hessian : {false, true}) {
        const auto solver = make();
        if (batch_size == 4) {  // the curvature of random batches depends on which ones are drawn
          const Fields fields = fields_of(*solver);
          for (const Field& field : fields.list()) {
            if (field.type == "number|auto") field.set(0.1);
          }
        }
        const SharedEncoder encoder;
        const Path path =
            path_of(encoder.problem(split, hessian, batch_size), *solver, {.max_steps = 12, .seed = 4});
        if (plain.empty()) plain = path;
        ASSERT_EQ(path.size(), plain.size());
        for (size_t k = 0; k < path.size(); ++k) {
          // Float64, some thousand operations, moments that are divided by their own roots.
          EXPECT_LT(distance(path[k].first, plain[k].first), 1e-10) << "x after step " << k + 1;
          EXPECT_LT(distance(path[k].second, plain[k].second), 1e-10) << "y after step " << k + 1;
        }
        EXPECT_GT(distance(path.back().first, path.front().first), 0) << "x moved";
        if (::testing::Test::HasFailure()) FAIL() << "encode " << split << ", lower_hessian " << hessian;
      }
    }
  }
}

// The solution of P1 is negative, so on [0.1, 1.2] every method ends at 0.1, and is feasible on the way.
TEST_P(Conformance, EveryStepEndsInTheFeasibleSet) {
  const P1 p1(4, 1.0);
  Problem problem = p1.problem();
  problem.upper.project = box(0.1, 1.2);
  const Path path = path_of(problem, *stepping(0.05), {.max_steps = 150});
  for (size_t k = 0; k < path.size(); ++k) {
    ASSERT_GE(path[k].first.min().item<double>(), 0.1) << "after step " << k + 1;
    ASSERT_LE(path[k].first.max().item<double>(), 1.2) << "after step " << k + 1;
  }
  EXPECT_LT(distance(path.back().first, torch::full({4}, 0.1, torch::kFloat64)), 1e-12);
}

TEST_P(Conformance, StepSizesHaveSearchRanges) {
  const auto solver = make();
  EXPECT_TRUE(has_field(*solver, "upper_step_size"));
  const Fields fields = fields_of(*solver);
  const auto first =
      std::ranges::find_if(fields.list(), [](const Field& field) { return field.range.has_value(); });
  EXPECT_EQ(first->name, "upper_step_size") << "a random search looks for the first one in every trial";
  for (const Field& field : fields.list()) {
    if (field.name.ends_with("_step_size") || field.name == "momentum_weight") {
      EXPECT_TRUE(field.range.has_value()) << field.name;
    }
    if (!field.range) continue;
    const auto [low, high] = *field.range;
    EXPECT_GT(low, 0) << field.name << ": the search is uniform in the logarithm";
    EXPECT_LT(low, high) << field.name;
    EXPECT_TRUE(field.type == "number" || field.type == "integer" || field.type == "number|auto")
        << field.name;
    for (const double value : {low, std::sqrt(low * high), high}) {
      const json given = field.type == "integer" ? json(std::llround(value)) : json(value);
      EXPECT_NO_THROW(field.set(given)) << field.name;
      EXPECT_EQ(field.get(), given);
    }
  }
}

/// How far x goes in steps 2, 3, ... (iterations k = 1, 2, ...) where the hypergradient is the same everywhere.
std::vector<double> step_lengths(Solver& solver, int64_t steps, double scale = 1) {
  const torch::Tensor x = torch::ones({2}, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::ones({2}, torch::kFloat64).requires_grad_();
  const Problem problem{.upper = {.parameters = {x},
                                  .loss = [=](const Batch&) { return scale * (x.sum() + 0.1 * y.sum()); },
                                  .batches = no_data()},
                        .lower = {.parameters = {y},
                                  .loss = [=](const Batch&) { return 0.5 * (y - x).square().sum(); },
                                  .batches = no_data()}};
  const Path path = path_of(problem, solver, {.max_steps = steps});
  std::vector<double> lengths;
  for (size_t k = 1; k < path.size(); ++k) {
    lengths.push_back((path[k].first - path[k - 1].first).norm().item<double>());
  }
  return lengths;
}

TEST_P(Conformance, MovesXAsItsEntrySays) {
  const auto length = [&](double scale) {
    return step_lengths(*with({{"upper_step_size", 0.01}, {"schedule", "constant"}}), 60, scale).back();
  };
  const double once = length(1), thrice = length(3);
  switch (GetParam().movement) {
    case Movement::plain:
      EXPECT_NEAR(thrice / once, 3, 0.1);
      break;
    case Movement::normalized:
      EXPECT_NEAR(once, 0.01, 1e-3);
      EXPECT_NEAR(thrice, 0.01, 1e-3);
      break;
    case Movement::adaptive:  // both coordinates
      EXPECT_NEAR(once, std::sqrt(2) * 0.01, 1e-3);
      EXPECT_NEAR(thrice, std::sqrt(2) * 0.01, 1e-3);
      break;
  }
}

// A step on x is as long as its step size says.
TEST_P(Conformance, EveryScheduleIsAcceptedAndFollowed) {
  const auto lengths_of = [&](const std::string& schedule) {
    return step_lengths(*with({{"upper_step_size", 0.01},
                               {"schedule", schedule},
                               {"lower_schedule", "constant"},
                               {"linear_schedule", "constant"}}),
                        20);
  };
  ASSERT_TRUE(has_field(*make(), "schedule"));
  const std::vector<double> constant = lengths_of("constant");
  ASSERT_GT(constant.back(), 0);
  for (const auto& [schedule, last] : std::map<std::string, double>{{"polynomial", 1 / std::sqrt(20.0)},
                                                                    {"polynomial:1", 1 / 20.0},
                                                                    {"cosine", 0.00616},
                                                                    {"warm-up", 1}}) {
    EXPECT_NEAR(lengths_of(schedule).back() / constant.back(), last, 0.05 * last) << schedule;
  }
  EXPECT_NEAR(lengths_of("warm-up:1")[8] / constant[8], 0.5, 0.05);
  EXPECT_GT(lengths_of("paper").back(), 0);
}

/// Seeds of problems that no option was tuned on.
constexpr uint64_t kSeeds[] = {20301, 20302};

TEST_P(Conformance, ConvergesOnQuadratics) {
  for (const uint64_t seed : kSeeds) {
    const Quadratic quadratic({.lower_curvature_min = 0.5, .lower_curvature_max = 1, .seed = seed});
    const torch::Tensor start = quadratic.x.detach().clone();
    const Result result =
        run(quadratic.problem(), *stepping(0.1), {.max_steps = 400, .seed = seed, .trace_every = 400});
    EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
    const torch::Tensor x = quadratic.x.detach();
    // A random estimate has a standard deviation of about sqrt(Q) ||J z||, more than the gradient at the start,
    // which the last steps average: over 300 random problems the 99 % quantiles of the two quotients below, for
    // SUSTAIN and TTSA, were 0.27 and 0.22.
    const bool random = GetParam().random_estimate;
    EXPECT_LT(quadratic.gradient(x).norm().item<double>(),
              (random ? 0.4 : 0.02) * quadratic.gradient(start).norm().item<double>())
        << "seed " << seed;
    EXPECT_LT(quadratic.value(x).item<double>(), quadratic.value(start).item<double>());
    EXPECT_LT(relative_error(quadratic.y.detach(), quadratic.best_lower(x)), random ? 0.3 : 0.05)
        << "seed " << seed;
  }
}

TEST_P(Conformance, ConvergesWhereTheUpperHessianIsUnbounded) {
  for (const uint64_t seed : kSeeds) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    const torch::Tensor x0 = 3 * torch::rand({4}, generator, torch::kFloat64) - 1.5;
    const P1 p1(std::vector<double>(x0.data_ptr<double>(), x0.data_ptr<double>() + 4));
    // Plain gradient steps must fit the steepest place, which is the start: Phi'' = c^2 cosh(c x) + ...
    // there.
    const double smoothness = p1.c * p1.c * std::cosh(p1.c * x0.abs().max().item<double>());
    const double step_size =
        GetParam().assumptions.smoothness == Smoothness::unbounded ? 0.05 : 0.5 / smoothness;
    const Result result =
        run(p1.problem(), *stepping(step_size), {.max_steps = 400, .seed = seed, .trace_every = 400});
    EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
    EXPECT_LT(p1.gradient(p1.x.detach()).norm().item<double>(),
              (GetParam().random_estimate ? 0.35 : 0.01) *  // random: the 99 % quantile was 0.22, as above
                  p1.gradient(x0).norm().item<double>())
        << "seed " << seed;
  }
}

TEST(MakeSolver, NamesTheKnownOnes) {
  const std::string message = message_of<InputError>([] { make_solver("nothing"); });
  for (const SolverEntry& entry : solver_registry()) EXPECT_CONTAINS(message, entry.name);
}

}  // namespace
}  // namespace bilevel
