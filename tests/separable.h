// A bilevel problem of one-dimensional pieces, for scalar computations that know nothing of the library.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bilevel/problem/sets.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/p1/p1.h"

namespace bilevel {

/// f = sum cosh(c x_i) + b sin(y_i) + e x_i y_i^2 / 2,  g = sum mu/2 r_i^2 + q/4 r_i^4 with r_i = y_i - a
/// x_i. With q = e = 0 it is P1; with q > 0 second derivatives of g tell at which point they were taken, and
/// with e > 0 every second derivative of f differs from 0.
struct Separable {
  double c = 2, a = 1, b = 1, mu = 1, q = 0, e = 0;

  // Derivatives of one piece, by hand.
  double fx(double x, double y) const { return c * std::sinh(c * x) + e * y * y / 2; }
  double fy(double x, double y) const { return b * std::cos(y) + e * x * y; }
  double fyy(double x, double y) const { return -b * std::sin(y) + e * x; }
  double fxy(double, double y) const { return e * y; }
  double gy(double x, double y) const { return mu * (y - a * x) + q * std::pow(y - a * x, 3); }
  double gyy(double x, double y) const { return mu + 3 * q * std::pow(y - a * x, 2); }
  double gxy(double x, double y) const { return -a * gyy(x, y); }

  /// The problem from x = `start`, y = `lower` in every coordinate; `limit` > 0: |x_i| <= limit.
  Problem problem(const std::vector<double>& start, double lower = 0, double limit = 0) const {
    const torch::Tensor x = torch::tensor(start, torch::kFloat64).requires_grad_();
    const torch::Tensor y =
        torch::full({static_cast<int64_t>(start.size())}, lower, torch::kFloat64).requires_grad_();
    const auto f = [x, y, p = *this](const Batch&) {
      return (torch::cosh(p.c * x) + p.b * torch::sin(y) + 0.5 * p.e * x * y * y).sum();
    };
    const auto g = [x, y, p = *this](const Batch&) {
      const torch::Tensor r = y - p.a * x;
      return (0.5 * p.mu * r.square() + 0.25 * p.q * r.square().square()).sum();
    };
    Problem problem{.upper = {.parameters = {{"x", x}}, .loss = f, .batches = no_data()},
                    .lower = {.parameters = {{"y", y}}, .loss = g, .batches = no_data()}};
    if (limit > 0) problem.upper.project = box(-limit, limit);
    return problem;
  }
};

/// The state of a scalar computation: one entry a coordinate.
struct ScalarState {
  std::vector<double> x, y, z, m;

  explicit ScalarState(const std::vector<double>& start, double lower = 0)
      : x(start), y(start.size(), lower), z(start.size(), 0.0), m(start.size(), 0.0) {}
  size_t size() const { return x.size(); }
};

/// (k+1)^-exponent, or the cosine course of a run of `total` steps.
inline double scalar_course(const std::string& name, double exponent, int k, int total) {
  if (name == "polynomial") return std::pow(k + 1, -exponent);
  if (name == "cosine") return 0.5 * (1 + std::cos(std::acos(-1.0) * k / total));
  return 1;
}

/// Runs `solver` and, beside it, `step(k)` on `scalar`; the largest difference of x or y after any step,
/// relative to 1 or the value.
template <typename Step>
double worst_difference(const Problem& problem, Solver& solver, ScalarState& scalar, int steps, Step&& step) {
  double worst = 0;
  const auto note = [&](const torch::Tensor& found, const std::vector<double>& expected) {
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = std::abs(found[static_cast<int64_t>(i)].item<double>() - expected[i]);
      worst = std::max(worst, difference / std::max(1.0, std::abs(expected[i])));
    }
  };
  const auto compare = [&](const MadeStep& row, Oracles& oracles) {
    step(static_cast<int>(row.step) - 1);
    note(oracles.x().flat(), scalar.x);
    note(oracles.y().flat(), scalar.y);
    return true;
  };
  const Result result = run(problem, solver, {.max_steps = steps, .callback = compare});
  return result.steps == steps && result.reason == StopReason::max_steps ? worst : HUGE_VAL;
}

}  // namespace bilevel
