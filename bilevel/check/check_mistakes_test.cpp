// Mistakes that do not show at the start, on one sample, or in one minimum.
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/glm/linear_model.h"
#include "bilevel/task/known_problem.h"
#include "tests/checks.h"

namespace bilevel {
namespace check_mistakes_test {

using torch::Tensor;

const std::vector<std::string> kOne{"cg"};  // estimators, where none is looked at

/// f = |y - 1|^2 + |x|^2 / 4, g = |y - x|^2 (1 + |x|^2 / 2) / 2 + y^4 / 4 summed, at x = 0, with a mistake that a test
/// puts in.
struct Smooth {
  Tensor x = leaf({0.0, 0.0}), y = leaf({0.3, -0.2});

  Tensor f() const { return (y - 1).square().sum() + 0.25 * x.square().sum(); }
  Tensor g() const {
    return 0.5 * (y - x).square().sum() * (1 + 0.5 * x.square().sum()) + 0.25 * y.pow(4).sum();
  }
  Problem problem() const {
    return {
        .upper = {.parameters = {{"x", x}},
                  .loss = [*this](const Batch&) { return f(); },
                  .batches = no_data()},
        .lower = {
            .parameters = {{"y", y}}, .loss = [*this](const Batch&) { return g(); }, .batches = no_data()}};
  }
  /// d2g/dy2 v with x and y as given for its two parts.
  Tensor hessian(const Tensor& at_x, const Tensor& at_y, const Tensor& v) const {
    return (1 + 0.5 * at_x.square().sum()) * v + 3 * at_y.square() * v;
  }
};

TEST(CheckMistakes, ThereIsNoneInTheProblemsOfTheseTests) {
  const Smooth smooth;
  EXPECT_TRUE(check(smooth.problem()).ok) << check(smooth.problem()).table();
  Problem given = smooth.problem();
  given.lower_hessian = [smooth](const Tensor& v) { return smooth.hessian(smooth.x, smooth.y, v); };
  const CheckReport report = check(given);
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_EQ(report.unsure, 0) << report.table();
}

TEST(CheckMistakes, AFactorThatIsDetachedShowsOnlyOffTheStart) {
  const Smooth smooth;
  // At x = 0 the detached factor multiplies zero, and its derivative is zero too.
  Problem upper = smooth.problem();
  upper.upper.loss = [smooth](const Batch&) { return smooth.f() + (smooth.x * smooth.x.detach()).sum(); };
  const CheckReport in_f = check(upper, {.estimators = kOne});
  EXPECT_FALSE(in_f.ok) << in_f.table();
  EXPECT_EQ(wrong_names(in_f), std::vector<std::string>{"f of upper parameter 'x'"});
  EXPECT_CONTAINS(item_named(in_f, "f of upper parameter 'x'").message, "away from it");
  EXPECT_TRUE(check(upper, {.points = 0, .estimators = kOne}).ok) << "at the start it is right";

  Problem lower = smooth.problem();
  lower.lower.loss = [smooth](const Batch&) {
    return smooth.g() + (smooth.y - smooth.x).dot(smooth.x.detach() * smooth.x);
  };
  EXPECT_EQ(item_named(check(lower, {.estimators = kOne}), "g of upper parameter 'x'").verdict,
            Verdict::wrong);

  // In y, where the solution is zero as well: at x = 0 without the tilt of f.
  Problem in_y = smooth.problem();
  in_y.lower.loss = [smooth](const Batch&) {
    return smooth.g() + 0.5 * smooth.y.detach().square().dot(smooth.y);
  };
  EXPECT_FALSE(check(in_y, {.estimators = kOne}).ok);
}

TEST(CheckMistakes, ALowerHessianThatIsRightOnlyAtTheStart) {
  const Smooth smooth;
  const Tensor x0 = smooth.x.detach().clone(), y0 = torch::zeros({2}, torch::kFloat64);
  const auto wrong_with = [&](const std::function<Tensor(const Tensor&)>& hessian, int64_t points) {
    Problem problem = smooth.problem();
    problem.lower_hessian = hessian;
    const CheckReport report = check(problem, {.points = points, .estimators = kOne});
    return item_named(report, "Problem::lower_hessian in lower parameter 'y'").verdict == Verdict::wrong;
  };
  // It does not see x move; that shows off the start alone.
  const auto frozen = [smooth, x0](const Tensor& v) { return smooth.hessian(x0, smooth.y, v); };
  EXPECT_TRUE(wrong_with(frozen, 2));
  EXPECT_FALSE(wrong_with(frozen, 0));
  // It does not see y move.
  EXPECT_TRUE(wrong_with([smooth, y0](const Tensor& v) { return smooth.hessian(smooth.x, y0, v); }, 2));
  EXPECT_FALSE(wrong_with([smooth](const Tensor& v) { return smooth.hessian(smooth.x, smooth.y, v); }, 2));
}

TEST(CheckMistakes, DerivativesOfTheProblemsOwnThatAreNotThoseOfItsLoss) {
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(1);
  const Tensor a = torch::randn({30, 3}, random, torch::kFloat64);
  const TargetedRows rows{{a}, a.select(1, 0).sign()};
  const LinearModelOptions options{.batch_size = 30, .dtype = torch::kFloat64};
  Problem problem = linear_model(rows, rows, 3, options).problem;
  EXPECT_TRUE(check(problem, {.estimators = kOne}).ok) << check(problem, {.estimators = kOne}).table();
  const LinearLoss upper{.rows = DesignRows({a}, 3, torch::kFloat64), .targets = rows.targets};
  LinearLoss lower = upper;
  lower.strength_of = torch::arange(3);
  lower.strength = 1e-3;  // that the loss does not have
  problem.lower.derivatives = derivatives_of(lower);
  const CheckReport of_strength = check(problem, {.estimators = kOne});
  EXPECT_EQ(item_named(of_strength, "the problem's own grad_y g").verdict, Verdict::wrong)
      << of_strength.table();
  EXPECT_EQ(item_named(of_strength, "the problem's own H v").verdict, Verdict::wrong);
  EXPECT_EQ(item_named(of_strength, "the problem's own J v").verdict, Verdict::ok);
  lower.strength = 0;
  lower.strength_of = torch::tensor({0, 2, 1});  // the strengths of two features exchanged
  problem.lower.derivatives = derivatives_of(lower);
  const CheckReport exchanged = check(problem, {.estimators = kOne});
  EXPECT_EQ(item_named(exchanged, "the problem's own J v").verdict, Verdict::wrong) << exchanged.table();
}

TEST(CheckMistakes, AMinimumThatIsNotTheLowest) {
  // Wells near -1 and 1; the tilt makes the one on the left lower, y starts on the right.
  for (const double tilt : {0.02, 0.1, 0.3}) {
    for (const double width : {1.0, 4.0}) {
      const Tensor x = leaf({0.2}), y = leaf({width, 0.1});
      const auto well = [=](double start) {
        {
          const torch::NoGradGuard no_grad;
          y[0] = start;
        }
        return check(
            {.upper = {.parameters = {x},
                       .loss = [=](const Batch&) { return (y - 0.3).square().sum() + x.square().sum(); },
                       .batches = no_data()},
             .lower = {.parameters = {y},
                       .loss =
                           [=](const Batch&) {
                             const Tensor u = y[0] / width;
                             return (u.square() - 1).square() + tilt * u + 0.1 * (y[1] - x).square().sum() +
                                    0.01 * x.sum() * u;
                           },
                       .batches = no_data()}},
            {.estimators = kOne});
      };
      const CheckReport higher = well(width);
      EXPECT_FALSE(higher.ok) << tilt << "\n" << higher.table();
      EXPECT_EQ(wrong_names(higher), std::vector<std::string>{"no other start of y ends lower"})
          << higher.table();
      EXPECT_NEAR(higher.lower_level.value - higher.lower_level.lowest_value, 2 * (tilt + 0.002),
                  0.02 * tilt);
      const CheckReport lower = well(-width);
      EXPECT_TRUE(lower.ok) << tilt << "\n" << lower.table();
      EXPECT_EQ(item_named(lower, "no other start").verdict, Verdict::ok);
    }
  }
}

TEST(CheckMistakes, OneOf10000NumbersIsSaidToBeBeyondReach) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const Tensor x = torch::randn({10000}, generator, torch::kFloat64).to(torch::kFloat32).requires_grad_();
  const Tensor y = torch::zeros({1}, torch::kFloat32).requires_grad_();
  const Tensor mask = torch::ones({10000});
  const auto problem = [&](bool whole) {
    const auto seen = [=](double factor) {
      Tensor one = mask.clone();
      one[4321] = whole ? 1 : factor;
      return x * one + (x * (1 - one)).detach();
    };
    return Problem{.upper = {.parameters = {{"x", x}},
                             .loss = [=](const Batch&) { return (y - seen(0.5)).square().mean(); },
                             .batches = no_data()},
                   .lower = {.parameters = {{"y", y}},
                             .loss = [=](const Batch&) { return (y - seen(1).mean()).square().sum(); },
                             .batches = no_data()}};
  };
  const CheckReport fine = check(problem(true), {.estimators = kOne});
  EXPECT_TRUE(fine.ok) << fine.table();
  // Half of one number's gradient is missing, and no difference in float32 can show it.
  const CheckReport spoiled = check(problem(false), {.estimators = kOne});
  for (const CheckReport* report : {&fine, &spoiled})
    EXPECT_CONTAINS(report->table(),
                    "of the 10000 numbers of upper parameter 'x', a wrong derivative in fewer than");
  EXPECT_CONTAINS(fine.table(), "about 200 ");
}

TEST(CheckMistakes, ANumberWithoutGradientIsTriedSingly) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(6);
  const Tensor x = torch::randn({10000}, generator, torch::kFloat64).to(torch::kFloat32).requires_grad_();
  const Tensor y = torch::zeros({1}, torch::kFloat32).requires_grad_();
  Tensor one = torch::ones({10000});
  one[4321] = 0;
  const auto seen = [=] { return x * one + (x * (1 - one)).detach(); };
  const CheckReport report =
      check({.upper = {.parameters = {{"x", x}},
                       .loss = [=](const Batch&) { return (y - seen()).square().mean(); },
                       .batches = no_data()},
             .lower = {.parameters = {y},
                       .loss = [=](const Batch&) { return (y - x.mean()).square().sum(); },
                       .batches = no_data()}},
            {.estimators = kOne});
  EXPECT_FALSE(report.ok) << report.table();
  EXPECT_CONTAINS(item_named(report, "f of single numbers of upper parameter 'x'").message, "number 4321");
}

TEST(CheckMistakes, AgainstTheOptimisticHypergradientIsNotOk) {
  const std::unique_ptr<KnownProblem> known = make_known_problem("many-minimizers");
  known->build(1);
  const CheckReport report = check(known->problem(), {.max_products = 300});
  EXPECT_TRUE(report.ok) << "no method promises it\n" << report.table();
  const Tensor right = known->gradient(known->x().detach());
  int opposite = 0;
  for (const EstimatorCheck& e : report.estimators) {
    if (std::isnan(e.cosine_to_optimistic)) continue;
    if (e.cosine_to_optimistic < 0) {
      ++opposite;
      EXPECT_EQ(e.verdict, Verdict::warning) << e.name;
      EXPECT_CONTAINS(e.message, "against the optimistic hypergradient");
    }
  }
  EXPECT_GE(opposite, 3) << report.table();
  EXPECT_NEAR(estimator_named(report, "value-function").cosine_to_optimistic, 1, 1e-6);
}

}  // namespace check_mistakes_test
}  // namespace bilevel
