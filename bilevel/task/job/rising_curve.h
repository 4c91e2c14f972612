// The curve behind `fit_curves`: rising, of straight pieces, penalized where it bends.
#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

namespace bilevel {

/// Log odds of a class as a curve of the odds that a model gives: its value at the first knot and the logarithms of its slopes, w.
class RisingCurve {
 public:
  /// @param odds float64 [rows]: pieces meet at their eighths; fewer pieces where these coincide
  explicit RisingCurve(const torch::Tensor& odds);

  /// What each piece has covered from the first knot to the odds: float64 [rows, pieces].
  torch::Tensor covered(const torch::Tensor& odds) const;
  /// The curve at these odds.
  static torch::Tensor values(const torch::Tensor& covered, const torch::Tensor& w);
  /// The w of a line. @param slope > 0
  torch::Tensor line(double slope, double intercept) const;
  /// The w of least logistic loss, summed over the rows, plus stiffness / 2 times the squared differences of neighbouring log
  /// slopes; by the Levenberg-Marquardt method with the expected Hessian, from w on.
  static torch::Tensor fit(const torch::Tensor& covered, const torch::Tensor& targets, double stiffness,
                           torch::Tensor w);
  /// Odds and the curve there: at the knots, and one beyond at either side.
  std::vector<std::pair<double, double>> points(const torch::Tensor& w) const;

 private:
  std::vector<double> knots_;
};

}  // namespace bilevel
