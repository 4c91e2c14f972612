#include "bilevel/report/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "bilevel/core/error.h"
#include "bilevel/report/intervals.h"

namespace bilevel {
namespace {

constexpr double kNormal975 = 1.959963984540054;  // the standard normal's 97.5 % quantile
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename T>
std::vector<T> to_vector(const torch::Tensor& tensor, torch::ScalarType type) {
  const torch::Tensor flat = tensor.detach().to(torch::kCPU, type).reshape({-1}).contiguous();
  return {flat.const_data_ptr<T>(), flat.const_data_ptr<T>() + flat.numel()};
}

std::vector<double> score_vector(const torch::Tensor& scores) {
  if (!scores.defined() || !scores.is_floating_point())
    throw InputError("Scores must be a tensor of a floating type.");
  if (scores.dim() != 1 && !(scores.dim() == 2 && scores.size(1) == 1)) {
    throw InputError(
        fmt::format("Scores must have the shape (n) or (n, 1), not {} dimensions and {} elements.",
                    scores.dim(), scores.numel()));
  }
  return to_vector<double>(scores, torch::kFloat64);
}

std::vector<int64_t> label_vector(const torch::Tensor& labels) {
  if (!labels.defined() || labels.is_complex()) throw InputError("Labels must be a tensor of a real type.");
  std::vector<int64_t> result;
  for (const double label : to_vector<double>(labels, torch::kFloat64)) {
    result.push_back(label == 0   ? 0
                     : label == 1 ? 1
                                  : -1);  // -1 is refused with its row, like any other label
  }
  return result;
}

void require_both_classes(const ScoredRows& rows, const char* what) {
  if (rows.positives() == 0 || rows.negatives() == 0) {
    throw InputError(fmt::format("{} needs rows of both classes; there are {} positive and {} negative ones.",
                                 what, rows.positives(), rows.negatives()));
  }
}

/// Per row, in the order given: the share of the other class that the row is ranked on the right side of
/// (ties count half). The mean over either class is the AUC.
std::vector<double> placements(const ScoredRows& rows) {
  std::vector<double> result(static_cast<size_t>(rows.size()));
  const auto positives = static_cast<double>(rows.positives());
  const auto negatives = static_cast<double>(rows.negatives());
  int64_t positives_above = 0;
  int64_t negatives_below = rows.negatives();
  for (const ScoredRows::Tie& tie : rows.ties()) {
    negatives_below -= tie.negatives();
    const double of_positive =
        (static_cast<double>(negatives_below) + 0.5 * static_cast<double>(tie.negatives())) / negatives;
    const double of_negative =
        (static_cast<double>(positives_above) + 0.5 * static_cast<double>(tie.positives)) / positives;
    for (int64_t i = tie.begin; i < tie.end; ++i) {
      const int64_t row = rows.order()[static_cast<size_t>(i)];
      result[static_cast<size_t>(row)] = rows.positive(row) ? of_positive : of_negative;
    }
    positives_above += tie.positives;
  }
  return result;
}

/// The variance of the mean of `values` over the positive rows (which equals the mean over the negative ones), by
/// DeLong: var_pos / n_pos + var_neg / n_neg, and how sure it is.
struct Variance {
  double value = 0;
  double degrees = 0;  ///< 2 value^2 / (variance of `value`), from the fourth moments
};

/// How many rows of each class there are, or units that have one.
struct ClassCounts {
  ClassCounts(const ScoredRows& rows, const std::vector<int64_t>& unit_of)
      : positives(rows.positives()), negatives(rows.negatives()) {
    if (unit_of.empty()) return;
    std::set<int64_t> units[2];
    for (int64_t row = 0; row < rows.size(); ++row)
      units[rows.positive(row)].insert(unit_of.at(static_cast<size_t>(row)));
    positives = static_cast<int64_t>(units[1].size());
    negatives = static_cast<int64_t>(units[0].size());
  }
  int64_t rarer() const { return std::min(positives, negatives); }

  int64_t positives, negatives;
};

/// The same between units; see auc_estimate.
Variance variance_between(const ScoredRows& rows, const std::vector<double>& values,
                          const std::vector<int64_t>& unit_of) {
  double mean[2] = {0, 0};
  const double count[2] = {static_cast<double>(rows.negatives()), static_cast<double>(rows.positives())};
  for (int64_t row = 0; row < rows.size(); ++row)
    mean[rows.positive(row)] += values[static_cast<size_t>(row)] / count[rows.positive(row)];
  std::vector<double> shares;  // of the rows in what the estimate is off by; their sum is 0
  for (int64_t row = 0; row < rows.size(); ++row) {
    const bool c = rows.positive(row);
    shares.push_back((values[static_cast<size_t>(row)] - mean[c]) / count[c]);
  }
  const std::vector<double> of_units = by_unit(shares, unit_of);
  const auto units = static_cast<double>(of_units.size());
  double squares = 0, fourth = 0;
  for (const double of_unit : of_units) {
    const double sum = of_unit * static_cast<double>(rows.size()) / units;
    squares += sum * sum;
    fourth += std::pow(sum, 4);
  }
  const double value = units / (units - 1) * squares;
  return {value, 2 * value * value / std::max(0.0, fourth - squares * squares / units)};
}

Variance delong_variance(const ScoredRows& rows, const std::vector<double>& values,
                         const std::vector<int64_t>& unit_of) {
  const ClassCounts counts(rows, unit_of);
  if (counts.positives < 2 || counts.negatives < 2) return {kNaN, kNaN};
  if (!unit_of.empty()) return variance_between(rows, values, unit_of);
  Variance result;
  double variance_of_it = 0;
  for (const bool positive : {true, false}) {
    const auto count = static_cast<double>(positive ? rows.positives() : rows.negatives());
    const auto sum = [&](const auto& term) {
      double total = 0;
      for (int64_t row = 0; row < rows.size(); ++row) {
        if (rows.positive(row) == positive) total += term(values[static_cast<size_t>(row)]);
      }
      return total;
    };
    const double mean = sum([](double v) { return v; }) / count;
    const double squared = sum([&](double v) { return std::pow(v - mean, 2); }) / (count - 1);
    const double fourth = sum([&](double v) { return std::pow(v - mean, 4); }) / count;
    result.value += squared / count;
    variance_of_it += std::max(0.0, fourth - squared * squared) / std::pow(count, 3);
  }
  result.degrees = 2 * result.value * result.value / variance_of_it;
  return result;
}

double normal_probability(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

/// The variance that an AUC of normal_probability(z) has, in a model of the scores (see auc_estimate).
class ModelVariance {
 public:
  explicit ModelVariance(const ClassCounts& rows)
      : fewer_(static_cast<double>(rows.rarer())),
        more_(static_cast<double>(std::max(rows.positives, rows.negatives))) {}

  double operator()(double z) const {
    const double a = normal_probability(std::abs(z)), b = normal_probability(-std::abs(z));
    // Covariances of two pairs that share a row. Normal scores: P(both right) - a^2 of a bivariate normal with
    // correlation 1/2, by Owen's T(z, 1/sqrt(3)). Exponential: Hanley and McNeil, the rarer class spread wider.
    const double normal = a * b - 2 * owens_t(z);
    const double shares_of_more = a * b * b / (1 + b), shares_of_fewer = a * b * a / (1 + a);
    constexpr double kExponential =
        0.25;  // scores with longer tails than normal ones are common; by simulation
    const auto mixed = [&](double exponential) {
      return (1 - kExponential) * normal + kExponential * exponential;
    };
    return (a * b + (fewer_ - 1) * mixed(shares_of_more) + (more_ - 1) * mixed(shares_of_fewer)) /
           (fewer_ * more_);
  }

 private:
  /// T(z, 1/sqrt(3)) = 1/(2 pi) times the integral over [0, 1/sqrt(3)] of exp(-z^2 (1 + t^2) / 2) / (1 + t^2), by
  /// Simpson's rule; the relative error is below 1e-9 for |z| <= 8.
  static double owens_t(double z) {
    constexpr int kCells = 64;
    const double step = 1 / std::sqrt(3.0) / kCells;
    double sum = 0;
    for (int i = 0; i <= kCells; ++i) {
      const double t = step * i, weight = i == 0 || i == kCells ? 1 : i % 2 == 1 ? 4 : 2;
      sum += weight * std::exp(-0.5 * z * z * (1 + t * t)) / (1 + t * t);
    }
    return sum * step / 3 / (2 * M_PI);
  }

  double fewer_, more_;
};

/// Where `outside` changes, between a z for which it holds and one for which it does not.
template <typename Predicate>
double boundary(double outside_z, double inside_z, const Predicate& outside) {
  for (int i = 0; i < 60; ++i) {
    const double middle = (outside_z + inside_z) / 2;
    (outside(middle) ? outside_z : inside_z) = middle;
  }
  return (outside_z + inside_z) / 2;
}

/// See auc_difference. Empty: there is an interval.
std::string why_no_interval(const ScoredRows& first, const ScoredRows& second,
                            const std::vector<int64_t>& unit_of, double error) {
  if (std::isnan(error))
    return unit_of.empty() ? "a class has fewer than two test rows"
                           : "the test rows of a class are all of one group, or the same";
  if (error == 0) return "both rank every row alike";
  constexpr double kEnough = 10;  // of the worse model: its error is then that of the difference
  const auto rarer = static_cast<double>(ClassCounts(first, unit_of).rarer());
  const auto misranked = [&](const ScoredRows& rows) {
    const double a = auc(rows);
    return rarer * std::min(a, 1 - a);
  };
  const auto [fewer, more] = std::minmax({misranked(first), misranked(second)});
  return fewer < 1 && more < kEnough ? "too few rows of the rarer class are misranked to tell how sure it is"
                                     : "";
}

}  // namespace

ScoredRows::ScoredRows(const torch::Tensor& scores, const torch::Tensor& labels)
    : ScoredRows(score_vector(scores), label_vector(labels)) {}

ScoredRows::ScoredRows(std::vector<double> scores, const std::vector<int64_t>& labels)
    : scores_(std::move(scores)) {
  if (scores_.size() != labels.size()) {
    throw InputError(fmt::format("There are {} scores but {} labels.", scores_.size(), labels.size()));
  }
  labels_.reserve(labels.size());
  for (size_t row = 0; row < labels.size(); ++row) {
    if (!std::isfinite(scores_[row]))
      throw InputError(fmt::format("The score of row {} is {}.", row, scores_[row]));
    if (labels[row] != 0 && labels[row] != 1)
      throw InputError(fmt::format("The label of row {} is neither 0 nor 1.", row));
    labels_.push_back(static_cast<uint8_t>(labels[row]));
    positives_ += labels[row];
  }
  sort();
}

void ScoredRows::sort() {
  order_.resize(scores_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::sort(order_, [&](int64_t a, int64_t b) {
    const double first = scores_[static_cast<size_t>(a)];
    const double second = scores_[static_cast<size_t>(b)];
    return first != second ? first > second : a < b;
  });
  for (int64_t i = 0; i < size(); ++i) {
    const int64_t row = order_[static_cast<size_t>(i)];
    const double score = scores_[static_cast<size_t>(row)];
    if (ties_.empty() || ties_.back().score != score) ties_.push_back({score, i, i, 0});
    ++ties_.back().end;
    ties_.back().positives += positive(row) ? 1 : 0;
  }
}

double auc(const ScoredRows& rows) {
  require_both_classes(rows, "The AUC");
  int64_t twice_the_pairs = 0;
  int64_t negatives_below = rows.negatives();
  for (const ScoredRows::Tie& tie : rows.ties()) {
    negatives_below -= tie.negatives();
    twice_the_pairs += tie.positives * (2 * negatives_below + tie.negatives());
  }
  return static_cast<double>(twice_the_pairs) /
         (2.0 * static_cast<double>(rows.positives()) * static_cast<double>(rows.negatives()));
}

double average_precision(const ScoredRows& rows) {
  if (rows.positives() == 0) throw InputError("The average precision needs at least one positive row.");
  double sum = 0;
  int64_t true_positives = 0;
  for (const ScoredRows::Tie& tie : rows.ties()) {
    true_positives += tie.positives;
    sum += static_cast<double>(tie.positives) * static_cast<double>(true_positives) /
           static_cast<double>(tie.end);
  }
  return sum / static_cast<double>(rows.positives());
}

AucEstimate auc_estimate(const ScoredRows& rows, const std::vector<int64_t>& unit_of) {
  const double value = auc(rows);
  const double variance = delong_variance(rows, placements(rows), unit_of).value;
  if (rows.ties().size() == 1) return {value, std::sqrt(variance), value, value};
  constexpr double kEnd = 8;  // normal_probability(-8) = 6e-16
  const ClassCounts counts(rows, unit_of);
  const ModelVariance model(counts);
  const double z = boundary(-kEnd, kEnd, [&](double at) { return normal_probability(at) < value; });
  double ratio = 1;
  if (!std::isnan(variance) && value > 0 && value < 1) {
    const double k = static_cast<double>(counts.rarer()) * std::min(value, 1 - value);
    ratio = (k * variance / model(z) + 1) / (k + 1);
  }
  const auto outside = [&](double at) {
    return std::abs(value - normal_probability(at)) > kNormal975 * std::sqrt(ratio * model(at));
  };
  return {value, std::sqrt(variance), value == 0 ? 0 : normal_probability(boundary(-kEnd, z, outside)),
          value == 1 ? 1 : normal_probability(boundary(kEnd, z, outside))};
}

AucDifference auc_difference(const ScoredRows& first, const ScoredRows& second,
                             const std::vector<int64_t>& unit_of) {
  require_both_classes(first, "A comparison of AUCs");
  if (first.size() != second.size())
    throw InputError("Two score lists of different lengths cannot be compared.");
  for (int64_t row = 0; row < first.size(); ++row) {
    if (first.positive(row) != second.positive(row)) {
      throw InputError(fmt::format("The labels of row {} differ between the two score lists.", row));
    }
  }
  std::vector<double> values = placements(first);
  const std::vector<double> other = placements(second);
  for (size_t row = 0; row < values.size(); ++row) values[row] -= other[row];
  const Variance variance = delong_variance(first, values, unit_of);
  const double error = std::sqrt(variance.value);
  AucDifference result{auc(first) - auc(second), error, kNaN, kNaN,
                       why_no_interval(first, second, unit_of, error)};
  if (result.has_interval()) {
    const double degrees = std::clamp(variance.degrees, 1.0, static_cast<double>(first.size() - 2));
    const double half = student_t_quantile(0.975, degrees) * error;
    result.low = std::max(-1.0, result.difference - half);
    result.high = std::min(1.0, result.difference + half);
  }
  return result;
}

std::vector<RocPoint> roc_curve(const ScoredRows& rows, int64_t max_points) {
  require_both_classes(rows, "The ROC curve");
  if (max_points < 3)
    throw InputError(fmt::format("max_points is {}; a ROC curve needs at least 3.", max_points));
  const bool all = static_cast<int64_t>(rows.ties().size()) + 1 <= max_points;
  std::vector<RocPoint> points{{0, 0, std::numeric_limits<double>::infinity()}};
  // The curve's length (the sum of both rates) goes from 0 to 2. It is cut into max_points - 2 equal cells,
  // and the first point in each stays, beside both ends.
  double last_cell = -1;
  int64_t true_positives = 0;
  for (const ScoredRows::Tie& tie : rows.ties()) {
    true_positives += tie.positives;
    const RocPoint point{
        static_cast<double>(tie.end - true_positives) / static_cast<double>(rows.negatives()),
        static_cast<double>(true_positives) / static_cast<double>(rows.positives()), tie.score};
    const double cell = std::floor((point.false_positive_rate + point.true_positive_rate) / 2 *
                                   static_cast<double>(max_points - 2));
    if (all || tie.end == rows.size() || cell > last_cell) points.push_back(point);
    last_cell = cell;
  }
  return points;
}

double ThresholdCounts::precision() const {
  return static_cast<double>(true_positives) / static_cast<double>(true_positives + false_positives);
}

double ThresholdCounts::recall() const {
  return static_cast<double>(true_positives) / static_cast<double>(true_positives + false_negatives);
}

double ThresholdCounts::f1() const {
  return 2 * static_cast<double>(true_positives) /
         static_cast<double>(2 * true_positives + false_positives + false_negatives);
}

ThresholdCounts counts_at(const ScoredRows& rows, double threshold) {
  if (std::isnan(threshold)) throw InputError("The threshold is NaN.");
  ThresholdCounts counts{threshold, 0, 0, rows.negatives(), rows.positives()};
  for (const ScoredRows::Tie& tie : rows.ties()) {
    if (tie.score < threshold) break;
    counts.true_positives += tie.positives;
    counts.false_positives += tie.negatives();
  }
  counts.true_negatives -= counts.false_positives;
  counts.false_negatives -= counts.true_positives;
  return counts;
}

ThresholdCounts best_f1(const ScoredRows& rows) {
  if (rows.positives() == 0) throw InputError("The best F1 needs at least one positive row.");
  // F1 = 2 tp / (called + positives): fractions compared by cross-multiplication.
  int64_t true_positives = 0;
  int64_t best_numerator = -1;
  int64_t best_denominator = 1;
  double threshold = 0;
  for (const ScoredRows::Tie& tie : rows.ties()) {
    true_positives += tie.positives;
    const int64_t denominator = tie.end + rows.positives();
    if (true_positives * best_denominator > best_numerator * denominator) {
      best_numerator = true_positives;
      best_denominator = denominator;
      threshold = tie.score;
    }
  }
  return counts_at(rows, threshold);
}

}  // namespace bilevel
