#include "bilevel/report/intervals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace bilevel {
namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// The regularized incomplete beta function I_x(a, b) by its continued fraction, evaluated with Lentz's
/// method; it converges fast for x < (a + 1) / (a + b + 2), and I_x(a, b) = 1 - I_{1-x}(b, a) covers the
/// rest.
double incomplete_beta(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(1 - x, b, a);
  constexpr double kTiny = 1e-300;
  const auto coefficient = [&](int n) {  // d_n of 1/(1 + d_1/(1 + d_2/(1 + ...)))
    const double m = n / 2;
    return n % 2 == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                      : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
  };
  double value = 1, above = 1, below = 0;
  for (int n = 1; n < 10000; ++n) {
    const double d = coefficient(n);
    below = 1 + d * below;
    above = 1 + d / above;
    below = 1 / (std::abs(below) < kTiny ? kTiny : below);
    if (std::abs(above) < kTiny) above = kTiny;
    value *= above * below;
    if (std::abs(above * below - 1) < 1e-16) break;
  }
  const double log_factor =
      a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b);
  return std::exp(log_factor) / (a * value);
}

}  // namespace

double student_t_probability(double t, double degrees) {
  const double tail = 0.5 * incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5);
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double probability, double degrees) {
  if (!(probability > 0 && probability < 1)) return kNoNumber;
  if (probability < 0.5) return -student_t_quantile(1 - probability, degrees);
  double low = 0, high = 1;
  while (student_t_probability(high, degrees) < probability && high < 1e150) high *= 2;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (student_t_probability(middle, degrees) < probability ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

MeanInterval mean_interval(const std::vector<double>& values, double confidence) {
  return resampled_interval(values, 0, confidence);
}

MeanInterval resampled_interval(const std::vector<double>& values, double test_share, double confidence) {
  MeanInterval result{
      .count = static_cast<int64_t>(values.size()), .mean = kNoNumber, .low = kNoNumber, .high = kNoNumber};
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  const double half = student_t_quantile(0.5 + confidence / 2, n - 1) *
                      std::sqrt(squares / (n - 1) / n + squares / (n - 1) * test_share);
  result.low = result.mean - half;
  result.high = result.mean + half;
  return result;
}

PairedVerdict verdict_of(const PairedDifference& d, bool lower_is_better) {
  if (!d.has_interval() || (d.low <= 0 && d.high >= 0)) return PairedVerdict::not_told_apart;
  return (d.low > 0) != lower_is_better ? PairedVerdict::better : PairedVerdict::worse;
}

std::vector<double> by_unit(const std::vector<double>& values, const std::vector<int64_t>& unit_of) {
  if (unit_of.empty() || values.empty()) return values;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::map<int64_t, double> sums;  // of the values less their mean
  for (size_t i = 0; i < values.size(); ++i) sums[unit_of.at(i)] += values[i] - mean;
  const double factor = static_cast<double>(sums.size()) / static_cast<double>(values.size());
  std::vector<double> result;
  for (const auto& [unit, sum] : sums) result.push_back(mean + factor * sum);
  return result;
}

PairedDifference paired_difference(const std::vector<double>& own, const std::vector<double>& other,
                                   const std::string& units, const std::vector<int64_t>& unit_of) {
  constexpr int64_t kFewest = 10;
  std::vector<double> differences;
  std::set<int64_t> differing;
  for (size_t i = 0; i < own.size(); ++i) {
    differences.push_back(own[i] - other.at(i));
    if (differences.back() != 0) differing.insert(unit_of.empty() ? static_cast<int64_t>(i) : unit_of.at(i));
  }
  const auto unlike = static_cast<int64_t>(differing.size());
  const MeanInterval mean = mean_interval(by_unit(differences, unit_of));
  if (unlike >= kFewest) return {mean.mean, mean.low, mean.high, ""};
  return {mean.mean, kNoNumber, kNoNumber,
          unlike == 0 ? fmt::format("they differ on none of the {}", units)
                      : fmt::format("they differ on {} {} only", unlike, units)};
}

PairedDifference resampled_difference(const std::vector<double>& differences, double test_share) {
  const MeanInterval mean = resampled_interval(differences, test_share);
  if (mean.low < mean.high) return {mean.mean, mean.low, mean.high, ""};
  return {mean.mean, kNoNumber, kNoNumber, "it is the same in all runs"};
}

MedianInterval median_interval(std::vector<double> values, double confidence) {
  if (values.empty()) return {kNoNumber, kNoNumber, kNoNumber};
  std::ranges::sort(values);
  const size_t n = values.size();
  // The true median lies below the k-th value, from 0, with probability P(Binomial(n, 1/2) <= k).
  double below = 0;
  size_t k = 0;
  for (size_t i = 0; i < (n + 1) / 2; ++i) {
    const auto count = static_cast<double>(n), successes = static_cast<double>(i);
    below += std::exp(std::lgamma(count + 1) - std::lgamma(successes + 1) -
                      std::lgamma(count - successes + 1) - count * std::log(2.0));
    if (below > (1 - confidence) / 2) break;
    k = i;
  }
  return {values[(n - 1) / 2], values[k], values[n - 1 - k]};
}

}  // namespace bilevel
