#include "bilevel/task/meta/heads.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/autograd.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/hypergrad/estimator.h"
#include "bilevel/hypergrad/minimize.h"
#include "tests/support.h"

namespace bilevel {
namespace heads_test {

/// T tasks of C classes with `shots` rows each, random features of width F around class means, float64.
struct Tasks {
  int64_t tasks, classes, shots, queries, width;
  torch::Tensor support, query, targets, labels;  // labels: class of each query row
  torch::Tensor log_lambda = torch::tensor(std::log(0.3), torch::kFloat64);
  torch::Tensor scale = torch::tensor(1.7, torch::kFloat64);

  Tasks(int64_t t, int64_t c, int64_t k, int64_t f, int64_t m = 2)
      : tasks(t), classes(c), shots(k), queries(m), width(f) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64);
    };
    const torch::Tensor means = random({tasks, classes, 1, width});
    support = (means + 0.7 * random({tasks, classes, shots, width})).reshape({tasks, -1, width});
    query = (means + 0.7 * random({tasks, classes, queries, width})).reshape({tasks, -1, width});
    targets =
        torch::eye(classes, torch::kFloat64).repeat_interleave(shots, 0).expand({tasks, -1, -1}).contiguous();
    labels = torch::arange(classes).repeat_interleave(queries).repeat({tasks});
  }

  torch::Tensor loss(const torch::Tensor& scores) const {
    return torch::cross_entropy_loss(scores.reshape({-1, classes}),
                                     labels.narrow(0, 0, scores.size(0) * scores.size(1)));
  }
};

/// One task as an ordinary bilevel problem: x = (support, query, log lambda, scale), y = W (with the intercept's
/// row for softmax), g as heads.h defines it.
struct OneTask {
  Tasks data;
  int64_t task;
  HeadKind kind;
  std::vector<torch::Tensor> x;
  torch::Tensor w;

  OneTask(const Tasks& all, int64_t number, HeadKind head) : data(all), task(number), kind(head) {
    const auto leaf = [](const torch::Tensor& t) { return t.clone().requires_grad_(); };
    x = {leaf(all.support[task]), leaf(all.query[task]), leaf(all.log_lambda), leaf(all.scale)};
    w = torch::zeros({all.width + (kind == HeadKind::softmax ? 1 : 0), all.classes}, torch::kFloat64)
            .requires_grad_();
  }

  torch::Tensor rows(const torch::Tensor& features) const {
    const torch::Tensor h = features - x[0].mean(0);
    return kind == HeadKind::ridge ? h : torch::cat({h, torch::ones({h.size(0), 1}, h.options())}, 1);
  }
  torch::Tensor lower() const {
    const torch::Tensor scores = rows(x[0]).matmul(w), y = data.targets[task];
    const torch::Tensor fit = kind == HeadKind::ridge ? 0.5 * (scores + y.mean(0) - y).square().sum()
                                                      : -(y * scores.log_softmax(-1)).sum();
    return fit / static_cast<double>(y.size(0)) + 0.5 * x[2].exp() * w.square().sum();
  }
  torch::Tensor upper() const {
    torch::Tensor scores = rows(x[1]).matmul(w);
    if (kind == HeadKind::ridge) scores = scores + data.targets[task].mean(0);
    return data.loss((x[3] * scores).unsqueeze(0));
  }
  Problem problem() const {
    return {
        .upper = {.parameters = x, .loss = [this](const Batch&) { return upper(); }, .batches = no_data()},
        .lower = {.parameters = {w}, .loss = [this](const Batch&) { return lower(); }, .batches = no_data()}};
  }
};

struct Case {
  HeadKind kind;
  int64_t classes, shots, width;
  std::string name;
};

class Heads : public testing::TestWithParam<Case> {};

// The batched head's scores are those of each task's own minimizer, and its gradient is grad_x f - J H^-1 grad_y f
// with the dense Hessian.
TEST_P(Heads, AgreeWithTheDenseExactHypergradientOfEachTask) {
  const auto& [kind, classes, shots, width, name] = GetParam();
  const Tasks data(3, classes, shots, width);
  std::vector<torch::Tensor> x{data.support.clone(), data.query.clone(), data.log_lambda.clone(),
                               data.scale.clone()};
  for (torch::Tensor& t : x) t.requires_grad_();
  const torch::Tensor scores = head_scores(kind, x[0], data.targets, x[1], x[2].exp(), x[3]);
  for (int64_t task = 0; task < 3; ++task) {
    const OneTask one(data, task, kind);
    Oracles oracles(one.problem(), 1);
    const Sample upper = oracles.upper().draw("a"), lower = oracles.lower().draw("a");
    ASSERT_TRUE(solve_lower(oracles, lower).converged);
    const torch::Tensor loss = data.loss(scores.narrow(0, task, 1));
    EXPECT_NEAR(loss.item<double>(), one.upper().item<double>(), 1e-10);
    const Estimate exact = make_estimator("exact")->estimate(oracles, upper, lower);
    const auto parts = torch::autograd::grad({loss}, x, {}, true);
    const torch::Tensor found = torch::cat(
        {parts[0][task].flatten(), parts[1][task].flatten(), parts[2].reshape({1}), parts[3].reshape({1})});
    EXPECT_LT(relative_error(found, exact.value), 1e-8);
    EXPECT_EQ(parts[0][(task + 1) % 3].abs().sum().item<double>(), 0);  // no task reads another
  }
}

TEST_P(Heads, AgreeWithFiniteDifferences) {
  const auto& [kind, classes, shots, width, name] = GetParam();
  const Tasks data(2, classes, shots, width);
  Parameters x({data.support.clone().requires_grad_(), data.query.clone().requires_grad_(),
                data.log_lambda.clone().requires_grad_(), data.scale.clone().requires_grad_()},
               {}, "upper");
  const auto loss = [&] {
    const auto& t = x.tensors();
    return data.loss(head_scores(kind, t[0], data.targets, t[1], t[2].exp(), t[3]));
  };
  const torch::Tensor gradient = x.pack(torch::autograd::grad({loss()}, x.tensors()));
  EXPECT_LT(relative_error(gradient, numerical_derivative(x, loss)), 1e-7);
}

// Gradient descent on g for many steps, differentiated through every step.
TEST_P(Heads, AgreeWithAnUnrolledSolve) {
  const auto& [kind, classes, shots, width, name] = GetParam();
  const Tasks data(1, classes, shots, width);
  OneTask one(data, 0, kind);
  torch::Tensor w = one.w;
  const torch::Tensor spread =
      one.rows(one.x[0]).square().sum().detach() / static_cast<double>(classes * shots);
  const double step = 1 / (spread.item<double>() + 0.3);
  for (int k = 0; k < 1500; ++k) {
    one.w = w;
    w = w - step * torch::autograd::grad({one.lower()}, {w}, {}, true, true)[0];
  }
  one.w = w;
  const torch::Tensor unrolled = torch::autograd::grad({one.upper()}, {one.x[0]})[0];
  const torch::Tensor support = data.support.clone().requires_grad_();
  const torch::Tensor scores =
      head_scores(kind, support, data.targets, data.query, data.log_lambda.exp(), data.scale);
  const torch::Tensor implicit = torch::autograd::grad({data.loss(scores)}, {support})[0][0];
  EXPECT_LT(relative_error(implicit, unrolled), 1e-6);
}

TEST_P(Heads, AreTheSameInSinglePrecision) {
  const auto& [kind, classes, shots, width, name] = GetParam();
  const Tasks data(3, classes, shots, width);
  const auto run = [&](torch::Dtype dtype) {
    const torch::Tensor support = data.support.to(dtype).requires_grad_();
    const torch::Tensor scores = head_scores(kind, support, data.targets.to(dtype), data.query.to(dtype),
                                             data.log_lambda.exp().to(dtype), data.scale.to(dtype));
    return std::pair{scores.detach().to(torch::kFloat64),
                     torch::autograd::grad({data.loss(scores)}, {support})[0].to(torch::kFloat64)};
  };
  const auto [scores32, gradient32] = run(torch::kFloat32);
  const auto [scores64, gradient64] = run(torch::kFloat64);
  EXPECT_LT(relative_error(scores32, scores64), 1e-4);
  EXPECT_LT(relative_error(gradient32, gradient64), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(All, Heads,
                         testing::Values(Case{HeadKind::ridge, 3, 2, 9, "RidgeDual"},
                                         Case{HeadKind::ridge, 3, 4, 5, "RidgePrimal"},
                                         Case{HeadKind::softmax, 3, 2, 9, "SoftmaxWide"},
                                         Case{HeadKind::softmax, 2, 5, 4, "SoftmaxNarrow"},
                                         Case{HeadKind::softmax, 4, 1, 6, "SoftmaxOneShot"}),
                         [](const auto& test) { return test.param.name; });

TEST(SoftmaxDual, IsSolvedToItsResidualForWeakAndStrongRegularization) {
  const Tasks data(4, 5, 3, 20);
  const torch::Tensor k = 25 * data.support.matmul(data.support.transpose(1, 2)) + 1;
  for (const double lambda : {1e-4, 1e-2, 1.0, 100.0}) {
    const torch::Tensor a = softmax_dual(k, data.targets, torch::tensor(lambda, torch::kFloat64));
    const torch::Tensor residual = lambda * 15 * a + k.matmul(a).softmax(-1) - data.targets;
    EXPECT_LT(residual.abs().max().item<double>(), 1e-10) << lambda;
  }
}

TEST(RidgeHead, DualAndPrimalAgreeWhereRowsOutnumberFeaturesByOne) {
  // A further feature that is always zero changes nothing but the form: 6 rows, 5 or 6 features.
  const Tasks data(2, 3, 2, 5);
  const auto padded = [](const torch::Tensor& h) {
    return torch::cat({h, torch::zeros({h.size(0), h.size(1), 1}, h.options())}, 2);
  };
  const torch::Tensor lambda = data.log_lambda.exp();
  const torch::Tensor primal =
      head_scores(HeadKind::ridge, data.support, data.targets, data.query, lambda, data.scale);
  const torch::Tensor dual = head_scores(HeadKind::ridge, padded(data.support), data.targets,
                                         padded(data.query), lambda, data.scale);
  EXPECT_LT(distance(primal, dual), 1e-12);
}

TEST(HeadScores, ATaskThatIsNotFiniteGivesNanThereAndOnlyThere) {
  Tasks data(3, 2, 2, 6);
  data.support[1][0][0] = std::numeric_limits<double>::quiet_NaN();
  for (const HeadKind kind : {HeadKind::ridge, HeadKind::softmax}) {
    const torch::Tensor scores =
        head_scores(kind, data.support, data.targets, data.query, data.log_lambda.exp(), data.scale);
    EXPECT_TRUE(scores[1].isnan().all().item<bool>()) << name_of(kind);
    EXPECT_TRUE(scores[0].isfinite().all().item<bool>()) << name_of(kind);
    EXPECT_TRUE(scores[2].isfinite().all().item<bool>()) << name_of(kind);
  }
}

TEST(HeadScores, ASharedHeadIsNotSolvedForEachTask) {
  const torch::Tensor h = torch::ones({1, 2, 3}), one = torch::ones({});
  EXPECT_THROW(head_scores(HeadKind::shared, h, torch::ones({1, 2, 2}), h, one, one), std::logic_error);
}

}  // namespace heads_test
}  // namespace bilevel
