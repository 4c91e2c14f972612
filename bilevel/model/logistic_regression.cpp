#include "bilevel/model/logistic_regression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/model/newton.h"
#include "bilevel/model/sparse.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// The rows X in float64 on the CPU, with the two products that a fit needs.
class Rows {
 public:
  Rows(const std::vector<Tensor>& inputs, int64_t width) : width_(width) {
    if (width < 1) throw InputError(fmt::format("width = {}: must be at least 1.", width));
    for (const Tensor& tensor : inputs) {
      parts_.push_back(tensor.detach().to(torch::kCPU));
      if (tensor.is_floating_point()) parts_.back() = parts_.back().to(torch::kDouble).contiguous();
    }
    if (dense() && (parts_[0].dim() != 2 || parts_[0].size(1) != width)) {
      throw InputError(fmt::format("Dense inputs must be {{x [n,{}]}}.", width));
    }
    if (!dense() && parts_.size() != 3)
      throw InputError("Inputs must be dense {x} or sparse {indices, values, offsets}.");
    for (const Tensor& part : parts_) {
      if (part.is_floating_point() && !torch::isfinite(part).all().item<bool>()) {
        throw InputError("Inputs of a logistic regression must be finite.");
      }
    }
  }

  int64_t count() const { return dense() ? parts_[0].size(0) : parts_[2].size(0) - 1; }

  /// X v [n].
  Tensor times(const Tensor& v) const {
    return dense() ? parts_[0].mv(v) : sparse_matmul(parts_, v.unsqueeze(1)).squeeze(1);
  }

  /// X^T r [width].
  Tensor transposed_times(const Tensor& r) const {
    return dense() ? parts_[0].t().mv(r)
                   : sparse_transposed_matmul(parts_, r.unsqueeze(1), width_).squeeze(1);
  }

  /// Whether `gram` costs less than the products that conjugate gradients take.
  bool narrow() const { return dense() && width_ <= 500; }

  /// X'^T D X' [width + 1, width + 1] of the dense rows X' = (X, 1) and the diagonal D = `d` [n].
  Tensor gram(const Tensor& d) const {
    constexpr int64_t kRows = 4096;  // at a time, for the sake of memory
    Tensor sum = torch::zeros({width_ + 1, width_ + 1}, torch::kDouble);
    for (int64_t begin = 0; begin < count(); begin += kRows) {
      const int64_t rows = std::min(kRows, count() - begin);
      const Tensor x =
          torch::cat({parts_[0].narrow(0, begin, rows), torch::ones({rows, 1}, torch::kDouble)}, 1);
      sum.addmm_(x.t(), x * d.narrow(0, begin, rows).unsqueeze(1));
    }
    return sum;
  }

 private:
  bool dense() const { return parts_.size() == 1; }

  std::vector<Tensor> parts_;
  int64_t width_;
};

/// H^-1 b by Cholesky's method; undefined where H is not positive definite to rounding.
Tensor solve_exactly(const Tensor& h, const Tensor& b) {
  const auto [factor, failed] = torch::linalg_cholesky_ex(h);
  return failed.item<int64_t>() != 0 ? Tensor() : torch::cholesky_solve(b.unsqueeze(1), factor).squeeze(1);
}

}  // namespace

Tensor LogisticRegression::scores(const std::vector<Tensor>& inputs) const {
  return Rows(inputs, weight.size(0)).times(weight) + intercept;
}

LogisticRegression fit_logistic_regression(const std::vector<Tensor>& inputs, int64_t width,
                                           const Tensor& labels, const LogisticRegressionOptions& options,
                                           const LogisticRegression* start) {
  const double c = options.inverse_regularization;
  if (!(c > 0) || std::isinf(c)) {
    throw InputError(fmt::format("inverse_regularization = {}: must be positive and finite.", c));
  }
  if (!(options.gradient_tolerance > 0)) {
    throw InputError(fmt::format("gradient_tolerance = {}: must be positive.", options.gradient_tolerance));
  }
  if (options.max_iterations < 1)
    throw InputError(fmt::format("max_iterations = {}: must be at least 1.", options.max_iterations));
  const torch::NoGradGuard no_grad;
  const Rows rows(inputs, width);
  if (labels.dim() != 1 || labels.size(0) != rows.count()) {
    throw InputError(fmt::format("labels must have one entry for each of the {} rows.", rows.count()));
  }
  const Tensor signs = labels.cpu().gt(0).to(torch::kDouble) * 2 - 1;
  if (rows.count() == 0 || signs.min().item<double>() == signs.max().item<double>()) {
    throw InputError("labels: a logistic regression needs rows of both classes.");
  }

  // Variables: w, then b in the last place.
  Tensor first = torch::zeros({width + 1}, torch::kDouble);
  if (start != nullptr) {
    if (start->weight.sizes() != at::IntArrayRef{width})
      throw InputError("start: has another width than the inputs.");
    first = torch::cat({start->weight, torch::full({1}, start->intercept, torch::kDouble)});
  }
  const auto outputs = [&](const Tensor& v) { return rows.times(v.narrow(0, 0, width)) + v[width]; };
  /// The gradient of sum_i residual_i (x_i w + b) + 0.5 ||w||^2.
  const auto gradient_of = [&](const Tensor& residual, const Tensor& v) {
    return torch::cat({rows.transposed_times(residual) + v.narrow(0, 0, width), residual.sum().unsqueeze(0)});
  };
  const ConvexFunction objective{
      .value_and_gradient =
          [&](const Tensor& v) {
            const Tensor margins = signs * outputs(v), w = v.narrow(0, 0, width);
            return std::pair((0.5 * w.dot(w) - c * torch::log_sigmoid(margins).sum()).item<double>(),
                             gradient_of(torch::sigmoid(-margins) * signs * -c, v));
          },
      .solve =
          [&](const Tensor& v, const Tensor& b, double tolerance) {
            const Tensor p = torch::sigmoid(outputs(v)), curvature = c * p * (1 - p);
            if (rows.narrow()) {
              Tensor h = rows.gram(curvature);
              h.diagonal().narrow(0, 0, width).add_(1);
              if (const Tensor solution = solve_exactly(h, b); solution.defined()) return solution;
            }
            const auto hessian = [&](const Tensor& u) { return gradient_of(curvature * outputs(u), u); };
            return solve_by_conjugate_gradients(hessian, torch::ones_like(b), b, tolerance);
          }};
  const auto largest = [&](const Tensor& gradient) { return gradient.abs().max().item<double>(); };
  const double scale = largest(objective.value_and_gradient(torch::zeros_like(first)).second);
  const double goal = options.gradient_tolerance * scale;
  const NewtonResult found =
      newton(objective, first, {.max_steps = options.max_iterations, .enough = [&](const Tensor& gradient) {
                                  return largest(gradient) <= goal;
                                }});
  LogisticRegression fit{.weight = found.y.narrow(0, 0, width).clone(),
                         .intercept = found.y[width].item<double>(),
                         .inverse_regularization = c,
                         .iterations = found.steps};
  fit.gradient_norm = largest(objective.value_and_gradient(found.y).second);
  fit.converged = fit.gradient_norm <= 1.01 * goal + 1e-12 * scale;
  return fit;
}

LogisticRegression select_logistic_regression(const std::vector<Tensor>& inputs, int64_t width,
                                              const Tensor& labels,
                                              const std::vector<Tensor>& validation_inputs,
                                              const std::function<double(const Tensor&)>& score,
                                              std::vector<double> inverse_regularizations,
                                              const LogisticRegressionOptions& options) {
  if (inverse_regularizations.empty()) throw InputError("inverse_regularizations: must not be empty.");
  std::sort(inverse_regularizations.begin(), inverse_regularizations.end());
  LogisticRegression best, last;
  double best_score = -std::numeric_limits<double>::infinity();
  for (const double c : inverse_regularizations) {
    LogisticRegressionOptions at = options;
    at.inverse_regularization = c;
    last = fit_logistic_regression(inputs, width, labels, at, last.weight.defined() ? &last : nullptr);
    const double reached = score(last.scores(validation_inputs));
    if (reached > best_score || !best.weight.defined()) {
      best = last;
      best_score = std::isnan(reached) ? best_score : reached;
    }
  }
  return best;
}

}  // namespace bilevel
