#include "bilevel/oracle/oracles.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <stdexcept>

#include "bilevel/core/error.h"
#include "bilevel/glm/linear_model.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/exact/exact.h"
#include "tests/support.h"

namespace bilevel {
namespace oracles_test {

using torch::Tensor;

/// What the encoder of a test problem saw.
struct EncoderLog {
  int calls = 0;
  int calls_with_graph = 0;
  int64_t rows = 0;
  int backward_passes = 0;
};

/// A softmax head (y) on a tanh layer (x), float64, with every second derivative different from zero.
struct Net {
  Tensor w, c;  // x: [4, 3], [4]
  Tensor v, d;  // y: [3, 4], [3]
  Tensor data, labels;
  double dropout = 0;
  std::shared_ptr<EncoderLog> log = std::make_shared<EncoderLog>();

  explicit Net(int64_t rows = 10) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(61);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64);
    };
    w = random({4, 3}).requires_grad_();
    c = random({4}).requires_grad_();
    v = random({3, 4}).requires_grad_();
    d = random({3}).requires_grad_();
    data = random({rows, 3});
    labels = torch::randint(3, {rows}, generator, torch::kInt64);
  }

  std::function<Tensor(const Batch&)> encode() const {
    return [w = w, c = c, log = log](const Batch& batch) {
      Tensor features = torch::tanh(torch::linear(batch.input(), w, c));
      ++log->calls;
      log->rows += features.size(0);
      if (features.requires_grad()) {
        ++log->calls_with_graph;
        features.register_hook([log](const Tensor&) { ++log->backward_passes; });
      }
      return features;
    };
  }
  FeatureLoss head_loss(double weight_x, double weight_y) const {
    return
        [weight_x, weight_y, w = w, v = v, d = d, p = dropout](const Tensor& features, const Batch& batch) {
          const Tensor kept = p > 0 ? torch::dropout(features, p, true) : features;
          return torch::cross_entropy_loss(torch::linear(kept, v, d), batch.targets()) +
                 weight_x * w.square().sum() + weight_y * (squared_norm({v, d}) + v.square().square().sum());
        };
  }

  /// The problem in two parts.
  Problem split(int64_t upper_batch = 4, int64_t lower_batch = 3) const {
    return {.upper = {.parameters = {{"w", w}, {"c", c}},
                      .feature_loss = head_loss(0.1, 0.02),
                      .batches = shuffled({data}, labels, {.batch_size = upper_batch})},
            .lower = {.parameters = {{"v", v}, {"d", d}},
                      .feature_loss = head_loss(0, 0.05),
                      .batches = shuffled({data}, labels, {.batch_size = lower_batch})},
            .encode = encode()};
  }
  /// All rows as one data set, which counts how often its inputs are gathered.
  std::shared_ptr<const DataSet> counted_rows(int& gathers) const {
    return std::make_shared<DataSet>(DataSet{
        .inputs =
            [x = data, &gathers](const Rows& rows) {
              ++gathers;
              return std::vector{x.index_select(0, torch::tensor(rows))};
            },
        .targets = [y = labels](const Rows& rows) { return y.index_select(0, torch::tensor(rows)); }});
  }
  /// The same with plain losses.
  Problem plain(int64_t upper_batch = 4, int64_t lower_batch = 3) const {
    Problem problem = split(upper_batch, lower_batch);
    const auto join = [encode = problem.encode](Level& level) {
      level.loss = [encode, loss = level.feature_loss](const Batch& b) { return loss(encode(b), b); };
      level.feature_loss = nullptr;
    };
    join(problem.upper);
    join(problem.lower);
    problem.encode = nullptr;
    return problem;
  }
};

Tensor direction(int64_t size, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return torch::randn({size}, generator, torch::kFloat64);
}

// Central differences with h = 1e-5 are good to h^2 = 1e-10 times the third derivative and 1e-16 / h = 1e-11.
constexpr double kDifference = 2e-8;

class BothForms : public ::testing::TestWithParam<bool> {
 protected:
  Problem problem() const { return GetParam() ? net_.split() : net_.plain(); }
  Net net_;
};
INSTANTIATE_TEST_SUITE_P(Forms, BothForms, ::testing::Bool(),
                         [](const auto& form) { return form.param ? "encode" : "plain"; });

TEST_P(BothForms, GradientsMatchFiniteDifferences) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const auto f = [&] { return oracles.upper().point(upper).value(); };
  const auto g = [&] { return oracles.lower().point(lower, Graph::both).value(); };
  LossPoint upper_point = oracles.upper().point(upper);
  const Tensor fx = upper_point.grad_x();
  const Tensor fy = upper_point.grad_y();
  const Tensor gy = oracles.lower().point(lower, Graph::both).grad_y();
  EXPECT_EQ(distance(oracles.lower().point(lower, Graph::lower_only).grad_y(), gy), 0);
  EXPECT_EQ(distance(oracles.lower().gradient_in_y(lower), gy), 0);
  EXPECT_LT(distance(fx, numerical_derivative(oracles.x(), f)), kDifference);
  EXPECT_LT(distance(fy, numerical_derivative(oracles.y(), f)), kDifference);
  EXPECT_LT(distance(gy, numerical_derivative(oracles.y(), g)), kDifference);
}

TEST_P(BothForms, ProductsMatchFiniteDifferencesOfGradients) {
  Oracles oracles(problem(), 1);
  const Sample lower = oracles.lower().draw("a");
  const auto gradient = [&] { return oracles.lower().gradient_in_y(lower); };
  const Tensor hessian = numerical_derivative(oracles.y(), gradient);
  const Tensor cross = numerical_derivative(oracles.x(), gradient);  // [y, x]
  LossPoint point = oracles.lower().point(lower, Graph::both);
  LossPoint cheap = oracles.lower().point(lower, Graph::lower_only);
  for (const uint64_t seed : {62, 63}) {
    const Tensor z = direction(oracles.y().size(), seed);
    EXPECT_LT(distance(point.hvp(z), hessian.mv(z)), kDifference);
    EXPECT_LT(distance(cheap.hvp(z), hessian.mv(z)), kDifference);
    EXPECT_LT(distance(point.cross_vjp(z), cross.t().mv(z)), kDifference);
  }
  EXPECT_GT(cross.abs().max().item<double>(), 1e-3) << "the losses do interact";
}

TEST_P(BothForms, HessianIsSymmetricAndCrossProductIsAdjoint) {
  Oracles oracles(problem(), 1);
  const Sample lower = oracles.lower().draw("a");
  const Tensor u = direction(oracles.y().size(), 64);
  const Tensor z = direction(oracles.y().size(), 65);
  const Tensor s = direction(oracles.x().size(), 66);
  Tensor cross;
  {
    LossPoint point = oracles.lower().point(lower, Graph::both);
    EXPECT_NEAR(point.hvp(u).dot(z).item<double>(), u.dot(point.hvp(z)).item<double>(), 1e-13);
    EXPECT_LT(distance(point.hvp(u + 2 * z), point.hvp(u) + 2 * point.hvp(z)), 1e-13);
    cross = point.cross_vjp(z);
  }
  // <J z, s> = <z, J' s>, where J' s is the change of grad_y G along s in x.
  const Tensor x = oracles.x().flat().clone();
  const double h = 1e-5;
  oracles.x().assign(x + h * s);
  const Tensor above = oracles.lower().gradient_in_y(lower);
  oracles.x().assign(x - h * s);
  const Tensor change = (above - oracles.lower().gradient_in_y(lower)) / (2 * h);
  EXPECT_NEAR(cross.dot(s).item<double>(), z.dot(change).item<double>(), 1e-8);
}

TEST_P(BothForms, TheHypergradientIsOnePassOfItsParts) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 67);
  Tensor parts;
  {
    LossPoint f = oracles.upper().point(upper);
    LossPoint g = oracles.lower().point(lower, Graph::both);
    parts = f.grad_x() - g.cross_vjp(z);
  }
  auto [f, g] = oracles.points(upper, lower);
  const Tensor whole = oracles.hypergradient(f, g, z);
  EXPECT_LT(distance(whole, parts), 1e-14);
  EXPECT_FALSE(whole.requires_grad());
  EXPECT_ANY_THROW(g.hvp(z)) << "its graph is gone";
  EXPECT_NO_THROW(f.value());
}

TEST_P(BothForms, JointGradientsMatchFiniteDifferences) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const auto f = [&] { return oracles.upper().point(upper).value(); };
  const auto g = [&] { return oracles.lower().point(lower, Graph::both).value(); };
  const OracleCounts before = oracles.ledger().steps;
  const JointGradient of_f = oracles.upper().gradient(upper);
  const JointGradient of_g = oracles.lower().gradient(lower);
  OracleCounts expected = before;
  expected.upper_gradient += 1;
  expected.lower_joint_gradient += 1;
  EXPECT_EQ(oracles.ledger().steps, expected);
  for (const auto& [found, value] : {std::pair<JointGradient, std::function<Tensor()>>{of_f, f}, {of_g, g}}) {
    EXPECT_EQ(distance(found.value, value()), 0);
    EXPECT_LT(distance(found.x, numerical_derivative(oracles.x(), value)), kDifference);
    EXPECT_LT(distance(found.y, numerical_derivative(oracles.y(), value)), kDifference);
    EXPECT_FALSE(found.value.requires_grad() || found.x.requires_grad() || found.y.requires_grad());
  }
}

// grad_x F - J z and H z - grad_y F, where J and H are derivatives of weight F + (1 - weight) G, all from
// differences of gradients.
TEST_P(BothForms, TheLinearStepsMatchFiniteDifferencesOfGradients) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 72);
  const JointGradient f = oracles.upper().gradient(upper);
  const auto of_f = [&] { return oracles.upper().gradient(upper).y; };
  const auto of_g = [&] { return oracles.lower().gradient_in_y(lower); };
  const Tensor hf = numerical_derivative(oracles.y(), of_f), jf = numerical_derivative(oracles.x(), of_f);
  const Tensor hg = numerical_derivative(oracles.y(), of_g), jg = numerical_derivative(oracles.x(), of_g);
  const auto check = [&](const LinearStep& step, double weight) {
    const Tensor h = weight * hf + (1 - weight) * hg;
    const Tensor j = weight * jf + (1 - weight) * jg;  // [y, x]
    EXPECT_LT(distance(step.hypergradient, f.x - j.t().mv(z)), kDifference) << weight;
    EXPECT_LT(distance(step.residual, h.mv(z) - f.y), kDifference) << weight;
    EXPECT_FALSE(step.hypergradient.requires_grad() || step.residual.requires_grad());
  };
  {
    auto [upper_point, lower_point] = oracles.points(upper, lower);
    const OracleCounts before = oracles.ledger().steps;
    check(oracles.hypergradient_and_residual(upper_point, lower_point, z), 0);
    OracleCounts expected = before;
    expected.upper_gradient += 1;
    expected.hvp += 1;
    expected.cross_vjp += 1;
    EXPECT_EQ(oracles.ledger().steps, expected);
    EXPECT_ANY_THROW(lower_point.hvp(z)) << "its graph is gone";
  }
  for (const double weight : {0.0, 0.25, 0.9}) {
    auto [upper_point, lower_point] = oracles.points(upper, lower);
    const OracleCounts before = oracles.ledger().steps;
    check(oracles.aggregated_step(upper_point, lower_point, z, weight), weight);
    OracleCounts expected = before;
    expected.upper_gradient += 1;
    expected.hvp += 1;
    expected.cross_vjp += 1;
    expected.upper_hvp += 1;
    expected.upper_cross_vjp += 1;
    EXPECT_EQ(oracles.ledger().steps, expected);
  }
  EXPECT_GT(jf.abs().max().item<double>(), 1e-3) << "the upper loss has cross derivatives too";
}

TEST_P(BothForms, APointScopeIsAnotherPointAndLeavesNoTrace) {
  Oracles oracles(problem(), 1);
  const Sample lower = oracles.lower().draw("a");
  const Tensor x = oracles.x().flat().clone(), y = oracles.y().flat().clone();
  const Tensor other_x = x + 0.1 * direction(x.numel(), 73), other_y = y - 0.1 * direction(y.numel(), 74);
  const Tensor here = oracles.lower().gradient_in_y(lower);
  LossPoint old = oracles.lower().point(lower, Graph::both);
  Tensor there;
  {
    const PointScope scope(oracles, other_x, other_y);
    EXPECT_TRUE(torch::equal(oracles.x().flat(), other_x) && torch::equal(oracles.y().flat(), other_y));
    there = oracles.lower().gradient_in_y(lower);
    EXPECT_THROW(old.grad_y(), std::logic_error);
  }
  EXPECT_TRUE(torch::equal(oracles.x().flat(), x) && torch::equal(oracles.y().flat(), y));
  EXPECT_TRUE(torch::equal(oracles.lower().gradient_in_y(lower), here));
  oracles.x().assign(other_x);
  oracles.y().assign(other_y);
  EXPECT_TRUE(torch::equal(oracles.lower().gradient_in_y(lower), there));
  {  // the present buffers themselves may be given
    const PointScope scope(oracles, oracles.x().flat(), y);
    EXPECT_TRUE(torch::equal(oracles.x().flat(), other_x));
  }
  EXPECT_TRUE(torch::equal(oracles.y().flat(), other_y));
}

TEST_P(BothForms, BothLowerProductsComeFromOnePass) {
  Oracles oracles(problem(), 1);
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 67);
  LossPoint apart = oracles.lower().point(lower, Graph::both);
  LossPoint together = oracles.lower().point(lower, Graph::both);
  const OracleCounts before = oracles.counts();
  const Products products = together.products(z);
  EXPECT_EQ(oracles.counts().hvp, before.hvp + 1);
  EXPECT_EQ(oracles.counts().cross_vjp, before.cross_vjp + 1);
  EXPECT_LT(distance(products.hvp, apart.hvp(z)), 1e-14);
  EXPECT_LT(distance(products.cross_vjp, apart.cross_vjp(z)), 1e-14);
  EXPECT_THROW(oracles.lower().point(lower, Graph::lower_only).products(z), std::logic_error);
}

TEST_P(BothForms, TheUpperGradientInYAloneIsOneHalf) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Tensor expected = oracles.upper().point(upper).grad_y();
  const OracleCounts before = oracles.counts();
  EXPECT_EQ(distance(oracles.upper().gradient_in_y(upper, Counted::with_the_other_half), expected), 0);
  EXPECT_EQ(oracles.counts(), before) << "the other half counts";
}

TEST_P(BothForms, SingleLoopDirectionsAreTheirParts) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 67);
  auto [f, g] = oracles.points(upper, lower);
  const LinearStep step = oracles.hypergradient_and_residual(f, g, z);
  LossPoint f_apart = oracles.upper().point(upper);
  LossPoint g_apart = oracles.lower().point(lower, Graph::both);
  EXPECT_LT(distance(step.hypergradient, f_apart.grad_x() - g_apart.cross_vjp(z)), 1e-14);
  EXPECT_LT(distance(step.residual, g_apart.hvp(z) - f_apart.grad_y()), 1e-14);
}

TEST_P(BothForms, TheAggregatedStepIsThatOfTheAggregatedObjective) {
  constexpr double kWeight = 0.3, h = 1e-5;
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 67);
  auto [f, g] = oracles.points(upper, lower);
  const OracleCounts before = oracles.counts();
  const LinearStep step = oracles.aggregated_step(f, g, z, kWeight);
  const Tensor fy = f.grad_y(), gy = g.grad_y();
  OracleCounts expected = before;
  for (int64_t* count : {&expected.upper_gradient, &expected.lower_gradient, &expected.hvp,
                         &expected.cross_vjp, &expected.upper_hvp, &expected.upper_cross_vjp}) {
    ++*count;
  }
  EXPECT_EQ(oracles.counts(), expected);
  LossPoint f_apart = oracles.upper().point(upper);
  const Tensor fx = f_apart.grad_x();
  EXPECT_LT(distance(fy, f_apart.grad_y()), 1e-14);
  EXPECT_EQ(distance(gy, oracles.lower().gradient_in_y(lower)), 0);

  // d/dx and d/dy of <grad_y phi, z> by central differences.
  const auto slope = [&] {
    const Tensor gradient =
        kWeight * oracles.upper().gradient_in_y(upper) + (1 - kWeight) * oracles.lower().gradient_in_y(lower);
    return gradient.dot(z);
  };
  EXPECT_LT(distance(step.hypergradient, fx - numerical_derivative(oracles.x(), slope, h)), kDifference);
  EXPECT_LT(distance(step.residual, numerical_derivative(oracles.y(), slope, h) - fy), kDifference);
}

TEST_P(BothForms, ThePresentPointIsTheOnlyOne) {
  Oracles oracles(problem(), 1);
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 68);
  const std::vector<std::function<void()>> moves{
      [&] { oracles.x().add(torch::zeros_like(oracles.x().flat()), 1); },
      [&] { oracles.y().assign(oracles.y().flat().clone()); },
  };
  for (const auto& move : moves) {
    auto [f, g] = oracles.points(upper, lower);
    g.grad_y();
    move();
    EXPECT_THROW(f.grad_x(), std::logic_error);
    EXPECT_THROW(f.grad_y(), std::logic_error);
    EXPECT_THROW(g.grad_y(), std::logic_error);
    EXPECT_THROW(g.hvp(z), std::logic_error);
    EXPECT_THROW(g.cross_vjp(z), std::logic_error);
    EXPECT_THROW(oracles.hypergradient(f, g, z), std::logic_error);
    EXPECT_THROW(oracles.hypergradient_and_residual(f, g, z), std::logic_error);
    EXPECT_THROW(oracles.aggregated_step(f, g, z, 0.5), std::logic_error);
  }
  LossPoint without_x = oracles.lower().point(lower, Graph::lower_only);
  EXPECT_THROW(without_x.cross_vjp(z), std::logic_error);
  LossPoint f = oracles.upper().point(upper);
  EXPECT_THROW(oracles.hypergradient(f, without_x, z), std::logic_error);
  EXPECT_THROW(oracles.hypergradient_and_residual(f, without_x, z), std::logic_error);
  EXPECT_THROW(oracles.aggregated_step(f, without_x, z, 0.5), std::logic_error);
}

TEST_P(BothForms, PointsOwnTheirGraphWhenTheyMove) {
  Oracles oracles(problem(), 1);
  const Sample lower = oracles.lower().draw("a");
  const Tensor z = direction(oracles.y().size(), 69);
  LossPoint point = oracles.lower().point(lower, Graph::both);
  const Tensor expected = point.hvp(z);
  LossPoint moved = std::move(point);
  EXPECT_EQ(distance(moved.hvp(z), expected), 0);
  static_assert(!std::is_copy_constructible_v<LossPoint> && !std::is_copy_constructible_v<LossPoint>);
}

TEST_P(BothForms, LeavesNoGradientsAndNoRandomnessBehind) {
  torch::manual_seed(70);
  const Tensor expected = torch::rand({3});
  torch::manual_seed(70);
  net_.dropout = 0.5;
  Oracles oracles(problem(), 1);
  oracles.probe(UnusedParameters::error);
  auto [f, g] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a"));
  f.grad_y();
  g.grad_y();
  oracles.hypergradient(f, g, torch::ones({oracles.y().size()}, torch::kFloat64));
  oracles.full_losses();
  EXPECT_TRUE(torch::equal(torch::rand({3}), expected)) << "the default generator is the caller's";
  for (const Tensor& t : {net_.w, net_.c, net_.v, net_.d}) {
    EXPECT_FALSE(t.grad().defined());
    EXPECT_TRUE(t.requires_grad());
  }
}

TEST_P(BothForms, OneSampleHasOneDropoutMask) {
  net_.dropout = 0.5;
  Oracles oracles(problem(), 1);
  const Sample sample = oracles.lower().draw("a");
  const double first = oracles.lower().point(sample, Graph::both).value().item<double>();
  const Tensor y = oracles.y().flat().clone();
  oracles.y().assign(2 * y);
  oracles.lower().gradient_in_y(oracles.lower().draw("b"));  // somebody else's randomness
  oracles.y().assign(y);
  EXPECT_EQ(oracles.lower().point(sample, Graph::lower_only).value().item<double>(), first);
  Sample other = sample;
  other.model_seed = oracles.lower().draw("a").model_seed;
  EXPECT_NE(oracles.lower().point(other, Graph::both).value().item<double>(), first)
      << "same rows, another mask";
  // The derivative is that of the loss with this mask.
  const auto g = [&] { return oracles.lower().point(sample, Graph::lower_only).value(); };
  EXPECT_LT(distance(oracles.lower().gradient_in_y(sample), numerical_derivative(oracles.y(), g)),
            kDifference);
}

TEST_P(BothForms, ConsumersHaveStreamsOfTheirOwn) {
  const auto rows = [&](bool disturbed) {
    Oracles oracles(problem(), 5);
    std::vector<int64_t> all;
    for (int i = 0; i < 6; ++i) {
      const Sample sample = oracles.lower().draw("a");
      all.insert(all.end(), sample.batch.rows().begin(), sample.batch.rows().end());
      all.push_back(static_cast<int64_t>(sample.model_seed));
      if (disturbed) {
        oracles.lower().draw("b");
        oracles.upper().draw("a");
      }
    }
    return all;
  };
  EXPECT_EQ(rows(false), rows(true));
  Oracles oracles(problem(), 5);
  const Sample lower = oracles.lower().draw("a"), other = oracles.lower().draw("b"),
               upper = oracles.upper().draw("a");
  EXPECT_NE(lower.model_seed, other.model_seed);
  EXPECT_NE(lower.model_seed, upper.model_seed);
}

TEST_P(BothForms, CallsAndSamplesAreCounted) {
  Oracles oracles(problem(), 1);
  const Tensor z = torch::ones({oracles.y().size()}, torch::kFloat64);
  OracleCounts expected;
  const Sample upper = oracles.upper().draw("a");
  const Sample lower = oracles.lower().draw("a");
  expected.upper_samples = 4;
  expected.lower_samples = 3;
  EXPECT_EQ(oracles.ledger().steps, expected) << "rows are counted where they are drawn";
  {
    LossPoint f = oracles.upper().point(upper);
    f.value();
    EXPECT_EQ(oracles.ledger().steps, expected) << "a value is no derivative";
    f.grad_x();
    f.grad_y();
    f.grad_y();
    expected.upper_gradient += 1;
    LossPoint g = oracles.lower().point(lower, Graph::both);
    g.hvp(z);
    g.hvp(z);
    expected.hvp += 2;
    g.grad_y();
    g.grad_y();
    expected.lower_gradient += 1;
    g.cross_vjp(z);
    expected.cross_vjp += 1;
    EXPECT_EQ(oracles.ledger().steps, expected);
  }
  oracles.lower().gradient_in_y(lower);
  expected.lower_gradient += 1;
  auto [f, g] = oracles.points(upper, lower);
  oracles.hypergradient(f, g, z);
  expected.upper_gradient += 1;
  expected.cross_vjp += 1;
  EXPECT_EQ(oracles.ledger().steps, expected);
  {
    const auto purpose = oracles.counting(Purpose::evaluation);
    oracles.lower().gradient_in_y(oracles.lower().draw("a"));
  }
  EXPECT_EQ(oracles.ledger().steps, expected) << "evaluation is counted apart";
  EXPECT_EQ(oracles.ledger().evaluation, (OracleCounts{.lower_gradient = 1, .lower_samples = 3}));
}

TEST_P(BothForms, FullLossesUseEveryRowOnce) {
  Oracles oracles(problem(), 1);
  const auto [f, g] = oracles.full_losses();
  const Batch all({net_.data}, net_.labels, {});
  const Tensor features = net_.encode()(all);
  EXPECT_NEAR(f, net_.head_loss(0.1, 0.02)(features, all).item<double>(), 1e-14);
  EXPECT_NEAR(g, net_.head_loss(0, 0.05)(features, all).item<double>(), 1e-14);
  EXPECT_EQ(oracles.ledger().steps, OracleCounts{});
}

TEST_P(BothForms, DrawsContinueExactlyFromASavedState) {
  Oracles oracles(problem(), 7);
  for (int i = 0; i < 3; ++i) {
    oracles.lower().draw("a");
    oracles.upper().draw("b");
  }
  oracles.lower().gradient_in_y(oracles.lower().draw("a"));
  State saved;
  oracles.state(saved);
  const auto next = [](Oracles& o) {
    std::vector<int64_t> all;
    for (int i = 0; i < 4; ++i) {
      for (const Sample& s : {o.lower().draw("a"), o.upper().draw("b"), o.upper().draw("new")}) {
        all.insert(all.end(), s.batch.rows().begin(), s.batch.rows().end());
        all.push_back(static_cast<int64_t>(s.model_seed));
      }
    }
    return all;
  };
  const Tensor x = oracles.x().flat().clone();
  const OracleLedger ledger = oracles.ledger();
  const auto expected = next(oracles);

  Net other;
  Oracles restored(GetParam() ? other.split() : other.plain(), 99);
  restored.x().add(torch::ones_like(x), 3);
  restored.lower().draw("a");
  State loading(saved.tensors());
  restored.state(loading);
  EXPECT_TRUE(torch::equal(restored.x().flat(), x));
  EXPECT_TRUE(torch::equal(other.w.flatten(), x.narrow(0, 0, 12))) << "the module sees the restored values";
  EXPECT_EQ(restored.ledger().steps, ledger.steps);
  EXPECT_EQ(next(restored), expected);
}

TEST_P(BothForms, AStateOfAnotherSizeIsRefused) {
  Oracles oracles(problem(), 1);
  State saved;
  oracles.state(saved);
  auto tensors = saved.tensors();
  tensors.at("lower") = torch::zeros({2}, torch::kFloat64);
  State loading(tensors);
  EXPECT_CONTAINS(message_of<FileError>([&] { oracles.state(loading); }), "lower variable has 2 numbers");
}

TEST_P(BothForms, DetachedParametersAreBoundAgainOrRefused) {
  Oracles oracles(problem(), 1);
  const Sample sample = oracles.lower().draw("a");
  const Tensor before = oracles.lower().gradient_in_y(sample);
  LossPoint old = oracles.lower().point(sample, Graph::both);
  net_.v.set_data(2 * net_.v.detach());  // what loading weights into a module does
  const Tensor after = oracles.lower().gradient_in_y(sample);
  EXPECT_GT(distance(before, after), 1e-3) << "the new values count";
  EXPECT_TRUE(torch::equal(oracles.y().flat().narrow(0, 0, 12), net_.v.detach().flatten()));
  EXPECT_THROW(old.grad_y(), std::logic_error);
  oracles.y().assign(torch::zeros({oracles.y().size()}, torch::kFloat64));
  EXPECT_EQ(net_.v.abs().sum().item<double>(), 0) << "bound again";
  net_.w.set_data(net_.w.detach().to(torch::kFloat32));
  EXPECT_CONTAINS(message_of<InputError>([&] { oracles.lower().gradient_in_y(sample); }),
                  "upper parameter 'w' changed");
}

// ---- the encoder ----

TEST(Encoder, BothFormsGiveTheSameDerivatives) {
  Net net;
  for (const auto& [upper_batch, lower_batch] : {std::pair{4, 3}, std::pair{10, 10}}) {
    std::vector<Tensor> results[2];
    for (const bool split : {false, true}) {
      Oracles oracles(split ? net.split(upper_batch, lower_batch) : net.plain(upper_batch, lower_batch), 3);
      auto [f, g] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a"));
      const Tensor z = exact_solve(point_hessian(g), f.grad_y()).z;
      results[split] = {f.value(), g.value(), f.grad_y(), g.grad_y(), z, oracles.hypergradient(f, g, z)};
    }
    for (size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_LT(distance(results[0][i], results[1][i]), 1e-12) << "result " << i;
    }
  }
}

TEST(Encoder, JoinedBatchesGiveTheSameAsSeparateOnes) {
  Net net;
  const auto hypergradient = [&](const Problem& problem) {
    *net.log = {};
    Oracles oracles(problem, 3);
    auto [f, g] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a"));
    const Tensor z = point_hessian(g)(f.grad_y());
    return oracles.hypergradient(f, g, z);
  };
  const Tensor joined = hypergradient(net.split());
  EXPECT_EQ(net.log->calls, 1);
  EXPECT_EQ(net.log->rows, 7);

  // One data set for both levels: its rows are gathered once.
  Problem shared = net.split();
  int gathers = 0;
  const auto data = net.counted_rows(gathers);
  const Rows all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  shared.upper.batches = BatchSource(data, all, {.batch_size = 4});
  shared.lower.batches = BatchSource(data, all, {.batch_size = 3});
  EXPECT_LT(distance(hypergradient(shared), joined), 1e-14);
  EXPECT_EQ(gathers, 1);
  EXPECT_EQ(net.log->calls, 1);

  // Batches that do not fit together are encoded apart: the upper rows get a further column that the encoder
  // ignores.
  Problem apart = net.split();
  apart.encode = [encode = net.encode()](const Batch& b) {
    return encode(Batch({b.input().narrow(1, 0, 3)}, {}, b.rows()));
  };
  apart.upper.batches = shuffled({torch::cat({net.data, torch::ones({10, 1}, torch::kFloat64)}, 1)},
                                 net.labels, {.batch_size = 4});
  EXPECT_LT(distance(hypergradient(apart), joined), 1e-14);
  EXPECT_EQ(net.log->calls, 2);
}

TEST(Encoder, AWrongNumberOfFeatureRowsIsAnError) {
  Net net;
  Problem problem = net.split();
  problem.encode = [encode = problem.encode](const Batch& b) { return encode(b).slice(0, 0, 4); };
  Oracles oracles(problem, 3);
  EXPECT_CONTAINS(
      message_of<InputError>([&] { oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a")); }),
      "encode gave 4 rows of features for a batch of 7 rows");
}

TEST(FullBatch, IsGatheredOnceARun) {
  const Net net;
  Problem problem = net.split();
  int gathers = 0;
  const auto data = net.counted_rows(gathers);
  problem.lower.batches = BatchSource(data, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {.batch_size = 10});
  Oracles oracles(problem, 3);
  for (const char* stream : {"a", "b", "a"}) oracles.lower().gradient_in_y(oracles.lower().draw(stream));
  oracles.full_losses();
  EXPECT_EQ(gathers, 1);
  EXPECT_EQ(oracles.ledger().steps.lower_samples, 30);
}

TEST(Points, CannotOutliveTheirOracles) {
  const Net net;
  auto oracles = std::make_unique<Oracles>(net.split(), 3);
  LossPoint upper = oracles->upper().point(oracles->upper().draw("a"));
  LossPoint lower = oracles->lower().point(oracles->lower().draw("a"));
  const Tensor z = torch::ones({oracles->y().size()}, torch::kFloat64);
  oracles.reset();
  EXPECT_THROW(upper.grad_x(), std::logic_error);
  EXPECT_THROW(upper.grad_y(), std::logic_error);
  EXPECT_THROW(lower.grad_y(), std::logic_error);
  EXPECT_THROW(lower.hvp(z), std::logic_error);
  EXPECT_THROW(lower.products(z), std::logic_error);
}

TEST(Levels, AFeasibleSetOfTheLowerLevelIsRefused) {
  const Net net;
  Problem problem = net.split();
  problem.lower.project = box(-1, 1);
  EXPECT_CONTAINS(message_of<InputError>([&] { Oracles(problem, 1); }), "lower level has a feasible set");
}

TEST(Encoder, DerivativesInYRunItWithoutAGraph) {
  Net net;
  Oracles oracles(net.split(), 3);
  const Sample sample = oracles.lower().draw("a");
  const Tensor z = torch::ones({oracles.y().size()}, torch::kFloat64);
  *net.log = {};
  oracles.lower().gradient_in_y(sample);
  EXPECT_EQ(net.log->calls, 1);
  LossPoint point = oracles.lower().point(sample, Graph::lower_only);
  point.grad_y();
  point.hvp(z);
  point.hvp(z);
  EXPECT_EQ(net.log->calls, 2) << "products reuse the features";
  sampled_hessian(oracles, "b")(z);
  EXPECT_EQ(net.log->calls, 3);
  EXPECT_EQ(net.log->calls_with_graph, 0);
  oracles.full_losses();
  EXPECT_EQ(net.log->calls_with_graph, 0);
}

TEST(Encoder, PlainLossesBuildNoGraphThroughXForDerivativesInY) {
  Net net;
  Oracles oracles(net.plain(), 3);
  const Sample sample = oracles.lower().draw("a");
  *net.log = {};
  oracles.lower().gradient_in_y(sample);
  oracles.lower().point(sample, Graph::lower_only).hvp(torch::ones({oracles.y().size()}, torch::kFloat64));
  EXPECT_EQ(net.log->calls, 2);
  EXPECT_EQ(net.log->calls_with_graph, 0);
  oracles.lower().point(sample, Graph::both);
  EXPECT_EQ(net.log->calls_with_graph, 1) << "x records again afterwards";
}

TEST(Encoder, AHypergradientIsOneForwardAndOneBackwardPass) {
  Net net;
  for (const bool split : {true, false}) {
    Oracles oracles(split ? net.split() : net.plain(), 3);
    *net.log = {};
    auto [f, g] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a"));
    const Tensor b = f.grad_y();
    g.grad_y();
    const Tensor z = point_hessian(g)(b);
    EXPECT_EQ(net.log->backward_passes, 0) << "nothing in y runs back through the encoder";
    oracles.hypergradient(f, g, z);
    EXPECT_EQ(net.log->calls, split ? 1 : 2);
    EXPECT_EQ(net.log->backward_passes, split ? 1 : 2) << "one backward pass for each forward pass";
  }
}

// ---- a lower Hessian of the problem's own ----

TEST(OwnLowerHessian, ServesEveryProduct) {
  Net net;
  Problem problem = net.split();
  int calls = 0;
  problem.lower_hessian = [&calls](const Tensor& v) {
    ++calls;
    return 3 * v;
  };
  Oracles oracles(problem, 3);
  const Tensor z = direction(oracles.y().size(), 71);
  LossPoint point = oracles.lower().point(oracles.lower().draw("a"), Graph::both);
  EXPECT_EQ(distance(point.hvp(z), 3 * z), 0);
  EXPECT_EQ(distance(sampled_hessian(oracles, "b")(z), 3 * z), 0);
  EXPECT_EQ(oracles.ledger().steps.hvp, 2);
  EXPECT_EQ(oracles.ledger().steps.lower_samples, 3) << "the second product drew nothing";
  oracles.x().add(torch::zeros_like(oracles.x().flat()), 1);
  EXPECT_THROW(point.hvp(z), std::logic_error);
  EXPECT_EQ(calls, 2);
}

// ---- steps on x ----

TEST(MoveX, StepsAndThenProjects) {
  Net net;
  for (const bool bounded : {false, true}) {
    Problem problem = net.split();
    int projections = 0;
    if (bounded) {
      problem.upper.project = [&](const Tensor& flat) {
        ++projections;
        return flat.clamp(-0.5, 0.5);
      };
    }
    Oracles oracles(problem, 1);
    const Tensor x = direction(oracles.x().size(), 75), d = direction(oracles.x().size(), 76);
    oracles.x().assign(x);
    const uint64_t version = oracles.x().version();
    oracles.upper().move(d, -0.3);
    const Tensor moved = x - 0.3 * d;
    EXPECT_LT(distance(oracles.x().flat(), bounded ? moved.clamp(-0.5, 0.5) : moved), 1e-15);
    EXPECT_GT(oracles.x().version(), version);
    oracles.x().assign(3 * x);
    oracles.upper().project();
    EXPECT_EQ(distance(oracles.x().flat(), bounded ? (3 * x).clamp(-0.5, 0.5) : 3 * x), 0);
    EXPECT_EQ(projections, bounded ? 2 : 0);
    EXPECT_TRUE(torch::equal(net.w.flatten(), oracles.x().flat().narrow(0, 0, 12))) << "the module sees it";
  }
}

// ---- fixed slots ----

TEST(Slots, AreTheRowsOfTheLevelDealtOnceAndForAll) {
  Net net;
  Oracles oracles(net.split(4, 3), 1), same(net.split(4, 3), 1), other(net.split(4, 3), 2);
  EXPECT_EQ(oracles.upper().slots(), 3);  // 10 rows in batches of 4
  EXPECT_EQ(oracles.lower().slots(), 4);
  std::vector<int64_t> upper, lower, of_same, of_other;
  for (int64_t i = 0; i < 3; ++i) {
    const Sample slot = oracles.upper().slot(i);
    EXPECT_EQ(slot.batch.size(), oracles.upper().slot_size(i));
    upper.insert(upper.end(), slot.batch.rows().begin(), slot.batch.rows().end());
  }
  for (int64_t i = 0; i < 4; ++i) {
    const Sample slot = oracles.lower().slot(i);
    EXPECT_EQ(slot.batch.size(), oracles.lower().slot_size(i));
    for (size_t r = 0; r < slot.batch.rows().size(); ++r) {
      EXPECT_EQ(distance(slot.batch.input()[static_cast<int64_t>(r)], net.data[slot.batch.rows()[r]]), 0);
    }
    EXPECT_EQ(oracles.lower().slot(i).batch.rows(), slot.batch.rows()) << "whenever it is asked for";
    EXPECT_NE(oracles.lower().slot(i).model_seed, slot.model_seed) << "with fresh randomness inside the loss";
    lower.insert(lower.end(), slot.batch.rows().begin(), slot.batch.rows().end());
    for (auto [o, rows] : {std::pair{&same, &of_same}, {&other, &of_other}}) {
      const auto theirs = o->lower().slot(i).batch.rows();
      rows->insert(rows->end(), theirs.begin(), theirs.end());
    }
  }
  EXPECT_EQ(of_same, lower) << "they follow from the seed";
  EXPECT_NE(of_other, lower);
  for (std::vector<int64_t>* rows : {&upper, &lower}) {
    std::ranges::sort(*rows);
    EXPECT_EQ(*rows, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  }
  EXPECT_EQ(oracles.ledger().steps.upper_samples, 10);
  EXPECT_EQ(oracles.ledger().steps.lower_samples, 3 * 10) << "every slot was asked for three times";
  EXPECT_THROW(oracles.lower().slot(4), std::out_of_range);
  EXPECT_THROW(oracles.upper().slot(-1), std::out_of_range);
}

TEST(Slots, DoNotDisturbTheBatches) {
  Net net;
  Oracles oracles(net.split(), 1), fresh(net.split(), 1);
  oracles.lower().slot(0);
  oracles.upper().slot(0);
  for (int i = 0; i < 3; ++i) {
    const Sample a = oracles.lower().draw("lower_batches"), b = fresh.lower().draw("lower_batches");
    EXPECT_EQ(a.batch.rows(), b.batch.rows());
    EXPECT_EQ(a.model_seed, b.model_seed);
  }
}

TEST(Slots, AreTheSameAfterARestart) {
  Net net, again;
  Oracles oracles(net.split(), 5), restored(again.split(), 5);
  oracles.lower().slot(2);
  State saved;
  oracles.state(saved);
  const Sample expected = oracles.lower().slot(1);
  State loading(saved.tensors());
  restored.state(loading);
  const Sample found = restored.lower().slot(1);
  EXPECT_EQ(found.batch.rows(), expected.batch.rows());
  EXPECT_EQ(found.model_seed, expected.model_seed);
}

// ---- what is refused ----

TEST(Probe, AnUnusedParameterIsNamed) {
  Net net;
  const Tensor unused = torch::zeros({2, 5}, torch::kFloat64).requires_grad_();
  for (const bool upper : {true, false}) {
    Problem problem = net.split();
    Level& level = upper ? problem.upper : problem.lower;
    level.parameters.push_back(unused);
    level.parameters.names.push_back("idle");
    Oracles oracles(problem, 1);
    const std::string expected = std::string(upper ? "upper" : "lower") +
                                 " parameter 'idle' influences neither the upper nor the lower loss";
    EXPECT_EQ(message_of<InputError>([&] { oracles.probe(UnusedParameters::error); }), expected);
    EXPECT_EQ(oracles.probe(UnusedParameters::warn), std::vector<std::string>{expected});
    level.parameters.names.clear();
    Oracles unnamed(problem, 1);
    EXPECT_CONTAINS(message_of<InputError>([&] { unnamed.probe(UnusedParameters::error); }),
                    "parameter 2 (shape 2x5)");
  }
}

TEST(Probe, DerivativesOfAnotherLossAreRefused) {
  const Tensor rows = torch::eye(3, torch::kFloat64), targets = torch::ones({3}, torch::kFloat64);
  LinearModel model = linear_model({{rows}, targets}, {{rows}, targets}, 3, {.dtype = torch::kFloat64});
  EXPECT_TRUE(Oracles(model.problem, 1).probe(UnusedParameters::error).empty());
  model.problem.lower.loss = [g = model.problem.lower.loss](const Batch& b) { return g(b) + 0.01; };
  EXPECT_CONTAINS(message_of<InputError>([&] { Oracles(model.problem, 1).probe(UnusedParameters::error); }),
                  "the lower level's own derivatives are of another loss");
}

TEST(Probe, AParameterThatOnlyOneLossUsesIsFine) {
  Net net;
  Problem problem = net.plain();
  const Tensor only_f = torch::zeros({1}, torch::kFloat64).requires_grad_();
  const Tensor only_g = torch::zeros({1}, torch::kFloat64).requires_grad_();
  problem.upper.parameters.push_back(only_f);
  problem.upper.parameters.names.push_back("only_f");
  problem.lower.parameters.push_back(only_g);
  problem.lower.parameters.names.push_back("only_g");
  problem.upper.loss = [=, f = problem.upper.loss](const Batch& b) { return f(b) + only_f.square().sum(); };
  problem.lower.loss = [=, g = problem.lower.loss](const Batch& b) { return g(b) + only_g.square().sum(); };
  Oracles oracles(problem, 1);
  EXPECT_TRUE(oracles.probe(UnusedParameters::error).empty());
  // The absent parts of the other gradients are zeros.
  EXPECT_EQ(oracles.upper().point(oracles.upper().draw("a")).grad_y()[-1].item<double>(), 0);
  auto [f, g] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("a"));
  EXPECT_EQ(g.cross_vjp(torch::ones({oracles.y().size()}, torch::kFloat64))[-1].item<double>(), 0);
}

TEST(Probe, DoesNotDisturbTheRun) {
  Net net;
  Oracles probed(net.split(), 1), fresh(net.split(), 1);
  probed.probe(UnusedParameters::error);
  for (const char* stream : {"a", "lower_batches"}) {
    EXPECT_EQ(probed.lower().draw(stream).batch.rows(), fresh.lower().draw(stream).batch.rows());
  }
  EXPECT_EQ(probed.ledger().steps.lower_gradient, 0);
}

TEST(Probe, FeaturesThatDependOnYAreRefused) {
  Net net;
  Problem problem = net.split();
  problem.encode = [encode = net.encode(), d = net.d](const Batch& b) { return encode(b) + d.sum(); };
  Oracles oracles(problem, 1);
  EXPECT_EQ(message_of<InputError>([&] { oracles.probe(UnusedParameters::error); }),
            "encode depends on lower parameter 'd', but may depend on x alone");
}

TEST(Probe, LossesMustBeDifferentiableScalars) {
  Net net;
  const auto refusal = [&](auto change) {
    Problem problem = net.plain();
    change(problem);
    return message_of<InputError>([&] {
      Oracles oracles(problem, 1);
      oracles.probe(UnusedParameters::error);
    });
  };
  EXPECT_CONTAINS(refusal([](Problem& p) { p.upper.loss = [](const Batch& b) { return b.input().sum(1); }; }),
                  "the upper loss must be a scalar, but has 4 elements");
  EXPECT_CONTAINS(refusal([](Problem& p) { p.lower.loss = [](const Batch&) { return Tensor(); }; }),
                  "the lower loss must be a scalar, but has 0 elements");
  EXPECT_CONTAINS(refusal([](Problem& p) { p.upper.loss = [](const Batch& b) { return b.input().sum(); }; }),
                  "the upper loss depends on no parameter");
  EXPECT_CONTAINS(refusal([](Problem& p) {
                    p.lower.loss = [g = p.lower.loss](const Batch& b) { return g(b).detach(); };
                  }),
                  "the lower loss depends on no parameter");
}

TEST(Probe, AOneElementLossIsAScalar) {
  Net net;
  Problem problem = net.plain();
  Oracles plain(problem, 1);
  const Tensor expected = plain.lower().gradient_in_y(plain.lower().draw("a"));
  problem.lower.loss = [g = problem.lower.loss](const Batch& b) { return g(b).reshape({1, 1}); };
  Oracles oracles(problem, 1);
  oracles.probe(UnusedParameters::error);
  EXPECT_EQ(distance(oracles.lower().gradient_in_y(oracles.lower().draw("a")), expected), 0);
}

TEST(Oracles, RefuseProblemsThatAreNotComplete) {
  Net net;
  const auto refusal = [&](bool split, auto change) {
    Problem problem = split ? net.split() : net.plain();
    change(problem);
    return message_of<InputError>([&] { Oracles(problem, 1); });
  };
  EXPECT_CONTAINS(
      refusal(false,
              [&](Problem& p) { p.lower.parameters.push_back(net.w), p.lower.parameters.names.clear(); }),
      "both the upper and the lower level");
  EXPECT_CONTAINS(refusal(false, [](Problem& p) { p.upper.loss = nullptr; }),
                  "the upper level needs exactly one of loss and feature_loss");
  EXPECT_CONTAINS(
      refusal(true, [](Problem& p) { p.lower.loss = [](const Batch& b) { return b.input().sum(); }; }),
      "the lower level needs exactly one of loss and feature_loss");
  EXPECT_CONTAINS(refusal(true, [](Problem& p) { p.encode = nullptr; }),
                  "has a feature_loss, but the problem has no encode");
  EXPECT_CONTAINS(refusal(false, [](Problem& p) { p.lower.batches = {}; }), "the lower level has no batches");
  EXPECT_CONTAINS(
      refusal(false, [](Problem& p) { p.upper.parameters.clear(), p.upper.parameters.names.clear(); }),
      "the upper level has no parameters");
}

TEST(Oracles, ALinearLowerLossHasZeroProducts) {
  const Tensor x = torch::ones({2}, torch::kFloat64).requires_grad_();
  const Tensor y = torch::ones({2}, torch::kFloat64).requires_grad_();
  Oracles oracles(
      {.upper = {.parameters = {x},
                 .loss = [&](const Batch&) { return (x + y).square().sum(); },
                 .batches = no_data()},
       .lower = {.parameters = {y}, .loss = [&](const Batch&) { return 3 * y.sum(); }, .batches = no_data()}},
      1);
  LossPoint point = oracles.lower().point(oracles.lower().draw("a"), Graph::both);
  EXPECT_EQ(distance(point.grad_y(), torch::full({2}, 3.0, torch::kFloat64)), 0);
  EXPECT_EQ(distance(point.hvp(torch::ones_like(y)), torch::zeros({2}, torch::kFloat64)), 0);
  EXPECT_EQ(distance(point.cross_vjp(torch::ones_like(y)), torch::zeros({2}, torch::kFloat64)), 0);
}

// Models with fast kernels that have no second derivatives: losses hear whether these may follow.
TEST(Oracles, LossesHearWhetherTheyAreDifferentiatedTwice) {
  const Tensor x = torch::full({2}, 0.5, torch::kFloat64).requires_grad_();
  const Tensor y = torch::full({2}, 2.0, torch::kFloat64).requires_grad_();
  bool twice = true;
  std::vector<bool> f_heard, g_heard;
  Oracles oracles({.upper = {.parameters = {x},
                             .loss =
                                 [&](const Batch&) {
                                   f_heard.push_back(twice);
                                   return (x * y.square()).sum();
                                 },
                             .batches = no_data()},
                   .lower = {.parameters = {y},
                             .loss =
                                 [&](const Batch&) {
                                   g_heard.push_back(twice);
                                   return (x * y.pow(3)).sum();
                                 },
                             .batches = no_data()},
                   .set_twice_differentiable = [&](bool on) { twice = on; }},
                  1);
  const Sample xi = oracles.upper().all(), zeta = oracles.lower().all();
  const Tensor v = torch::tensor({1.0, -1.0}, torch::kFloat64);
  oracles.lower().gradient_in_y(zeta);
  oracles.lower().gradient(zeta);
  oracles.lower().value(zeta);
  EXPECT_EQ(g_heard, (std::vector<bool>{false, false, false}));
  EXPECT_TRUE(twice);
  g_heard.clear();
  auto [upper, lower] = oracles.points(xi, zeta);
  upper.grad_y();
  EXPECT_EQ(distance(lower.hvp(v), 6 * v), 0);
  EXPECT_EQ(g_heard, (std::vector<bool>{true}));
  EXPECT_EQ(f_heard, (std::vector<bool>{false}));
  EXPECT_EQ(distance(upper.hvp(v), v), 0) << "products with an upper Hessian evaluate the loss again";
  EXPECT_EQ(distance(upper.cross_vjp(v), 4 * v), 0);
  EXPECT_EQ(f_heard, (std::vector<bool>{false, true}));
  const LinearStep step = oracles.aggregated_step(upper, lower, v, 0.25);
  EXPECT_LT(distance(step.residual, (0.25 * 1 + 0.75 * 6) * v - 2), 1e-14);
  EXPECT_LT(distance(step.hypergradient, 4 - (0.25 * 4 + 0.75 * 12) * v), 1e-14);
  EXPECT_EQ(distance(upper.grad_y(), torch::full({2}, 2.0, torch::kFloat64)), 0)
      << "also after the graph is gone";
  EXPECT_EQ(f_heard.size(), 2U);
  EXPECT_TRUE(twice);
}

}  // namespace oracles_test
}  // namespace bilevel
