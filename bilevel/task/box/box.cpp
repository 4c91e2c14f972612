// Quadratics with x in a box.
//
// The random quadratics of `Quadratic` with low <= x_i <= high (float64). Phi is a strongly convex
// quadratic, so x* is its minimizer in the box, found by coordinate descent to round-off. x starts at the
// nearest point of the box to 1, y at 1.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/problem/sets.h"
#include "bilevel/task/known_problem.h"
#include "bilevel/task/quadratic/quadratic.h"

namespace bilevel {
namespace {

/// argmin of v'Kv/2 + q'v over low <= v_i <= high for positive definite K. Each pass minimizes in one
/// coordinate after the other; that converges linearly, and ends when a pass changes nothing more than
/// round-off.
torch::Tensor minimize_in_box(const torch::Tensor& curvature, const torch::Tensor& linear, double low,
                              double high) {
  const int64_t n = linear.numel();
  const torch::Tensor k = curvature.contiguous(), q = linear.contiguous();
  const auto* entry = k.data_ptr<double>();
  const auto* slope = q.data_ptr<double>();
  std::vector<double> v(static_cast<size_t>(n), std::clamp(0.0, low, high));
  for (int pass = 0; pass < 100'000; ++pass) {
    double change = 0;
    for (int64_t i = 0; i < n; ++i) {
      double rest = slope[i];
      for (int64_t j = 0; j < n; ++j) {
        if (j != i) rest += entry[i * n + j] * v[static_cast<size_t>(j)];
      }
      const double best = std::clamp(-rest / entry[i * n + i], low, high);
      change = std::max(change, std::abs(best - std::exchange(v[static_cast<size_t>(i)], best)));
    }
    if (change <= 1e-15 * std::max(1.0, std::max(std::abs(low), std::abs(high)))) break;
  }
  return torch::tensor(v, torch::kFloat64);
}

class Box : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.integer("upper_size", options_.upper_size, kAtLeastOne, "dimension of x");
    f.integer("lower_size", options_.lower_size, kAtLeastOne, "dimension of y");
    f.number("low", low_, kAny, "smallest allowed x_i");
    f.number("high", high_, kAny, "largest allowed x_i");
  }
  void make(uint64_t seed) override {
    if (low_ > high_) {
      throw InputError(fmt::format("low = {:g}: must be at most high = {:g}", low_, high_));
    }
    options_.seed = seed;
    quadratic_ = std::make_unique<Quadratic>(options_);
    quadratic_->make_convex();
    x_ = quadratic_->x;
    y_ = quadratic_->y;
    const torch::NoGradGuard no_grad;
    x_.clamp_(low_, high_);
    solution_ = minimize_in_box(quadratic_->curvature(), gradient(torch::zeros_like(x())), low_, high_);
  }
  Problem problem() const override {
    Problem problem = quadratic_->problem();
    problem.upper.project = box(low_, high_);
    return problem;
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override { return quadratic_->best_lower(x); }
  torch::Tensor gradient(const torch::Tensor& x) const override { return quadratic_->gradient(x); }
  torch::Tensor solution() const override { return solution_; }
  ProblemTraits traits() const override { return quadratic_traits(options_); }

 private:
  QuadraticOptions options_{.lower_curvature_min = 0.5};
  double low_ = -0.25, high_ = 0.25;
  std::unique_ptr<Quadratic> quadratic_;
  torch::Tensor solution_;
};

}  // namespace

KnownProblemEntry box_entry() {
  return {"box", "random quadratics with x in a box; x* by coordinate descent",
          [] { return std::make_unique<Box>(); }};
}

}  // namespace bilevel
