// From table columns or LIBSVM rows to features: standardized numbers, one-hot categories, missing values
// filled in. What is fitted on training rows is kept, saved, and applied to later files.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bilevel/data/sparse_rows.h"
#include "bilevel/data/table.h"

namespace bilevel {

/// How numbers become features.
struct NumberOptions {
  bool rank = true;  ///< add the normal score of the number's rank
  double clip =
      3.0;  ///< standardized numbers beyond this many standard deviations are set to it; 0: no limit
};

struct ColumnOptions {
  std::vector<std::string> categorical =
      {};  ///< columns (names or numbers) to take as categories whatever they hold
  NumberOptions numbers = {};
  int64_t max_categories = 1000;  ///< per column; rarer categories share one feature; at least 1
};

/// What a transform met, per column in the order of the columns.
struct ColumnReport {
  struct Column {
    std::string name;
    bool categorical = false;
    bool dropped = false;  ///< constant (or wholly missing) in the training rows: gives no feature of its own
    int64_t missing = 0;   ///< missing cells
    int64_t categories = 0;  ///< categories with a feature of their own
    int64_t other = 0;       ///< cells of the shared feature of rarer categories
    int64_t unseen = 0;      ///< cells with a category that no training row has: all zeros
  };
  int64_t rows = 0;
  std::vector<Column> columns;

  int64_t missing() const;  ///< sum over the columns, as are the two below
  int64_t unseen() const;
  int64_t dropped() const;
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

/// Table columns as a float32 matrix.
/// - A column is numeric if none of its cells is a word, categorical if none is a number or if `categorical`
/// names it.
///   Missing cells (empty, NA, NaN, null, ?) count for neither.
/// - numeric: the features of NumberScaler; a missing cell is the training mean, and if the training rows
/// have missing
///   cells a 0/1 feature "NAME:missing" says where.
/// - categorical: a 0/1 feature "NAME=VALUE" per category of the training rows, most frequent first; the
/// rarer ones beyond
///   `max_categories` share "NAME:other", to which an unseen category then also goes; otherwise an unseen
///   category is all zeros. Missing as for numbers, and all zeros.
/// - A column that is constant in the training rows gives no feature but its missing indicator.
///
/// InputError: a column of numbers and words that `categorical` does not name (position of the first word);
/// inf or a number too large for a double, in a column not named categorical (position); no feature at all; a
/// column that a later file lacks.
class ColumnTransform {
 public:
  ColumnTransform() = default;

  /// Fits `columns` (indices) of `table` on the rows `rows`. Whether a column is numeric is decided on all
  /// rows.
  static ColumnTransform fit(const Table& table, const std::vector<size_t>& columns,
                             const std::vector<int64_t>& rows, const ColumnOptions& options = {});

  /// Features of the given rows, in this order: float32 [rows, width()]. Columns are found by name.
  torch::Tensor apply(const Table& table, const std::vector<int64_t>& rows,
                      ColumnReport* report = nullptr) const;

  /// Features of all rows.
  torch::Tensor apply(const Table& table, ColumnReport* report = nullptr) const;

  int64_t width() const { return static_cast<int64_t>(feature_names_.size()); }
  const std::vector<std::string>& feature_names() const { return feature_names_; }

  nlohmann::json to_json() const;
  /// FileError when `state` is not what to_json wrote.
  static ColumnTransform from_json(const nlohmann::json& state);

 private:
  struct Column {
    std::string name;
    bool categorical = false;
    bool named_categorical = false;
    bool missing_indicator = false;
    bool has_other = false;
    bool dropped = false;
    NumberScaler scaler;
    std::vector<std::string> categories;

    // Made by name_features.
    int64_t first_feature = 0;
    std::unordered_map<std::string, int64_t> category_index;
  };

  void name_features();
  void fill(const Table& table, size_t table_column, const std::vector<int64_t>& rows, const Column& column,
            float* features, ColumnReport::Column& report) const;

  std::vector<Column> columns_;
  std::vector<std::string> feature_names_;
};

struct SparseTransformOptions {
  int64_t dense_bytes = int64_t{256} << 20;  ///< the largest float32 matrix [rows, width] that is made dense
  NumberOptions numbers = {};                ///< for dense features
};

/// LIBSVM rows as features. An absent entry is 0.
/// - dense, when the training rows fit `dense_bytes`: the features of NumberScaler per index, constant ones
/// dropped;
/// - sparse otherwise: each value divided by the largest absolute training value of its index.
/// Indices that no training row has are ignored, and counted.
class SparseTransform {
 public:
  SparseTransform() = default;

  static SparseTransform fit(const SparseRows& training, const SparseTransformOptions& options = {});

  bool is_dense() const { return dense_; }
  /// Number of features.
  int64_t width() const { return dense_ ? static_cast<int64_t>(feature_names_.size()) : input_width_; }
  /// Dense features only: the index in the file, "7", or "7:rank".
  const std::vector<std::string>& feature_names() const { return feature_names_; }

  /// float32 [rows, width()]; requires is_dense(). `ignored`, where given, gets the number of entries that no
  /// training row has.
  torch::Tensor apply_dense(const SparseRows& rows, int64_t* ignored = nullptr) const;

  /// Scaled rows; requires !is_dense().
  SparseRows apply_sparse(const SparseRows& rows, int64_t* ignored = nullptr) const;

  nlohmann::json to_json() const;
  static SparseTransform from_json(const nlohmann::json& state);

 private:
  void name_features();

  bool dense_ = true;
  int64_t input_width_ = 0;
  std::vector<NumberScaler> scalers_;  // dense: per index; constant at 0 too for indices never seen
  std::vector<bool> seen_;             // dense: whether a training row has the index
  std::vector<float> scales_;          // sparse: 1 / largest absolute value, 0 for indices never seen
  std::vector<std::string> feature_names_;
};

}  // namespace bilevel
