#include "bilevel/check/check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/autograd.h>

#include <cmath>

#include "bilevel/check/differences.h"
#include "bilevel/core/error.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/checks.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace check_test {

using torch::Tensor;

/// A softmax head (y) on a tanh layer (x), with dropout in both, in float64 or float32; like the built-in
/// tasks, two losses that see x through one encoder.
struct Net {
  Tensor w, c, v, d, data, labels;

  explicit Net(torch::ScalarType type = torch::kFloat64) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(61);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64).to(type);
    };
    w = random({4, 3}).requires_grad_();
    c = random({4}).requires_grad_();
    v = random({3, 4}).requires_grad_();
    d = random({3}).requires_grad_();
    data = random({12, 3});
    labels = torch::randint(3, {12}, generator, torch::kInt64);
  }

  Problem problem() const {
    const auto loss = [](const Tensor& weights, const Tensor& biases, double strength) {
      return [=](const Tensor& features, const Batch& batch) {
        const Tensor kept = torch::dropout(features, 0.2, true);
        return torch::cross_entropy_loss(torch::linear(kept, weights, biases), batch.targets()) +
               strength * squared_norm({weights, biases});
      };
    };
    return {.upper = {.parameters = {{"w", w}, {"c", c}},
                      .feature_loss = loss(v, d, 0),
                      .batches = shuffled({data.slice(0, 0, 6)}, labels.slice(0, 0, 6), {.batch_size = 2})},
            .lower = {.parameters = {{"v", v}, {"d", d}},
                      .feature_loss = loss(v, d, 0.1),
                      .batches = shuffled({data}, labels, {.batch_size = 5})},
            .encode = [w = w, c = c](const Batch& batch) {
              return torch::dropout(torch::tanh(torch::linear(batch.input(), w, c)), 0.1, true);
            }};
  }
};

TEST(Check, AGoodProblemIsOkInEveryItem) {
  const Quadratic q({});
  const CheckReport report = check(q.problem());
  EXPECT_TRUE(report.ok) << report.table();
  for (const CheckItem& item : report.items)
    EXPECT_EQ(item.verdict, Verdict::ok) << item.name << item.message;
  EXPECT_EQ(report.estimators.size(), 9u);
  for (const EstimatorCheck& e : report.estimators) {
    EXPECT_EQ(e.verdict, Verdict::ok) << e.name << ": " << e.message;
    EXPECT_LT(e.against_differences, 1e-5) << e.name;
    if (e.name != "exact") {
      EXPECT_LT(e.against_exact, 1e-5) << e.name;
    }
    EXPECT_GT(e.cost.upper_gradient, 0) << e.name;
    ASSERT_EQ(e.blocks.size(), 1u);
    EXPECT_EQ(e.blocks[0].parameter, "upper parameter 'x'");
  }
  EXPECT_NEAR(report.lower_level.smallest_curvature, 0.1, 1e-9);
  EXPECT_NEAR(report.lower_level.largest_curvature, 1, 1e-9);
  EXPECT_TRUE(report.lower_level.strongly_convex);
  EXPECT_LT(report.lower_level.gradient_norm, 1e-12);
}

TEST(Check, TheReferenceIsTheGradientOfPhi) {
  // Its differences against the closed form: the errors printed are the estimators', not the reference's.
  const P1 p1(std::vector<double>{-1.0, 0.3, 2.0});
  const CheckReport report = check(p1.problem());
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_LT(estimator_named(report, "exact").against_differences, 1e-8);
  EXPECT_LT(estimator_named(report, "finite-difference").against_exact, 1e-6);
}

TEST(Check, RestoresXAndYBitForBit) {
  const Quadratic q({.seed = 3});
  {
    const torch::NoGradGuard no_grad;
    q.x.copy_(torch::linspace(0.1, 0.7, 5, torch::kFloat64) / 3);
    q.y.copy_(torch::linspace(0.3, 0.9, 4, torch::kFloat64) / 7);
  }
  const Tensor x = q.x.detach().clone(), y = q.y.detach().clone();
  check(q.problem());
  EXPECT_TRUE(q.x.equal(x));
  EXPECT_TRUE(q.y.equal(y));
  EXPECT_TRUE(q.x.requires_grad());
  Problem broken = q.problem();
  broken.lower_hessian = [](const Tensor&) -> Tensor { throw std::runtime_error("no"); };
  EXPECT_FALSE(check(broken).ok);
  EXPECT_TRUE(q.x.equal(x)) << "also after a failure";
}

TEST(Check, EncodersDropoutAndSeveralParametersAreNoObstacle) {
  const Net net;
  const CheckReport report = check(net.problem(), {.max_products = 2000});
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_EQ(report.upper_rows, 6);
  EXPECT_EQ(report.lower_rows, 12) << "all rows, not a batch";
  const EstimatorCheck& cg = estimator_named(report, "cg");
  ASSERT_EQ(cg.blocks.size(), 2u);
  EXPECT_EQ(cg.blocks[1].parameter, "upper parameter 'c'");
  EXPECT_LT(cg.blocks[1].against_differences, 1e-5);
  EXPECT_LT(cg.blocks[1].against_exact, 1e-5);
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::ok);
  EXPECT_EQ(estimator_named(report, "unrolled").verdict, Verdict::ok) << report.table();
}

TEST(Check, Float32HasAToleranceOfItsOwn) {
  const Net net(torch::kFloat32);
  const CheckReport report = check(net.problem(), {.max_products = 1000});
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_EQ(report.dtype, "float32");
  EXPECT_EQ(report.tolerance, 2e-2);
  EXPECT_LT(estimator_named(report, "cg").against_differences, 2e-2);
  ASSERT_FALSE(report.remarks.empty());
  EXPECT_CONTAINS(report.remarks.back(), "float64");
}

TEST(Check, KinksAreAtMostAWarning) {
  // A ReLU layer in x, in float32: differences cross kinks of some of the rows.
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64).to(torch::kFloat32);
    };
    const Tensor w = random({8, 2}).requires_grad_(), head = random({8}).requires_grad_();
    const Tensor y = random({1}).requires_grad_();
    const Tensor data = random({80, 2});
    const auto output = [=](const Batch& b) { return torch::relu(b.input().mm(w.t())).mv(head).tanh(); };
    const CheckReport report =
        check({.upper = {.parameters = {w, head},
                         .loss = [=](const Batch& b) { return (output(b) - y).square().mean() + y.sum(); },
                         .batches = full_batch({data})},
               .lower = {.parameters = {y},
                         .loss = [=](const Batch& b) { return (output(b) + 2 * y).square().mean(); },
                         .batches = full_batch({data})}},
              {.seed = seed, .estimators = {"cg", "finite-difference"}});
    EXPECT_TRUE(report.ok) << report.table();
  }
}

TEST(Check, RowsAreLimitedOnRequest) {
  const Ridge ridge(0.1);
  const CheckReport report = check(ridge.problem(), {.rows = 7, .estimators = {"cg"}});
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_EQ(report.lower_rows, 7);
  EXPECT_EQ(report.all_lower_rows, 12);
  EXPECT_EQ(report.estimators.size(), 1u);
  EXPECT_CONTAINS(report.table(), "7 of 12 lower");
}

// ---- planted defects ----

TEST(CheckFinds, AWrongLowerHessian) {
  const Quadratic q({});
  Problem problem = q.problem();
  problem.lower_hessian = [A = q.A](const Tensor& v) { return 1.01 * A.mv(v); };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  const CheckItem& item = item_named(report, "Problem::lower_hessian in lower parameter 'y'");
  EXPECT_EQ(item.verdict, Verdict::wrong);
  EXPECT_NEAR(item.error, 0.0099, 1e-4);
  for (const char* name : {"neumann", "cg", "cg-normal", "fixed-point", "exact"}) {
    EXPECT_EQ(estimator_named(report, name).verdict, Verdict::wrong) << name;
  }
  // Those that take no product of it are right, and are not judged by an exact solution that is not.
  EXPECT_EQ(estimator_named(report, "finite-difference").verdict, Verdict::ok);
  EXPECT_EQ(estimator_named(report, "value-function").verdict, Verdict::ok);
  EXPECT_NEAR(report.lower_level.smallest_curvature, 0.1, 1e-6) << "from what can be trusted";
}

TEST(CheckFinds, ALowerHessianThatIsNotSymmetric) {
  const Quadratic q({});
  Problem problem = q.problem();
  Tensor skew = torch::zeros_like(q.A);
  skew[0][1] = 0.1;
  problem.lower_hessian = [A = q.A + skew](const Tensor& v) { return A.mv(v); };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(item_named(report, "symmetry").verdict, Verdict::wrong);
}

TEST(CheckFinds, AParameterThatIsDetachedInTheUpperLoss) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  const Tensor w = leaf({0.7, 0.2});
  Problem problem = p1.problem();
  problem.upper.parameters.push_back(w);
  problem.upper.parameters.names.push_back("w");
  problem.upper.loss = [loss = problem.upper.loss, w](const Batch& b) {
    return loss(b) + w.detach().square().sum();
  };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  const CheckItem& item = item_named(report, "f of upper parameter 'w'");
  EXPECT_EQ(item.verdict, Verdict::wrong);
  EXPECT_CONTAINS(item.message, "detached");
  ASSERT_EQ(report.without_gradient.size(), 1u);
  EXPECT_EQ(report.without_gradient[0], "upper parameter 'w'");
  EXPECT_TRUE(report.without_influence.empty());
  // The hypergradient lacks it in every estimator, and in this parameter alone.
  const EstimatorCheck& cg = estimator_named(report, "cg");
  EXPECT_EQ(cg.verdict, Verdict::wrong);
  EXPECT_LT(cg.blocks.at(0).against_differences, 1e-6);
  EXPECT_GT(cg.blocks.at(1).against_differences, 0.5);
}

TEST(CheckFinds, AParameterThatIsDetachedInTheLowerLoss) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();
  problem.lower.loss = [x = p1.x, y = p1.y](const Batch&) {
    return 0.5 * (y - x.detach()).square().sum() + 0 * x.sum();
  };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(item_named(report, "g of upper parameter 'x'").verdict, Verdict::wrong);
  EXPECT_EQ(item_named(report, "adjoint").verdict, Verdict::wrong) << "J z is not the adjoint of J' u";
  EXPECT_EQ(estimator_named(report, "exact").verdict, Verdict::wrong);
}

TEST(CheckFinds, AParameterWithoutInfluence) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();
  problem.upper.parameters.push_back(leaf({1.0}));
  problem.upper.parameters.names.push_back("idle");
  problem.lower.parameters.push_back(leaf({2.0, 3.0}));
  problem.lower.parameters.names.push_back("spare");
  const CheckReport report = check(problem, {.max_products = 200});
  EXPECT_EQ(report.without_influence,
            (std::vector<std::string>{"upper parameter 'idle'", "lower parameter 'spare'"}));
  EXPECT_EQ(item_named(report, "upper parameter 'idle'").verdict, Verdict::ok)
      << "its gradient is rightly zero";
  bool warned = false;
  for (const CheckItem& item : report.items) {
    warned = warned || (item.group == "parameters" && item.name == "upper parameter 'idle'" &&
                        item.verdict == Verdict::warning);
  }
  EXPECT_TRUE(warned);
  EXPECT_FALSE(report.lower_level.strongly_convex) << "nothing determines 'spare'";
}

TEST(CheckFinds, NoInfluenceWhereOnlyADerivativeVanishes) {
  // At x = 0 the gradient of x^2 is zero by symmetry; x matters all the same.
  const Tensor x = leaf({0.0});
  const Tensor y = leaf({0.5});
  const CheckReport report =
      check({.upper = {.parameters = {x},
                       .loss = [=](const Batch&) { return (x.square() + y.square()).sum(); },
                       .batches = no_data()},
             .lower = {.parameters = {y},
                       .loss = [=](const Batch&) { return (y - 1).square().sum() + 0 * x.sum(); },
                       .batches = no_data()}});
  EXPECT_TRUE(report.without_influence.empty());
  EXPECT_TRUE(report.without_gradient.empty());
  EXPECT_TRUE(report.ok) << report.table();
}

TEST(CheckFinds, ALossThatIsRandomBetweenCalls) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();
  problem.lower.loss = [loss = problem.lower.loss, y = p1.y,
                        generator = at::make_generator<at::CPUGeneratorImpl>(5)](const Batch& b) mutable {
    return loss(b) + torch::randn({}, generator, torch::kFloat64) * y.sum();
  };
  const Tensor y_before = p1.y.detach().clone();
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(wrong_names(report), (std::vector<std::string>{"the lower loss is a function of its sample"}))
      << "and what would follow from it is not tried";
  EXPECT_CONTAINS(item_named(report, "lower loss").message, "default generator");
  EXPECT_EQ(item_named(report, "upper loss").verdict, Verdict::ok);
  EXPECT_TRUE(report.estimators.empty());
}

TEST(CheckFinds, ALossThatIsNotANumber) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();
  problem.upper.loss = [x = p1.x](const Batch&) { return (x - 10).log().sum(); };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(wrong_names(report), (std::vector<std::string>{"the upper loss is finite"}));
}

TEST(CheckFinds, ALowerLevelWithoutMinimum) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();
  problem.lower.loss = [x = p1.x, y = p1.y](const Batch&) { return -0.5 * (y - x).square().sum(); };
  const CheckReport report = check(problem);
  EXPECT_FALSE(report.ok);
  const CheckItem& solved = item_named(report, "y*(x) was found");
  EXPECT_EQ(solved.verdict, Verdict::wrong);
  EXPECT_CONTAINS(solved.message, "unbounded below");
  EXPECT_EQ(item_named(report, "strongly convex").verdict, Verdict::wrong);
  EXPECT_NEAR(report.lower_level.smallest_curvature, -1, 1e-9);
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::skipped);
}

TEST(CheckFinds, ALowerLevelThatIsConvexOnlyAtItsSolution) {
  const P1 p1(std::vector<double>{0.4, -0.3});
  Problem problem = p1.problem();  // y starts at 0, on the hump of a double well
  problem.lower.loss = [x = p1.x, y = p1.y](const Batch&) {
    return (0.25 * y.pow(4) - 0.5 * y.square() - 0.1 * x * y).sum();
  };
  const CheckReport report = check(problem);
  EXPECT_TRUE(report.ok) << report.table();
  const CheckItem& convex = item_named(report, "strongly convex");
  EXPECT_EQ(convex.verdict, Verdict::warning);
  EXPECT_CONTAINS(convex.message, "not convex");
  EXPECT_NEAR(report.lower_level.start_smallest_curvature, -1, 1e-9);
  EXPECT_GT(report.lower_level.smallest_curvature, 1.5);
}

TEST(CheckFinds, ALowerLevelThatIsMerelyConvex) {
  // g = 1/2 (y1 - x)^2: nothing determines y2, on which f depends.
  const Tensor x = leaf({1.0});
  const Tensor y = leaf({0.0, 0.5});
  const CheckReport report =
      check({.upper = {.parameters = {x},
                       .loss = [=](const Batch&) { return (y - 2).square().sum() + x.square().sum(); },
                       .batches = no_data()},
             .lower = {.parameters = {y},
                       .loss = [=](const Batch&) { return 0.5 * (y.narrow(0, 0, 1) - x).square().sum(); },
                       .batches = no_data()}},
            {.max_products = 200});
  EXPECT_TRUE(report.ok) << "warnings, since no estimator promises anything here\n" << report.table();
  EXPECT_FALSE(report.lower_level.strongly_convex);
  EXPECT_CONTAINS(item_named(report, "strongly convex").message, "not unique");
  EXPECT_EQ(estimator_named(report, "exact").verdict, Verdict::warning);
  EXPECT_CONTAINS(estimator_named(report, "exact").message, "singular");
}

/// u -> u^2 sum, whose backward pass cannot be differentiated.
struct OnceOnly : torch::autograd::Function<OnceOnly> {
  struct Backward : torch::autograd::Function<Backward> {
    static Tensor forward(torch::autograd::AutogradContext*, const Tensor& u, const Tensor& grad) {
      return 2 * u * grad;
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                   const torch::autograd::variable_list&) {
      TORCH_CHECK_NOT_IMPLEMENTED(false, "derivative for once_only_backward is not implemented");
    }
  };
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& u) {
    ctx->save_for_backward({u});
    return u.square();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grad) {
    return {Backward::apply(ctx->get_saved_variables()[0], grad[0])};
  }
};

/// The same, whose backward pass keeps no graph: its second derivative is zero in silence.
struct Forgetful : torch::autograd::Function<Forgetful> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& u) {
    ctx->save_for_backward({u});
    return u.square();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grad) {
    return {2 * ctx->get_saved_variables()[0].detach() * grad[0]};
  }
};

/// Two lower parameters, of which 'inner' passes a layer that the test chooses.
Problem with_layer(const Tensor& x, const Tensor& outer, const Tensor& inner,
                   const std::function<Tensor(const Tensor&)>& layer) {
  return {.upper = {.parameters = {{"x", x}},
                    .loss = [=](const Batch&) { return (outer + inner + x).square().sum(); },
                    .batches = no_data()},
          .lower = {.parameters = {{"outer", outer}, {"inner", inner}},
                    .loss =
                        [=](const Batch&) {
                          return (outer - x).square().sum() + layer(inner - x).sum() +
                                 0.1 * inner.square().sum();
                        },
                    .batches = no_data()}};
}

TEST(CheckFinds, ALayerThatCannotBeDifferentiatedTwice) {
  const CheckReport report = check(
      with_layer(leaf({0.3}), leaf({0.1}), leaf({0.2}), [](const Tensor& u) { return OnceOnly::apply(u); }));
  EXPECT_FALSE(report.ok);
  ASSERT_EQ(report.not_twice_differentiable.size(), 2u) << report.table();
  EXPECT_CONTAINS(report.not_twice_differentiable[0], "lower parameter 'inner'");
  EXPECT_CONTAINS(report.not_twice_differentiable[0], "once_only_backward");
  EXPECT_CONTAINS(report.not_twice_differentiable[1], "upper parameter 'x'");
  EXPECT_EQ(item_named(report, "of g through lower parameter 'inner'").verdict, Verdict::wrong);
  const EstimatorCheck& cg = estimator_named(report, "cg");
  EXPECT_EQ(cg.verdict, Verdict::wrong);
  EXPECT_CONTAINS(cg.message, "once_only_backward");
  // First derivatives are all that these need, and the curvature is found through differences.
  EXPECT_EQ(estimator_named(report, "finite-difference").verdict, Verdict::ok) << report.table();
  EXPECT_EQ(estimator_named(report, "value-function").verdict, Verdict::ok) << report.table();
  EXPECT_NEAR(report.lower_level.largest_curvature, 2.2, 1e-6);
}

TEST(CheckFinds, ABackwardPassThatKeepsNoGraph) {
  const CheckReport report = check(
      with_layer(leaf({0.3}), leaf({0.1}), leaf({0.2}), [](const Tensor& u) { return Forgetful::apply(u); }));
  EXPECT_FALSE(report.ok);
  EXPECT_TRUE(report.not_twice_differentiable.empty()) << "LibTorch does not notice";
  const CheckItem& item = item_named(report, "H v of g in lower parameter 'inner'");
  EXPECT_EQ(item.verdict, Verdict::wrong);
  EXPECT_CONTAINS(item.message, "backward pass");
  EXPECT_EQ(item_named(report, "H v of g in lower parameter 'outer'").verdict, Verdict::ok);
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::wrong);
  EXPECT_EQ(estimator_named(report, "finite-difference").verdict, Verdict::ok) << report.table();
}

TEST(CheckFinds, PiecewiseLinearPartsAreARemark) {
  const CheckReport report =
      check(with_layer(leaf({0.3}), leaf({0.1}), leaf({2.0}), [](const Tensor& u) { return torch::relu(u); }),
            {.estimators = {"cg"}});
  EXPECT_TRUE(report.ok) << report.table();
  EXPECT_TRUE(report.not_twice_differentiable.empty());
}

TEST(Check, TooFewStepsForTheConditionAreAWarning) {
  const Quadratic q({.lower_curvature_min = 1e-3});
  const CheckReport report = check(q.problem(), {.max_products = 50});
  EXPECT_TRUE(report.ok) << report.table();
  const EstimatorCheck& neumann = estimator_named(report, "neumann");
  EXPECT_EQ(neumann.verdict, Verdict::warning);
  EXPECT_CONTAINS(neumann.message, "50 of about");
  EXPECT_GT(neumann.against_exact, 1e-3);
  EXPECT_EQ(estimator_named(report, "cg").verdict, Verdict::ok);
}

TEST(Check, TheDenseSolutionIsLeftOutAboveItsLimit) {
  const Quadratic q({.lower_size = 6, .lower_curvature_min = 0.5});
  const CheckReport report = check(q.problem(), {.dense_limit = 5, .estimators = {"exact", "cg"}});
  EXPECT_TRUE(report.ok);
  EXPECT_EQ(estimator_named(report, "exact").verdict, Verdict::skipped);
  EXPECT_TRUE(std::isnan(estimator_named(report, "cg").against_exact));
  EXPECT_LT(estimator_named(report, "cg").against_differences, 1e-5);
}

TEST(Check, BadOptionsAndNoProblemAreRefused) {
  const Quadratic q({});
  EXPECT_CONTAINS(message_of<InputError>([&] { check(q.problem(), {.tolerance = -1}); }), "tolerance");
  EXPECT_CONTAINS(message_of<InputError>([&] { check(q.problem(), {.estimators = {"magic"}}); }), "magic");
  Problem constant = q.problem();
  constant.upper.loss = [](const Batch&) { return torch::zeros({}, torch::kFloat64); };
  EXPECT_CONTAINS(message_of<InputError>([&] { check(constant); }), "depends on no parameter");
}

TEST(CheckReport, JsonAndTableSayTheSame) {
  const Quadratic q({});
  Problem problem = q.problem();
  problem.lower_hessian = [A = q.A](const Tensor& v) { return 2 * A.mv(v); };
  const CheckReport report = check(problem, {.estimators = {"cg", "value-function"}});
  const nlohmann::ordered_json json = nlohmann::ordered_json::parse(report.to_json().dump());
  EXPECT_EQ(json.at("ok"), false);
  EXPECT_EQ(json.at("upper_size"), 5);
  EXPECT_EQ(json.at("tests").size(), report.items.size());
  EXPECT_EQ(json.at("estimators")[0].at("name"), "cg");
  EXPECT_EQ(json.at("estimators")[0].at("verdict"), "wrong");
  EXPECT_EQ(json.at("estimators")[0].at("parameters")[0].at("parameter"), "upper parameter 'x'");
  EXPECT_EQ(json.at("estimators")[1].at("verdict"), "ok");
  EXPECT_TRUE(json.at("estimators")[1].at("against_exact").is_null()) << "the exact solution is wrong here";
  const std::string table = report.table();
  EXPECT_CONTAINS(table, "Problem::lower_hessian in lower parameter 'y'");
  EXPECT_CONTAINS(table, "WRONG");
  EXPECT_CONTAINS(table, "result: ");
  EXPECT_EQ(table.find("nan"), std::string::npos);
  EXPECT_CONTAINS(check(q.problem(), {.estimators = {"cg"}}).table(), "result: ok");
}

TEST(Differentiate, KnowsItsOwnError) {
  Differentiator exponential([](double t) { return NoisyValue{std::exp(t), 1e-15}; });
  const Difference smooth = exponential.best(1e-3, 1e-5, 0);
  EXPECT_NEAR(smooth.value, 1, 1e-11);
  EXPECT_LE(std::abs(smooth.value - 1), smooth.error);
  EXPECT_LT(smooth.error, 2e-6);
}

TEST(Differentiate, TakesLongStepsWhereValuesAreNoisy) {
  // Noise of 1e-6 that the caller knows of: at 1e-4 the derivative is good to 1e-2, at .4 to 1e-5.
  uint32_t state = 1;
  const auto noise = [&] { return 1e-6 * ((state = 1664525 * state + 1013904223) / 2147483648.0 - 1); };
  Differentiator line([&](double t) { return NoisyValue{3 * t + t * t + noise(), 1e-6}; });
  const Difference found = line.best(1e-4, 1e-5, 0);
  EXPECT_GT(found.step, 0.05);
  EXPECT_LE(std::abs(found.value - 3), found.error);
  EXPECT_LT(found.error, 1e-4);
}

TEST(Differentiate, NoiseThatNobodyReckonedWithIsNotConfirmed) {
  uint32_t state = 1;
  const auto noise = [&] { return 1e-6 * ((state = 1664525 * state + 1013904223) / 2147483648.0 - 1); };
  Differentiator line([&](double t) { return NoisyValue{3 * t + noise(), 0}; });
  const Difference once = line.once(1e-4);
  const Difference found = line.confirmed(once);
  EXPECT_GT(std::abs(found.value - 3), 1e-4);
  EXPECT_LE(std::abs(found.value - 3), 5 * found.error);
}

TEST(Differentiate, DoesNotCallAKinkADerivative) {
  // Wherever the kink is, a wrong value says so, or a smaller step avoids it.
  for (const double at : {0.0, 1e-9, 1e-6, 1e-5, 1e-4, 2e-4, 3.3e-4, 6e-4}) {
    Differentiator kink([at](double t) {
      return NoisyValue{t + std::max(t - at, 0.0), 1e-19};
    });  // the derivative on the left is 1
    const Difference found = kink.best(1e-3, 1e-5, 0);
    EXPECT_LE(std::abs(found.value - 1), 5 * found.error + 1e-9) << at;
    if (at >= 2e-4) {
      EXPECT_NEAR(found.value, 1, 1e-9) << at;
      EXPECT_LT(found.error, 1e-5) << at;
    }
  }
}

}  // namespace check_test
}  // namespace bilevel
