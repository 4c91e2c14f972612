// Derivatives along a line by differences, with their own error.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace bilevel {

/// Unit of rounding of a floating-point type.
inline double unit_round_off(torch::ScalarType type) {
  return type == torch::kFloat64 ? std::numeric_limits<double>::epsilon()
                                 : std::numeric_limits<float>::epsilon();
}

/// A derivative with an estimate of its error.
struct Difference {
  double value = 0, error = 0;
};

/// phi'(0) from phi(+-h), phi(+-h/2) and phi(0): central differences, extrapolated to order h^4. The error
/// adds up a part of the change between the two central differences, a part of the jump of phi' that the
/// second differences show (2 D(h/2) - D(h) with D(h) = (phi(h) - 2 phi(0) + phi(-h)) / h is zero for a
/// smooth phi and the jump for a kink at 0, which central differences do not see), and the rounding of values
/// given to `unit`.
inline Difference differentiate_once(const std::function<double(double)>& phi, double h, double unit) {
  double largest = 0;
  const auto at = [&](double t) {
    const double value = phi(t);
    largest = std::max(largest, std::abs(value));
    return value;
  };
  const double middle = at(0), above = at(h), below = at(-h), half_above = at(h / 2), half_below = at(-h / 2);
  const double wide = (above - below) / (2 * h);
  const double narrow = (half_above - half_below) / h;
  const double wide_bend = (above - 2 * middle + below) / h;
  const double narrow_bend = 2 * (half_above - 2 * middle + half_below) / h;
  return {
      narrow + (narrow - wide) / 3,
      0.5 * std::abs(narrow - wide) + 0.5 * std::abs(2 * narrow_bend - wide_bend) + 4 * unit * largest / h};
}

/// The same, at smaller steps too (h/8, h/64) while the error is not well below `tolerance` relative to the
/// derivative: the one of the smallest error.
inline Difference differentiate(const std::function<double(double)>& phi, double h, double unit,
                                double tolerance) {
  Difference best = differentiate_once(phi, h, unit);
  for (int k = 0; k < 2 && !(best.error <= 0.2 * tolerance * std::abs(best.value)); ++k) {
    h /= 8;
    const Difference other = differentiate_once(phi, h, unit);
    if (!(other.error >= best.error)) best = other;
  }
  return best;
}

/// The same for a vector, from the central differences at two steps.
struct VectorDifference {
  torch::Tensor value, error;  ///< error: by coordinate
};

inline VectorDifference extrapolate(const torch::Tensor& wide, const torch::Tensor& narrow) {
  return {narrow + (narrow - wide) / 3, 0.5 * (narrow - wide).abs()};
}

}  // namespace bilevel
