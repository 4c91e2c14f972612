// Student's t, and intervals of means and medians.
#pragma once

#include <cstdint>
#include <vector>

namespace bilevel {

/// P(T <= t) for Student's t with `degrees` > 0 degrees of freedom; absolute error below 1e-12.
double student_t_probability(double t, double degrees);

/// The t with P(T <= t) = probability, in (0, 1).
double student_t_quantile(double probability, double degrees);

/// A mean and its two-sided interval mean -+ t s / sqrt(n), t the quantile for n - 1 degrees of freedom. The
/// values are taken as independent draws that are about normal; the interval is not cut at what a value can be.
struct MeanInterval {
  int64_t count = 0;
  double mean = 0;  ///< NaN without a value
  double low = 0;   ///< NaN with fewer than two values
  double high = 0;

  bool has_interval() const { return count >= 2; }
};
MeanInterval mean_interval(const std::vector<double>& values, double confidence = 0.95);

/// A median and its two-sided interval between two of the sorted values, which holds the true one with at least the
/// confidence whatever the values' distribution (sign test); smallest and largest where they are too few for that.
struct MedianInterval {
  double median = 0;  ///< the lower of the two in the middle; NaN without a value, as what follows
  double low = 0;
  double high = 0;
};
MedianInterval median_interval(std::vector<double> values, double confidence = 0.95);

}  // namespace bilevel
