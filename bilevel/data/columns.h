// From table columns to features: standardized numbers and dates, one-hot categories, missing values filled in. What is
// fitted on training rows is kept, saved, and applied to later files.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bilevel/data/number_scaler.h"
#include "bilevel/data/recognize.h"
#include "bilevel/data/sparse_rows.h"
#include "bilevel/data/table.h"

namespace bilevel {

struct ColumnOptions {
  std::vector<std::string> categorical =
      {};  ///< columns (names or numbers) to take as categories whatever they hold
  NumberOptions numbers = {};
  int64_t max_categories = 1000;  ///< per column; rarer categories share one feature; at least 1
  int64_t dense_bytes =
      int64_t{64} << 20;  ///< a larger float32 matrix [rows, width], a tenth full at most, is made sparse
  /// What is known of the columns of the table, one entry each; empty: `recognize_columns` looks.
  std::vector<RecognizedColumn> recognized = {};
};

/// Cells of a column that cannot be read as the training rows' were.
struct UnreadableCells {
  size_t column = 0;         ///< of the table
  std::vector<size_t> rows;  ///< ascending
};

/// Cells of a column of categories that no training row had.
struct UnseenCategories {
  std::string column;
  int64_t cells = 0, of = 0;  ///< unseen ones, and all that are not missing
};

/// Table columns as a float32 matrix, dense or sparse.
/// - How the cells of a column are read, `recognize_columns` says; `categorical` overrules it. Missing cells count for no
///   reading.
/// - number: the features of NumberScaler; a missing cell is the training mean, and if the training rows
/// have missing
///   cells a 0/1 feature "NAME:missing" says where.
/// - date: as a number, the time that has passed; and "NAME:month" (over more than a year), "NAME:weekday" (over more than
///   a week) and "NAME:hour" (over more than a day), where they vary, as numbers without rank.
/// - category: a 0/1 feature "NAME=VALUE" per category of the training rows, most frequent first; the
/// rarer ones beyond
///   `max_categories` share "NAME:other", to which an unseen category then also goes; otherwise an unseen
///   category is all zeros. Missing as for numbers, and all zeros. `class_key` says which categories are the same; one that
///   no training row has may still be the one that `loose_class_key` finds.
/// - A column that is constant in the training rows gives no feature but its missing indicator.
///
/// InputError: what `check_readable` refuses, in a column not named categorical; no feature at all; in a
/// later file, a column that it lacks, and a cell that the column's reading does not take.
class ColumnTransform {
 public:
  ColumnTransform() = default;

  /// Fits `columns` (indices) of `table` on the rows `rows`. How a column is read is decided on all
  /// rows.
  static ColumnTransform fit(const Table& table, const std::vector<size_t>& columns,
                             const std::vector<int64_t>& rows, const ColumnOptions& options = {});

  /// Features of the given rows, in this order: float32 [rows, width()]. Columns are found by name.
  torch::Tensor apply(const Table& table, const std::vector<int64_t>& rows) const;

  /// Features of all rows.
  torch::Tensor apply(const Table& table) const;
  /// The same as sparse rows.
  SparseRows apply_sparse(const Table& table) const;
  /// Whether the training rows are better kept sparse.
  bool is_sparse() const { return sparse_; }

  /// The columns of categories with cells that no training row had.
  std::vector<UnseenCategories> unseen(const Table& table) const;

  /// The cells that `apply` refuses, by column. Throws InputError for a column that the table lacks.
  std::vector<UnreadableCells> unreadable(const Table& table) const;

  int64_t columns() const { return static_cast<int64_t>(columns_.size()); }
  /// Columns that are constant or wholly missing in the training rows: they give no feature of their own.
  int64_t dropped() const { return std::ranges::count(columns_, true, &Column::dropped); }
  /// Missing cells of the training rows; not saved.
  int64_t missing() const { return missing_; }

  int64_t width() const { return static_cast<int64_t>(feature_names_.size()); }
  const std::vector<std::string>& feature_names() const { return feature_names_; }
  /// The features that hold a number of more than two training values: one for each, its rank where it has one.
  std::vector<int64_t> numbers() const;

  nlohmann::json to_json() const;
  /// Takes what earlier versions wrote too, whose numbers were plain. FileError when `state` is not what to_json wrote.
  static ColumnTransform from_json(const nlohmann::json& state);

 private:
  struct Column {
    std::string name;
    ColumnReading reading;
    bool named_categorical = false;
    bool missing_indicator = false;
    bool has_other = false;
    bool dropped = false;
    std::vector<std::pair<std::string, NumberScaler>> scalers;  // "" and of dates "month", ...
    std::vector<std::string> categories;

    // Made by name_features.
    int64_t first_feature = 0;
    std::unordered_map<std::string, int64_t> category_index, loose_index;  // loose: -1 where two are meant

    bool is_category() const { return reading.as == CellReading::category; }
    void fit_numbers(const Table& table, size_t index, const std::vector<int64_t>& rows,
                     const NumberOptions& options);
    void fit_categories(const Table& table, size_t index, const std::vector<int64_t>& rows, size_t limit);
    /// The feature of a category, counted from the column's first; -1 for none.
    int64_t category(std::string_view cell) const;
  };

  void name_features();
  /// Calls `visit(feature, value)` for what a cell is, features counted from the first of all; zeros may be left out.
  template <typename Visit>
  void read_cell(const Table& table, size_t row, size_t table_column, const Column& column,
                 const Visit& visit) const;
  void decide_sparse(const std::vector<int64_t>& rows, int64_t dense_bytes);

  std::vector<Column> columns_;
  int64_t missing_ = 0;
  bool sparse_ = false;
  std::vector<std::string> feature_names_;
};

}  // namespace bilevel
