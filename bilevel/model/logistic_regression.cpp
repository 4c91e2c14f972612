#include "bilevel/model/logistic_regression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"
#include "bilevel/model/sparse.h"

namespace bilevel {
namespace {

using torch::Tensor;

constexpr size_t kMemory = 10;  // pairs that L-BFGS keeps

/// The rows X in float64 on the CPU, with the two products that a fit needs.
class Rows {
 public:
  Rows(const std::vector<Tensor>& inputs, int64_t width) : width_(width) {
    check_at_least("width", width, 1);
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

 private:
  bool dense() const { return parts_.size() == 1; }

  std::vector<Tensor> parts_;
  int64_t width_;
};

/// The objective along a line w + step * direction, b likewise: a convex function of `step` that needs no
/// product with the inputs, because the margins t (x w + b) are linear in the step.
struct Line {
  const double* margins;  // at step 0
  const double* slopes;   // change of the margins per unit step
  int64_t count;
  double c;          // C
  double linear;     // w . direction
  double quadratic;  // ||direction||^2

  /// First and second derivative at `step`.
  std::pair<double, double> derivatives(double step) const {
    double first = 0, second = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double p = 1 / (1 + std::exp(margins[i] + step * slopes[i]));  // -d loss / d margin
      first -= p * slopes[i];
      second += p * (1 - p) * slopes[i] * slopes[i];
    }
    return {c * first + linear + step * quadratic, c * second + quadratic};
  }

  /// A step where the slope has shrunk to a tenth: safeguarded Newton iterations on the derivative, which
  /// rises with the step. Such a point satisfies both Wolfe conditions up to rounding. 0 if no progress is
  /// possible.
  double search() const {
    const double slope = derivatives(0).first;
    if (!(slope < 0)) return 0;
    double low = 0, high = std::numeric_limits<double>::infinity(), step = 1;
    for (int tries = 0; tries < 60; ++tries) {
      const auto [first, second] = derivatives(step);
      if (!std::isfinite(first)) return low;
      if (std::abs(first) <= 0.1 * std::abs(slope)) return step;
      (first < 0 ? low : high) = step;
      double next = second > 0 ? step - first / second : std::numeric_limits<double>::infinity();
      if (std::isinf(high)) {
        next = std::clamp(next, 1.5 * low, 10 * low);
      } else if (!(next > low && next < high)) {
        next = 0.5 * (low + high);
      }
      step = next;
    }
    return low;
  }
};

/// Last steps and gradient changes, and the quasi-Newton direction from them (two-loop recursion).
class Memory {
 public:
  void add(const Tensor& step, const Tensor& change) {
    const double curvature = step.dot(change).item<double>();
    if (!(curvature > 1e-14 * change.dot(change).item<double>())) return;
    pairs_.push_back({step, change, curvature});
    if (pairs_.size() > kMemory) pairs_.pop_front();
  }

  Tensor direction(const Tensor& gradient) const {
    Tensor q = -gradient;
    std::vector<double> weights;
    for (auto pair = pairs_.rbegin(); pair != pairs_.rend(); ++pair) {
      weights.push_back(pair->step.dot(q).item<double>() / pair->curvature);
      q.sub_(pair->change, weights.back());
    }
    if (!pairs_.empty()) {
      const Pair& last = pairs_.back();
      q.mul_(last.curvature / last.change.dot(last.change).item<double>());
    }
    for (const Pair& pair : pairs_) {
      const double correction = pair.change.dot(q).item<double>() / pair.curvature;
      q.add_(pair.step, weights.back() - correction);
      weights.pop_back();
    }
    return q;
  }

  void clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }

 private:
  struct Pair {
    Tensor step, change;
    double curvature;
  };
  std::deque<Pair> pairs_;
};

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
  check_at_least("max_iterations", options.max_iterations, 1);
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
  Tensor point = torch::zeros({width + 1}, torch::kDouble);
  if (start != nullptr) {
    if (start->weight.sizes() != at::IntArrayRef{width})
      throw InputError("start: has another width than the inputs.");
    point.narrow(0, 0, width).copy_(start->weight);
    point[width] = start->intercept;
  }
  const auto margins_of = [&](const Tensor& v) {
    return (signs * (rows.times(v.narrow(0, 0, width)) + v[width])).contiguous();
  };
  const auto gradient_at = [&](const Tensor& v, const Tensor& margins) {
    const Tensor residual = torch::sigmoid(-margins) * signs * -c;
    Tensor gradient = torch::empty_like(v);
    gradient.narrow(0, 0, width).copy_(rows.transposed_times(residual) + v.narrow(0, 0, width));
    gradient[width] = residual.sum();
    return gradient;
  };
  const auto largest = [](const Tensor& v) { return v.abs().max().item<double>(); };

  Tensor margins = margins_of(point);
  Tensor gradient = gradient_at(point, margins);
  const Tensor zero = torch::zeros_like(point);
  const double scale =
      start == nullptr ? largest(gradient) : largest(gradient_at(zero, torch::zeros_like(margins)));
  const double goal = options.gradient_tolerance * scale;

  LogisticRegression fit;
  fit.inverse_regularization = c;
  Memory memory;
  while (largest(gradient) > goal && fit.iterations < options.max_iterations) {
    ++fit.iterations;
    const Tensor direction = memory.direction(gradient);
    const Tensor slopes = margins_of(direction);
    const Tensor w = point.narrow(0, 0, width), d = direction.narrow(0, 0, width);
    const Line line{margins.data_ptr<double>(), slopes.data_ptr<double>(), rows.count(), c,
                    w.dot(d).item<double>(),    d.dot(d).item<double>()};
    const double step = line.search();
    if (step == 0) {
      if (memory.empty()) break;  // not even the gradient leads down: rounding
      memory.clear();
      continue;
    }
    point = point + step * direction;
    margins = margins + step * slopes;
    if (fit.iterations % 50 == 0) margins = margins_of(point);  // sheds accumulated rounding
    const Tensor before = gradient;
    gradient = gradient_at(point, margins);
    memory.add(step * direction, gradient - before);
  }
  fit.weight = point.narrow(0, 0, width).clone();
  fit.intercept = point[width].item<double>();
  fit.gradient_norm = largest(gradient_at(point, margins_of(point)));
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
