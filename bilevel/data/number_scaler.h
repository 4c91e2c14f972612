// One number of a row as one or two features.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace bilevel {

/// How numbers become features.
struct NumberOptions {
  bool rank = true;  ///< add the normal score of the number's rank
  double clip =
      3.0;  ///< standardized numbers beyond this many standard deviations are set to it; 0: no limit
};

/// One number as one or two features, fitted on training values:
/// - two distinct training values: the smaller is 0, the larger 1;
/// - more: the number less the mean, over the standard deviation, clipped; and with `rank` the normal score
/// of its rank,
///   Phi^-1 of (less + less_or_equal + 1) / (2n + 2) clipped to [0.005, 0.995], standardized. The score is
///   kept as a piecewise linear map with at most 1001 knots and is constant outside the training range. It is
///   blind to outliers and skew, to which the number itself is exposed.
class NumberScaler {
 public:
  NumberScaler() = default;

  /// Fits finite values, at least one. Cost: one sort.
  explicit NumberScaler(std::vector<double> values, const NumberOptions& options = {});

  /// Whether all training values were equal; then there is no feature.
  bool constant() const { return scale_ == 0.0; }
  bool has_rank() const { return !knots_.empty(); }
  /// Whether there were two training values.
  bool binary() const { return !constant() && shift_ != mean_; }
  /// Number of features: 0, 1 or 2.
  int64_t width() const { return constant() ? 0 : (has_rank() ? 2 : 1); }

  float scaled(double value) const;
  float rank_score(double value) const;
  /// The mean of `scaled` (before the clip) and of `rank_score` over the training values, for missing ones.
  float mean_scaled() const { return static_cast<float>((mean_ - shift_) * scale_); }
  static constexpr float mean_rank_score() { return 0.0F; }

  nlohmann::json to_json() const;
  static NumberScaler from_json(const nlohmann::json& state);

 private:
  double mean_ = 0.0;
  double shift_ = 0.0;
  double scale_ = 0.0;  // 0: constant
  double clip_ = 0.0;
  std::vector<double> knots_;  // ascending
  std::vector<double> scores_;
};

}  // namespace bilevel
