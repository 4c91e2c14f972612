// What every registered solver must do, whatever its algorithm. A new solver is tested here without a change.

#include <algorithm>
#include <cmath>
#include <sstream>

#include "bilevel/core/error.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using nlohmann::json;

class Conformance : public ::testing::TestWithParam<SolverEntry> {
 protected:
  std::unique_ptr<Solver> make() const { return GetParam().make(); }

  /// A solver with `upper_step_size` as given, where it has one, and a diminishing schedule, where it has
  /// one.
  std::unique_ptr<Solver> stepping(double upper_step_size) const {
    auto solver = make();
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      if (field.name == "upper_step_size") field.set(upper_step_size);
      if (field.name == "schedule") field.set("cosine");
    }
    return solver;
  }
};

INSTANTIATE_TEST_SUITE_P(Registry, Conformance, ::testing::ValuesIn(solver_registry()),
                         [](const auto& entry) {  // the names of tests have no '-'
                           std::string name = entry.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

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
    options.callback = [&](const TraceRow& row, Oracles&) { return row.step != k; };
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

TEST_P(Conformance, CountsEqualTheDocumentedCalls) {
  constexpr int64_t kSteps = 5;
  const auto check = [&](const std::string& name, const json& value) {
    const auto solver = make();
    if (!name.empty()) fields_of(*solver).set(name, value);
    const Ridge ridge;
    OracleCounts found = run(ridge.problem(), *solver, {.max_steps = kSteps}).oracle_calls.steps;
    EXPECT_GT(found.upper_samples, 0);
    found.upper_samples = found.lower_samples = 0;  // rows are no calls
    EXPECT_EQ(found.upper_gradient + found.upper_hvp > 0, true);
    EXPECT_EQ(found, GetParam().documented_calls(*solver, kSteps)) << name << " = " << value;
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

TEST_P(Conformance, ConvergesOnTheQuadratic) {
  const Quadratic quadratic({.lower_curvature_min = 0.5, .lower_curvature_max = 1});
  const torch::Tensor start = quadratic.x.detach().clone();
  const Result result = run(quadratic.problem(), *stepping(0.05), {.max_steps = 1500});
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
  const torch::Tensor x = quadratic.x.detach();
  // A random estimate has a standard deviation of about sqrt(Q) ||J z||, here twice the gradient at the
  // start, and the last few hundred steps average it.
  EXPECT_LT(quadratic.gradient(x).norm().item<double>(),
            (GetParam().random_estimate ? 0.3 : 0.02) * quadratic.gradient(start).norm().item<double>());
  EXPECT_LT(quadratic.value(x).item<double>(), quadratic.value(start).item<double>());
  EXPECT_LT(relative_error(quadratic.y.detach(), quadratic.best_lower(x)), 0.02);
}

TEST_P(Conformance, ConvergesWhereTheUpperHessianIsUnbounded) {
  const P1 p1;
  const torch::Tensor start = p1.x.detach().clone();
  // Plain gradient steps must fit the steepest place, which is the start: Phi'' = c^2 cosh(c x) + ... there.
  const double smoothness = p1.c * p1.c * std::cosh(p1.c * start.abs().max().item<double>());
  const double step_size = GetParam().unbounded_smoothness ? 0.1 : 0.5 / smoothness;
  const Result result = run(p1.problem(), *stepping(step_size), {.max_steps = 1500});
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
  EXPECT_LT(p1.gradient(p1.x.detach()).norm().item<double>(),
            (GetParam().random_estimate ? 5e-3 : 1e-3) * p1.gradient(start).norm().item<double>());
}

TEST(MakeSolver, NamesTheKnownOnes) {
  const std::string message = message_of<InputError>([] { make_solver("nothing"); });
  for (const SolverEntry& entry : solver_registry()) EXPECT_CONTAINS(message, entry.name);
}

}  // namespace
}  // namespace bilevel
