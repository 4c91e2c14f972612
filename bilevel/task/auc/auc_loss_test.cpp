#include "bilevel/task/auc/auc_loss.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

namespace bilevel {
namespace auc_loss_test {

struct Data {
  torch::Tensor scores = torch::tensor({0.9, -0.3, 0.2, 0.4, -0.8}, torch::kFloat64);
  torch::Tensor labels = torch::tensor({1.0, 0.0, 1.0, 0.0, 0.0}, torch::kFloat64);
  torch::Tensor a = torch::tensor({0.3}, torch::kFloat64);
  torch::Tensor b = torch::tensor({-0.1}, torch::kFloat64);
};

/// The definition, term by term.
double by_hand(const Data& d, const AucLoss& loss, double alpha) {
  const double rho = loss.positive_share;
  double sum = 0, q = 0;
  for (int64_t i = 0; i < 5; ++i) {
    const double s = d.scores[i].item<double>();
    if (d.labels[i].item<double>() == 1) {
      sum += (1 - rho) * (s - 0.3) * (s - 0.3) / 5;
      q -= (1 - rho) * s / 5;
    } else {
      sum += rho * (s + 0.1) * (s + 0.1) / 5;
      q += rho * s / 5;
    }
  }
  const double with_margin = rho * (1 - rho) * loss.margin + q;
  if (loss.form == "libauc") sum += 2 * alpha * with_margin;
  if (loss.form == "ppd") sum += 2 * (1 + alpha) * q;
  if (loss.form == "authors") sum += 2 * (1 + alpha) * with_margin;
  return sum - rho * (1 - rho) * alpha * alpha;
}

/// The alpha that maximizes A for fixed scores.
double best_alpha(const AucLoss& loss, const Data& d) {
  const double rho = loss.positive_share;
  const double q =
      ((rho * (1 - d.labels) - (1 - rho) * d.labels) * d.scores).mean().item<double>() / (rho * (1 - rho));
  return loss.form == "ppd" ? q : q + loss.margin;
}

TEST(AucLoss, EqualsItsDefinition) {
  const Data d;
  for (const std::string form : {"libauc", "ppd", "authors"}) {
    const AucLoss loss{form, 0.3, 1.5};
    for (const double alpha : {-0.5, 0.0, 1.2}) {
      EXPECT_NEAR(
          loss.value(d.scores, d.labels, d.a, d.b, torch::tensor({alpha}, torch::kFloat64)).item<double>(),
          by_hand(d, loss, alpha), 1e-15);
    }
  }
}

// Section 2.2: alpha* = m + q (libauc, authors), q (ppd), and the curvature in alpha does not depend on the
// data.
TEST(AucLoss, BestAlphaMaximizesAndCurvatureIsConstant) {
  const Data d;
  for (const std::string form : {"libauc", "ppd", "authors"}) {
    const AucLoss loss{form, 0.4, 1.0};
    const double best = best_alpha(loss, d);
    torch::Tensor alpha = torch::tensor({best}, torch::kFloat64).requires_grad_();
    const torch::Tensor value = loss.value(d.scores, d.labels, d.a, d.b, alpha);
    const torch::Tensor gradient = torch::autograd::grad({value}, {alpha}, {}, true, true)[0];
    EXPECT_NEAR(gradient.item<double>(), 0, 1e-15);
    EXPECT_NEAR(torch::autograd::grad({gradient.sum()}, {alpha})[0].item<double>(), -loss.lower_curvature(),
                1e-15);
  }
}

/// A by operations that autograd knows; of scores [B,M] the sum over the members.
torch::Tensor by_operations(const Data& d, const AucLoss& loss, const torch::Tensor& alpha) {
  if (d.scores.dim() == 2) {
    torch::Tensor sum = torch::zeros({}, torch::kFloat64);
    for (int64_t k = 0; k < alpha.numel(); ++k) {
      const Data one{d.scores.select(1, k), d.labels, d.a.narrow(0, k, 1), d.b.narrow(0, k, 1)};
      sum = sum + by_operations(one, loss, alpha.narrow(0, k, 1));
    }
    return sum;
  }
  const double rho = loss.positive_share;
  const torch::Tensor negatives = 1 - d.labels;
  const torch::Tensor q = ((rho * negatives - (1 - rho) * d.labels) * d.scores).mean();
  const torch::Tensor spread =
      ((1 - rho) * d.labels * (d.scores - d.a).square() + rho * negatives * (d.scores - d.b).square()).mean();
  const double c = loss.form == "ppd" ? 0 : rho * (1 - rho) * loss.margin;
  const torch::Tensor k = loss.form == "libauc" ? alpha : 1 + alpha;
  return (spread + 2 * k * (q + c) - rho * (1 - rho) * alpha.square()).reshape({});
}

/// In every way in which solvers ask for them: all at once, in alpha alone with and without a graph, and the gradients of those.
void expect_derivatives(Data d, torch::Tensor alpha, const torch::Tensor& v) {
  for (const std::string form : {"libauc", "ppd", "authors"}) {
    const AucLoss loss{form, 0.3, 1.5};
    d.scores.requires_grad_();
    d.a.requires_grad_();
    d.b.requires_grad_();
    alpha.requires_grad_();
    const std::vector<torch::Tensor> inputs{d.scores, d.a, d.b, alpha};
    const auto derivatives = [&](const torch::Tensor& value) {
      std::vector<torch::Tensor> found = torch::autograd::grad({2.5 * value}, inputs, {}, true);
      found.push_back(torch::autograd::grad({2.5 * value}, {alpha}, {}, true)[0]);
      const torch::Tensor slope = torch::autograd::grad({-value}, {alpha}, {}, true, true)[0];
      found.push_back(slope.detach());
      for (const auto& part : torch::autograd::grad({slope}, {d.scores, alpha}, {v}, true))
        found.push_back(part);
      torch::Tensor sum = torch::zeros({}, torch::kFloat64);
      for (const auto& part : torch::autograd::grad({2.5 * value}, inputs, {}, true, true))
        sum = sum + part.square().sum();
      for (const auto& part : torch::autograd::grad({sum}, inputs, {}, true)) found.push_back(part);
      return found;
    };
    const auto ours = derivatives(loss.value(d.scores, d.labels, d.a, d.b, alpha));
    const auto reference = derivatives(by_operations(d, loss, alpha));
    ASSERT_EQ(ours.size(), reference.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i].sizes(), reference[i].sizes()) << form << i;
      EXPECT_LT((ours[i] - reference[i]).abs().max().item<double>(), 1e-13) << form << i;
    }
  }
}

TEST(AucLoss, DerivativesAreThoseOfAutograd) {
  expect_derivatives({}, torch::tensor({0.7}, torch::kFloat64), torch::tensor({-0.6}, torch::kFloat64));
}

TEST(AucLoss, OfMembersIsTheSumEachWithItsOwnNumbers) {
  const Data d;
  const Data members{torch::stack({d.scores, 0.5 - d.scores, d.scores.square()}, 1), d.labels,
                     torch::tensor({0.3, -0.2, 0.1}, torch::kFloat64),
                     torch::tensor({-0.1, 0.4, 0.0}, torch::kFloat64)};
  const torch::Tensor alpha = torch::tensor({0.7, -0.4, 1.1}, torch::kFloat64);
  EXPECT_NEAR(AucLoss{}.value(members.scores, d.labels, members.a, members.b, alpha).item<double>(),
              by_operations(members, AucLoss{}, alpha).item<double>(), 1e-14);
  expect_derivatives(members, alpha, torch::tensor({-0.6, 0.2, 1.3}, torch::kFloat64));
}

// A row that counts k times is k rows.
TEST(AucLoss, AWeightCountsARowSeveralTimes) {
  const Data d;
  const torch::Tensor twice = torch::tensor({0, 1, 2, 3, 3, 4}),
                      alpha = torch::tensor({0.4}, torch::kFloat64);
  const torch::Tensor weights = torch::tensor({1.0, 1.0, 1.0, 2.0, 1.0}, torch::kFloat64) * 5 / 6;
  for (const std::string form : {"libauc", "ppd", "authors"}) {
    const AucLoss loss{form, 0.3, 1.5};
    EXPECT_NEAR(loss.value(d.scores, d.labels, d.a, d.b, alpha, weights).item<double>(),
                loss.value(d.scores.index_select(0, twice), d.labels.index_select(0, twice), d.a, d.b, alpha)
                    .item<double>(),
                1e-15);
  }
}

// With rho the true share, q is the mean score of the negatives less that of the positives, and the maximized
// value without spread is rho(1-rho)(m+q)^2, rho(1-rho)[(1+q)^2-1] and rho(1-rho)[(1+m+q)^2-1].
TEST(AucLoss, MaximizedValueOfEachForm) {
  Data d;
  const double rho = 0.4, q = (-0.3 + 0.4 - 0.8) / 3 - (0.9 + 0.2) / 2;
  const auto maximum = [&](const std::string& form) {
    const AucLoss loss{form, rho, 1.0};
    const torch::Tensor alpha = torch::tensor({best_alpha(loss, d)}, torch::kFloat64);
    const torch::Tensor spread =
        ((1 - rho) * d.labels * (d.scores - d.a).square() + rho * (1 - d.labels) * (d.scores - d.b).square())
            .mean();
    return (loss.value(d.scores, d.labels, d.a, d.b, alpha) - spread).item<double>();
  };
  EXPECT_NEAR(maximum("libauc"), rho * (1 - rho) * (1 + q) * (1 + q), 1e-15);
  EXPECT_NEAR(maximum("ppd"), rho * (1 - rho) * ((1 + q) * (1 + q) - 1), 1e-15);
  EXPECT_NEAR(maximum("authors"), rho * (1 - rho) * ((2 + q) * (2 + q) - 1), 1e-15);
}

}  // namespace auc_loss_test
}  // namespace bilevel
