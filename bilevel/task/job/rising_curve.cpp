#include "bilevel/task/job/rising_curve.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace bilevel {

RisingCurve::RisingCurve(const torch::Tensor& odds) {
  constexpr int64_t kPieces = 8;
  const torch::Tensor inner = torch::arange(1, kPieces, torch::kFloat64) / kPieces;
  const torch::Tensor at = std::get<0>(torch::unique_consecutive(torch::quantile(odds, inner)));
  knots_.assign(at.const_data_ptr<double>(), at.const_data_ptr<double>() + at.numel());
}

torch::Tensor RisingCurve::covered(const torch::Tensor& odds) const {
  std::vector<torch::Tensor> pieces{odds.clamp_max(knots_.front()) - knots_.front()};
  for (size_t k = 0; k + 1 < knots_.size(); ++k)
    pieces.push_back(odds.clamp(knots_[k], knots_[k + 1]) - knots_[k]);
  pieces.push_back(odds.clamp_min(knots_.back()) - knots_.back());
  return torch::stack(pieces, 1);
}

torch::Tensor RisingCurve::fit(const torch::Tensor& covered, const torch::Tensor& targets, double stiffness,
                               torch::Tensor w) {
  constexpr double kSmall = 1e-7, kSteepest = 30;
  const int64_t pieces = covered.size(1);
  const torch::Tensor change = torch::eye(pieces, torch::kFloat64).diff(1, 0);  // [pieces - 1, pieces]
  const torch::Tensor penalty = torch::zeros({pieces + 1, pieces + 1}, torch::kFloat64);
  penalty.narrow(0, 1, pieces).narrow(1, 1, pieces).copy_(stiffness * change.t().mm(change));
  const auto loss = [&](const torch::Tensor& at) {
    const torch::Tensor odds = values(covered, at);
    return (torch::softplus(odds) - targets * odds).sum().item<double>() +
           0.5 * at.dot(penalty.mv(at)).item<double>();
  };
  double value = loss(w), damping = 1e-3;
  for (int iteration = 0; iteration < 100 && damping < 1e10; ++iteration) {
    const torch::Tensor p = torch::sigmoid(values(covered, w));
    const torch::Tensor slopes = w.narrow(0, 1, pieces).exp();
    const torch::Tensor by_w =
        torch::cat({torch::ones({covered.size(0), 1}, torch::kFloat64), covered * slopes}, 1);
    const torch::Tensor gradient = by_w.t().mv(p - targets) + penalty.mv(w);
    const torch::Tensor hessian = by_w.t().mm(by_w * (p * (1 - p)).unsqueeze(1)) + penalty;
    const torch::Tensor damped = hessian + torch::diag(damping * hessian.diagonal() + 1e-9);
    const torch::Tensor step = torch::linalg_solve(damped, gradient, true);
    const torch::Tensor next = torch::cat({w.narrow(0, 0, 1) - step.narrow(0, 0, 1),
                                           (w - step).narrow(0, 1, pieces).clamp(-kSteepest, kSteepest)});
    const double then = loss(next);
    if (!(then <= value)) {
      damping *= 10;
      continue;
    }
    const bool done = value - then < kSmall;
    w = next;
    value = then;
    damping = std::max(1e-9, damping / 10);
    if (done) break;
  }
  return w;
}

torch::Tensor RisingCurve::values(const torch::Tensor& covered, const torch::Tensor& w) {
  return w[0] + covered.mv(w.narrow(0, 1, covered.size(1)).exp());
}

torch::Tensor RisingCurve::line(double slope, double intercept) const {
  const auto pieces = static_cast<int64_t>(knots_.size()) + 1;
  return torch::cat({torch::full({1}, intercept + slope * knots_.front(), torch::kFloat64),
                     torch::full({pieces}, std::log(slope), torch::kFloat64)});
}

std::vector<std::pair<double, double>> RisingCurve::points(const torch::Tensor& w) const {
  std::vector<double> odds{knots_.front() - 1};
  odds.insert(odds.end(), knots_.begin(), knots_.end());
  odds.push_back(knots_.back() + 1);
  const torch::Tensor made = values(covered(torch::tensor(odds, torch::kFloat64)), w);
  std::vector<std::pair<double, double>> found;
  for (size_t i = 0; i < odds.size(); ++i) found.emplace_back(odds[i], made.const_data_ptr<double>()[i]);
  return found;
}

}  // namespace bilevel
