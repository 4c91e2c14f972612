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

/// phi'(0) from phi(+-h) and phi(+-h/2): central differences, extrapolated to order h^4. The error is a part
/// of the change between the two central differences (all of it where phi has a kink) and the rounding of
/// values given to `unit`.
inline Difference differentiate(const std::function<double(double)>& phi, double h, double unit) {
  double largest = 0;
  const auto at = [&](double t) {
    const double value = phi(t);
    largest = std::max(largest, std::abs(value));
    return value;
  };
  const double wide = (at(h) - at(-h)) / (2 * h);
  const double narrow = (at(h / 2) - at(-h / 2)) / h;
  return {narrow + (narrow - wide) / 3, 0.5 * std::abs(narrow - wide) + 4 * unit * largest / h};
}

/// The same for a vector, from the central differences at two steps.
struct VectorDifference {
  torch::Tensor value, error;  ///< error: by coordinate
};

inline VectorDifference extrapolate(const torch::Tensor& wide, const torch::Tensor& narrow) {
  return {narrow + (narrow - wide) / 3, 0.5 * (narrow - wide).abs()};
}

}  // namespace bilevel
