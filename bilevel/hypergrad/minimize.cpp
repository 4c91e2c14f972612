#include "bilevel/hypergrad/minimize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/linear/linear.h"

namespace bilevel {
namespace {

using torch::Tensor;

double length(const Tensor& t) { return t.norm().item<double>(); }

class Minimizer {
 public:
  Minimizer(const ValueAndGradient& function, const Tensor& start, const MinimizeOptions& options)
      : function_(function), options_(options), y_(start.clone()) {
    unit_ = unit_round_off(start.scalar_type());
    bound_ = 1e10 * size();
  }

  Minimum run() {
    std::tie(value_, gradient_) = evaluate(y_);
    if (options_.inverse && approach()) return end(true, "");
    double best = std::numeric_limits<double>::infinity();
    int without_progress = 0;
    while (true) {
      const double g = length(gradient_);
      if (!std::isfinite(g) || !std::isfinite(value_)) return end(false, "met a number that is not finite");
      if (g == 0) {
        distance_ = 0;
        return end(true, "");
      }
      if (length(y_) > bound_) return end(false, "ran away: the objective seems to be unbounded below");
      // At round-off the gradient wanders; three steps without a smaller one are enough.
      without_progress = g < 0.5 * best ? 0 : without_progress + 1;
      best = std::min(best, g);
      const auto [step, convex] = newton_step();
      distance_ = length(step);
      const bool round_off = convex && distance_ <= 16 * unit_ * size();
      const bool moved = line_search(step, round_off);
      if (round_off) return end(true, "");
      const bool near = convex && distance_ <= std::sqrt(unit_) * size();
      // Rounding of the gradient over a small curvature can be far more than rounding of y.
      const bool close = convex && distance_ <= std::max(1e-5, std::sqrt(unit_)) * size();
      if (!moved || (near && without_progress >= 3) || (close && without_progress >= 10)) {
        return end(close, close ? "" : "stalled: no step lowers the objective any more");
      }
      if (spent_ >= options_.max_gradients) {
        return end(false, fmt::format("stopped after {} gradients", spent_));
      }
    }
  }

 private:
  double size() const { return options_.length + length(y_); }

  std::pair<double, Tensor> evaluate(const Tensor& y) {
    ++spent_;
    return function_(y);
  }

  /// Steps by the inverse that was given; true when a small one makes the gradient no smaller any more.
  bool approach() {
    while (spent_ < options_.max_gradients) {
      const Tensor step = -options_.inverse(gradient_);
      distance_ = length(step);
      auto [value, gradient] = evaluate(y_ + step);
      const bool smaller = std::isfinite(value) && length(gradient) < 0.8 * length(gradient_);
      if (!smaller) return distance_ <= std::max(1e-5, std::sqrt(unit_)) * size();
      y_ = y_ + step;
      value_ = value;
      gradient_ = gradient;
      if (distance_ <= 16 * unit_ * size()) return true;
    }
    return false;
  }

  /// Hessian times d by a difference of gradients.
  Tensor product(const Tensor& d) {
    if (central_) {
      const double t = std::cbrt(unit_) * size() / length(d);
      return (evaluate(y_ + t * d).second - evaluate(y_ - t * d).second) / (2 * t);
    }
    const double t = std::sqrt(unit_) * size() / length(d);
    return (evaluate(y_ + t * d).second - gradient_) / t;
  }

  /// Curvature relative to the largest that is zero as far as products tell.
  double flat() const { return 30 * (central_ ? std::pow(unit_, 2 / 3.0) : std::sqrt(unit_)); }

  /// An approximate solution of H p = -g, and whether only positive curvature was met.
  std::pair<Tensor, bool> newton_step() {
    Tensor p = torch::zeros_like(y_);
    Tensor r = -gradient_;
    Tensor d = r;
    double rr = r.dot(r).item<double>();
    const double goal = 1e-3 * std::sqrt(rr);
    double largest = 0;
    for (int64_t k = 0; k < 2 * y_.numel() + 10 && spent_ < options_.max_gradients; ++k) {
      const Tensor hd = product(d);
      const double dd = d.dot(d).item<double>();
      const double curvature = d.dot(hd).item<double>() / dd;
      if (!std::isfinite(curvature)) break;
      largest = std::max(largest, std::abs(curvature));
      if (!central_ && std::abs(curvature) <= flat() * largest) {
        central_ = true;
        return newton_step();
      }
      if (curvature <= flat() * largest && (k > 0 || curvature <= 0)) {
        // Flat or downward: what was found so far is a descent direction; the first one is the gradient's.
        if (k == 0) p = d / std::max(largest, std::numeric_limits<double>::min());
        return {p, curvature > -flat() * largest};
      }
      const double alpha = rr / (curvature * dd);
      p = p + alpha * d;
      r = r - alpha * hd;
      const double rr_next = r.dot(r).item<double>();
      if (std::sqrt(rr_next) <= goal) return {p, true};
      d = r + (rr_next / rr) * d;
      rr = rr_next;
    }
    if (p.count_nonzero().item<int64_t>() == 0) p = -gradient_;
    return {p, true};
  }

  /// Moves along `step`, or a part of it; false when nothing is gained. At round-off only a smaller gradient
  /// counts.
  bool line_search(const Tensor& step, bool round_off) {
    const double slope = gradient_.dot(step).item<double>();
    const double noise = 16 * unit_ * std::abs(value_);
    const double g = length(gradient_);
    double t = 1;
    for (int k = 0; k < 40; ++k, t /= 2) {
      const Tensor y = y_ + t * step;
      auto [value, gradient] = evaluate(y);
      const bool lower = value <= value_ + 1e-4 * t * slope;
      const bool as_low = value <= value_ + noise && length(gradient) < g;
      if (std::isfinite(value) && (round_off ? as_low : lower || as_low)) {
        y_ = y;
        value_ = value;
        gradient_ = gradient;
        return true;
      }
      if (round_off) return false;
    }
    return false;
  }

  Minimum end(bool converged, const std::string& message) const {
    return {.y = y_,
            .value = value_,
            .gradient_norm = length(gradient_),
            .distance = distance_,
            .gradients = spent_,
            .converged = converged,
            .message = message.empty() ? "" : "the lower level " + message};
  }

  const ValueAndGradient& function_;
  MinimizeOptions options_;
  Tensor y_, gradient_;
  double value_ = 0, distance_ = std::numeric_limits<double>::infinity();
  double unit_ = 0, bound_ = 0;
  int64_t spent_ = 0;
  bool central_ = false;  // products are central differences
};

}  // namespace

Minimum minimize(const ValueAndGradient& function, const Tensor& start, const MinimizeOptions& options) {
  return Minimizer(function, start, options).run();
}

Minimum solve_lower(Oracles& oracles, const Sample& lower, const MinimizeOptions& options) {
  const Minimum found = minimize(
      [&](const Tensor& y) {
        oracles.y().assign(y);
        LossPoint point = oracles.lower().point(lower, Graph::lower_only);
        return std::pair{point.value().item<double>(), point.grad_y()};
      },
      oracles.y().flat(), options);
  oracles.y().assign(found.y);
  return found;
}

}  // namespace bilevel
