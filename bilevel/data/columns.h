// From table columns to features: standardized numbers, one-hot categories, missing values filled in. What is
// fitted on training rows is kept, saved, and applied to later files.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "bilevel/data/number_scaler.h"
#include "bilevel/data/table.h"

namespace bilevel {

struct ColumnOptions {
  std::vector<std::string> categorical =
      {};  ///< columns (names or numbers) to take as categories whatever they hold
  NumberOptions numbers = {};
  int64_t max_categories = 1000;  ///< per column; rarer categories share one feature; at least 1
};

/// Cells of a column that cannot be read as the training rows' were.
struct UnreadableCells {
  size_t column = 0;         ///< of the table
  std::vector<size_t> rows;  ///< ascending
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
  torch::Tensor apply(const Table& table, const std::vector<int64_t>& rows) const;

  /// Features of all rows.
  torch::Tensor apply(const Table& table) const;

  /// The cells that `apply` refuses, by column. Throws InputError for a column that the table lacks.
  std::vector<UnreadableCells> unreadable(const Table& table) const;

  int64_t columns() const { return static_cast<int64_t>(columns_.size()); }
  /// Columns that are constant or wholly missing in the training rows: they give no feature of their own.
  int64_t dropped() const { return std::ranges::count(columns_, true, &Column::dropped); }
  /// Missing cells of the training rows; not saved.
  int64_t missing() const { return missing_; }

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
  void fill(const Table& table, const std::vector<int64_t>& rows, const Column& column,
            float* features) const;

  std::vector<Column> columns_;
  int64_t missing_ = 0;
  std::vector<std::string> feature_names_;
};

}  // namespace bilevel
