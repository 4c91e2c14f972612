// How well scores separate two classes: AUC with an interval, average precision, ROC points, and counts at a
// threshold. Everything is exact over all rows (never a mean over batches) and computed in float64.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bilevel/report/intervals.h"

namespace bilevel {

/// Scores with their labels, sorted once (O(n log n)); every metric below then costs O(n). Row i of both
/// lists belongs together. A higher score means "more likely positive".
class ScoredRows {
 public:
  /// `scores`: shape (n) or (n, 1), any floating type, any device. `labels`: the same number of elements, any
  /// real type, each 0 or
  /// 1. Throws InputError, with the row (counted from 0), for a NaN or infinite score or another label, and
  /// for lists of different lengths.
  ScoredRows(const torch::Tensor& scores, const torch::Tensor& labels);
  ScoredRows(std::vector<double> scores, const std::vector<int64_t>& labels);

  int64_t size() const { return static_cast<int64_t>(scores_.size()); }
  int64_t positives() const { return positives_; }
  int64_t negatives() const { return size() - positives_; }
  /// The scores in the order they were given.
  const std::vector<double>& scores() const { return scores_; }
  /// Whether row i is positive.
  bool positive(int64_t row) const { return labels_[static_cast<size_t>(row)] != 0; }
  /// The row numbers by falling score; equal scores by rising row number.
  const std::vector<int64_t>& order() const { return order_; }

  /// The rows that share one score, by falling score.
  struct Tie {
    double score;
    int64_t begin;  ///< first position in `order()`
    int64_t end;    ///< one past the last
    int64_t positives;
    int64_t negatives() const { return end - begin - positives; }
  };
  const std::vector<Tie>& ties() const { return ties_; }

 private:
  void sort();

  std::vector<double> scores_;
  std::vector<uint8_t> labels_;
  std::vector<int64_t> order_;
  std::vector<Tie> ties_;
  int64_t positives_ = 0;
};

/// The probability that a random positive row has a higher score than a random negative one, in [0, 1]; equal
/// scores count half. Exact: the count of pairs is done in integers. Throws InputError when a class has no
/// row.
double auc(const ScoredRows& rows);

/// Average precision: the sum over the distinct scores, from the highest, of (gain in recall) x (precision
/// there), in (0, 1]; rows of equal score enter together. The same definition as scikit-learn's
/// `average_precision_score`. Throws InputError when no row is positive.
double average_precision(const ScoredRows& rows);

/// An AUC and how sure it is.
struct AucEstimate {
  double auc;
  /// DeLong's standard error; NaN when a class has fewer than two rows.
  double standard_error;
  /// A two-sided 95 % score interval, inside [0, 1].
  double low;
  double high;
};

/// The AUC with DeLong's standard error (E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44,
/// 1988) and a score interval (after R. G. Newcombe, Statistics in Medicine 25, 2006, method 5): every value A with
/// |auc - A| <= 1.96 sqrt(r V(A)). V(A) is the variance that an AUC of A has when the scores of a class are normal
/// with equal spread, averaged 3 : 1 with that of exponential scores (J. A. Hanley, B. J. McNeil, Radiology 143,
/// 1982). r = (k d + 1) / (k + 1) fits it to these rows: d is DeLong's variance over V(auc), and k, the number of
/// rows of the rarer class times min(auc, 1 - auc), says on how many misranked rows DeLong's variance rests. With many
/// rows this is DeLong's interval; with few, or near 1, DeLong's variance itself is mostly too small, and his
/// interval on the logit scale, log(auc / (1 - auc)) -+ 1.96 standard_error / (auc (1 - auc)), covers 77 to 95 %.
/// Coverage by simulation: docs/results.md#intervals.
///
/// An AUC of exactly 1 (or 0) has k = 0: the interval is one-sided in effect, from V alone. All scores equal: the AUC
/// is 0.5 whatever the sample, and so are both limits.
///
/// @param unit_of of each row, where rows of a unit (a group, rows that are the same) are not independent; empty: each is by itself. The
/// variance is then that between units, G/(G-1) sum_u (sum over the rows of u of (placement - mean of its class) / rows of its class)^2
/// with G units (N. A. Obuchowski, Biometrics 53, 1997, as the linearization of one sum), and what is counted in rows above is counted in
/// units that have a row of the class: without other knowledge a unit tells as much as a row.
/// Throws InputError when a class has no row.
AucEstimate auc_estimate(const ScoredRows& rows, const std::vector<int64_t>& unit_of = {});

/// The difference of two AUCs on the same rows.
struct AucDifference {
  double difference;  ///< auc(first) - auc(second)
  double
      standard_error;  ///< DeLong's, which counts the correlation; NaN when a class has fewer than two rows
  double low, high;    ///< 95 %, inside [-1, 1]; NaN without an interval
  std::string no_interval;  ///< why there is none, as the end of a sentence; empty: there is one

  bool has_interval() const { return no_interval.empty(); }
  PairedDifference paired() const { return {difference, low, high, no_interval}; }
};

/// DeLong's paired comparison of two score lists for the same rows in the same order: difference -+ t standard errors,
/// t for as many degrees of freedom as the standard error itself is sure (2 variance^2 over the sampling variance of
/// the variance, by the fourth moments). There is no interval where a class has fewer than two rows,
/// where both rank every row alike (as two perfect models do), and where the better model misranks less than one row
/// of the rarer class, rows x min(auc, 1 - auc) < 1, and the other fewer than ten: the rows that decide are then too few for any
/// standard error. `unit_of`: see `auc_estimate`.
/// Throws InputError when the labels differ or a class has no row.
AucDifference auc_difference(const ScoredRows& first, const ScoredRows& second,
                             const std::vector<int64_t>& unit_of = {});

/// A point of the ROC curve: the rates when every row with `score >= threshold` is called positive.
struct RocPoint {
  double false_positive_rate;
  double true_positive_rate;
  double threshold;  ///< +infinity at the origin
};

/// The ROC curve from (0, 0) to (1, 1) by falling threshold: all points when there are at most `max_points`,
/// otherwise at most so many, spread evenly along the curve: a dropped point is closer than 2 / (max_points -
/// 2) to a kept one (measured as the sum of both rates), and both ends stay. `max_points` >= 3. Throws
/// InputError when a class has no row.
std::vector<RocPoint> roc_curve(const ScoredRows& rows, int64_t max_points = 500);

/// What happens when every row with `score >= threshold` is called positive.
struct ThresholdCounts {
  double threshold;
  int64_t true_positives;
  int64_t false_positives;
  int64_t true_negatives;
  int64_t false_negatives;

  double precision() const;  ///< NaN when no row is called positive
  double recall() const;     ///< NaN when no row is positive
  double f1()
      const;  ///< 2 tp / (2 tp + fp + fn); NaN when there is neither a positive row nor a positive call
};

/// The counts at a threshold, which may be infinite. Throws InputError for NaN.
ThresholdCounts counts_at(const ScoredRows& rows, double threshold);

/// The score that maximises F1 when used as the threshold. Among equal F1 (compared exactly, in integers) the
/// highest score wins: the fewest positive calls. Choose it on validation rows, never on the rows where it is
/// judged. Throws InputError when no row is positive.
ThresholdCounts best_f1(const ScoredRows& rows);

}  // namespace bilevel
