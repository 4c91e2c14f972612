// Student's t, and intervals of means, differences and medians.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bilevel/core/names.h"

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

/// The same of the runs of a repeated cross-validation, which vary together since their training rows overlap: mean -+ t s
/// sqrt(1 / n + test_share), where `test_share` is test rows over training rows of a run (C. Nadeau, Y. Bengio, Machine Learning 52,
/// 2003; corrected resampled t interval).
MeanInterval resampled_interval(const std::vector<double>& values, double test_share,
                                double confidence = 0.95);

/// By how much one model's numbers exceed another's in the mean over the same rows (or tasks).
struct PairedDifference {
  double difference = 0;
  double low = 0, high = 0;  ///< 95 %; NaN without an interval
  std::string no_interval;   ///< why there is none, as the end of a sentence; empty: there is one
  bool has_interval() const { return no_interval.empty(); }
};

/// What a paired difference tells of a model and what it is compared with.
enum class PairedVerdict { better, worse, not_told_apart };
template <>
struct NamesOf<PairedVerdict> {
  static constexpr const char* value[] = {"better", "worse", "not_told_apart"};
};
/// Of the model, where its numbers less the other's have this difference: not told apart without an interval, or with 0 inside.
PairedVerdict verdict_of(const PairedDifference& d, bool lower_is_better = false);

/// `mean_interval` of own less other's, of equal length. There is no interval where fewer than ten differ: where rows are right
/// or wrong, the few that decide are then no normal mean (ten of ten one way have a probability of 0.2 % by chance, five of five
/// one of 6 %). `units`: what they are the numbers of. `unit_of`: see `by_unit`; then ten units must differ.
PairedDifference paired_difference(const std::vector<double>& own, const std::vector<double>& other,
                                   const std::string& units = "rows",
                                   const std::vector<int64_t>& unit_of = {});

/// One number for each unit (a group of rows, or rows that are the same), of which the mean is that of the values, and whose spread says how
/// well it is known when units, not rows, are independent: mean + G/n (sum over the unit of value - mean), G units, n values (the
/// linearization of a ratio; K.-Y. Liang, S. L. Zeger, Biometrika 1986). @param unit_of of each value; empty: the values themselves
std::vector<double> by_unit(const std::vector<double>& values, const std::vector<int64_t>& unit_of);

/// `resampled_interval` of the runs' differences; none where all are the same.
PairedDifference resampled_difference(const std::vector<double>& differences, double test_share);

/// A median and its two-sided interval between two of the sorted values, which holds the true one with at least the
/// confidence whatever the values' distribution (sign test); smallest and largest where they are too few for that.
struct MedianInterval {
  double median = 0;  ///< the lower of the two in the middle; NaN without a value, as what follows
  double low = 0;
  double high = 0;
};
MedianInterval median_interval(std::vector<double> values, double confidence = 0.95);

}  // namespace bilevel
