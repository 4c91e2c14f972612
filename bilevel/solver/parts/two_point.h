// What the methods that evaluate one sample at two points are made of: STORM and SPIDER estimators.
#pragma once

#include "bilevel/solver/parts/neumann_estimator.h"

namespace bilevel {

/// A point (x, y) that a method returns to: flat copies.
struct Point {
  torch::Tensor x;  ///< [dim x]
  torch::Tensor y;  ///< [dim y]

  static Point present(Oracles& oracles) {
    return {.x = copy_of(oracles.x().flat()), .y = copy_of(oracles.y().flat())};
  }
  void state(State& state) {
    state.tensor("x", x);
    state.tensor("y", y);
  }
};

/// The estimate of `sample` at `point`: the same rows, masks and number of factors wherever it is evaluated.
/// x and y are afterwards what they were. The graphs are freed on return, so that two evaluations never hold
/// two of them.
Hypergradient hypergradient_at(Oracles& oracles, const NeumannEstimator& estimator,
                               const EstimateSample& sample, const Point& point);

/// grad_y G of `sample` at `point`, likewise.
torch::Tensor lower_gradient_at(Oracles& oracles, const Sample& sample, const Point& point);

/// STORM (Cutkosky and Orabona 2019): the running estimate m_t of a gradient along a path of points w_t,
///   m_1 = e(w_1; xi_1),   m_t = e(w_t; xi_t) + (1-theta) (m_{t-1} - e(w_{t-1}; xi_t)),
/// both evaluations with the same sample xi_t. theta = 1 is the plain gradient. With the value e(w_{t-1};
/// xi_{t-1}) that was stored one step earlier in place of e(w_{t-1}; xi_t), m_t would equal e(w_t; xi_t): no
/// momentum at all.
class RecursiveMomentum {
 public:
  RecursiveMomentum() = default;
  explicit RecursiveMomentum(const torch::Tensor& like) : value_(torch::zeros_like(like)) {}

  /// @param present e(w_t; xi_t).
  /// @param before e(w_{t-1}; xi_t); undefined in the first step.
  /// @param weight theta, in (0, 1].
  void update(const torch::Tensor& present, const torch::Tensor& before, double weight);

  /// m_t.
  const torch::Tensor& value() const { return value_; }
  void state(State& state) { state.tensor("value", value_); }

 private:
  torch::Tensor value_;
};

}  // namespace bilevel
