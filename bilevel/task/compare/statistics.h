// What a handful of repeated runs says about a mean, and who is better.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace bilevel {

/// P(T <= t) for Student's t with `degrees` > 0 degrees of freedom; absolute error below 1e-12.
double student_t_probability(double t, double degrees);

/// The t with P(T <= t) = probability, in (0, 1).
double student_t_quantile(double probability, double degrees);

/// A mean and its two-sided interval mean -+ t s / sqrt(n), t the quantile for n - 1 degrees of freedom. The
/// values are taken as independent draws that are about normal.
struct MeanInterval {
  int64_t count = 0;
  double mean = 0;  ///< NaN without a value
  double low = 0;   ///< NaN with fewer than two values
  double high = 0;

  bool has_interval() const { return count >= 2; }
};
MeanInterval mean_interval(const std::vector<double>& values, double confidence = 0.95);

/// How a competitor did over its runs.
struct Standing {
  int64_t finished = 0;
  int64_t diverged = 0;  ///< runs without a usable result
  int64_t failed = 0;    ///< runs that could not start
  double mean = 0;       ///< of the finished ones
};

/// Ranks from 1: first who has finished every run, by the mean; then who has finished some, the fewer lost
/// runs the better, then by the mean; then who has finished none. Equal standings share the better rank (1,
/// 2, 2, 4). Who could not start any run has no rank.
std::vector<std::optional<int64_t>> ranks(const std::vector<Standing>& standings, bool higher_is_better);

}  // namespace bilevel
