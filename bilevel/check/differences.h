// Derivatives along a line by differences, with their own error.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

namespace bilevel {

/// A value and how far it may be from the true one: rounding, and an inner problem solved inexactly.
struct NoisyValue {
  double value = 0, noise = 0;
};
using Line = std::function<NoisyValue(double t)>;

/// A derivative with an estimate of its error.
struct Difference {
  double value = 0, error = std::numeric_limits<double>::infinity();
  double step = 0;
};

/// Differences of one phi; phi(0) is evaluated once.
class Differentiator {
 public:
  explicit Differentiator(Line phi) : phi_(std::move(phi)) {}

  /// phi'(0) from phi(+-h), phi(+-h/2) and phi(0): central differences, extrapolated to order h^4. The error adds
  /// up half of the change between the two central differences, half of the jump of phi' that the second
  /// differences show (2 D(h/2) - D(h) with D(h) = (phi(h) - 2 phi(0) + phi(-h)) / h is zero for a smooth phi and
  /// the jump for a kink at 0, which central differences do not see), and the noise of the values.
  Difference once(double h) {
    if (!middle_) middle_ = phi_(0);
    const NoisyValue above = phi_(h), below = phi_(-h), half_above = phi_(h / 2), half_below = phi_(-h / 2);
    const double wide = (above.value - below.value) / (2 * h);
    const double narrow = (half_above.value - half_below.value) / h;
    const double wide_bend = (above.value - 2 * middle_->value + below.value) / h;
    const double narrow_bend = 2 * (half_above.value - 2 * middle_->value + half_below.value) / h;
    const double noise =
        3 * std::max({above.noise, below.noise, half_above.noise, half_below.noise, middle_->noise}) / h;
    const double truncation = 0.5 * std::abs(narrow - wide) + 0.5 * std::abs(2 * narrow_bend - wide_bend);
    noise_prevails_ = noise > truncation;
    const Difference found{narrow + (narrow - wide) / 3, truncation + noise, h};
    return std::isfinite(found.value) && std::isfinite(found.error) ? found : Difference{.step = h};
  }

  /// From steps of h on: longer ones where noise prevails, shorter ones where the function bends (a kink nearby),
  /// then the other way, by factors of 8 up to 8^4, as long as the error falls and is above a fifth of
  /// max(tolerance |phi'|, enough).
  Difference best(double h, double tolerance, double enough) {
    Difference found = once(h);
    const auto good = [&] {
      return found.error <= 0.2 * std::max(tolerance * std::abs(found.value), enough);
    };
    const bool longer = noise_prevails_;
    for (const bool grow : {longer, !longer}) {
      double step = h;
      for (int k = 0; k < 4 && !good(); ++k) {
        step = grow ? step * 8 : step / 8;
        const Difference other = once(step);
        if (!(other.error < found.error)) break;
        found = other;
      }
    }
    return found;
  }

  /// The same derivative with the largest change that steps three times as long or as short make as its error, if
  /// that is more: what rounding that nobody reckoned with decides does not come out thrice the same.
  Difference confirmed(Difference found) {
    for (const double factor : {3.0, 1 / 3.0}) {
      const Difference other = once(factor * found.step);
      // A step into a region where phi is not finite tells nothing.
      if (std::isfinite(other.error))
        found.error = std::max(found.error, std::abs(other.value - found.value));
    }
    return found;
  }

 private:
  Line phi_;
  std::optional<NoisyValue> middle_;
  bool noise_prevails_ = false;
};

/// The same for a vector.
struct VectorDifference {
  torch::Tensor value, error;  ///< error: by coordinate, infinite where differences are not finite
};

/// Differences of one vector from its central differences at any step.
class VectorDifferentiator {
 public:
  VectorDifferentiator(std::function<torch::Tensor(double step)> central, double step)
      : central_(std::move(central)), step_(step) {}

  /// From the central differences at the step and at half of it.
  VectorDifference once() const { return at(step_); }
  /// See `Differentiator::confirmed`.
  VectorDifference confirmed(VectorDifference found) const {
    for (const double factor : {3.0, 1 / 3.0}) {
      const VectorDifference other = at(factor * step_);
      const torch::Tensor change = (other.value - found.value).abs();
      found.error = torch::maximum(found.error, change.where(other.error.isfinite(), 0));
    }
    return found;
  }

 private:
  VectorDifference at(double step) const {
    const torch::Tensor wide = central_(step), narrow = central_(step / 2);
    const torch::Tensor value = narrow + (narrow - wide) / 3, error = 0.5 * (narrow - wide).abs();
    const torch::Tensor known = value.isfinite();
    return {value.where(known, 0), error.where(known, std::numeric_limits<double>::infinity())};
  }

  std::function<torch::Tensor(double step)> central_;
  double step_;
};

}  // namespace bilevel
