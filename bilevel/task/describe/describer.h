// How `describe_data` works: a description grows in the hands of one object, whose methods stand in several sources.
#pragma once

#include <string>
#include <vector>

#include "bilevel/core/number.h"
#include "bilevel/task/describe/describe.h"
#include "bilevel/task/features.h"

namespace bilevel {

/// Order statistics of `values`, at least one, which are sorted.
Spread spread_of(std::vector<double>& values);

/// Collects one kind of doubt.
class Doubting {
 public:
  Doubting(std::string kind, std::string column, int64_t shown) : shown_(shown) {
    doubt_.kind = std::move(kind);
    doubt_.column = std::move(column);
  }
  void add(DoubtfulRow row);
  int64_t count() const { return doubt_.count; }
  /// Hands it over if there was any row: "N rows VERB REST". `verb`: for one row ("is", "has", "repeats").
  void finish(std::vector<Doubt>& doubts, std::string verb, const std::string& rest);

 private:
  int64_t shown_;
  Doubt doubt_;
};

class Describer {
 public:
  Describer(const std::string& path, const DescribeOptions& options);
  DataDescription describe();

 private:
  int64_t line(size_t row) const { return position_of(file_, static_cast<int64_t>(row)).line; }
  Doubting doubting(const std::string& kind, const std::string& column = {}) const {
    return {kind, column, o_.shown};
  }
  bool is_text(const DescribedColumn& column) const;
  /// Whether it is neither the label nor an identifier.
  bool is_feature(const DescribedColumn& column) const {
    return column.name != d_.label && column.type != ColumnKind::identifier;
  }

  // ---- describe_table.cpp ----
  void describe_table(const Table& table);
  DescribedColumn describe_column(const Table& table, size_t c) const;
  /// A cell as the column is read; a date is its days.
  Number number_in(const Table& table, size_t row, size_t c) const;
  void choose_label(const Table& table);
  void count_by_class(const Table& table);
  void leave_short_texts();
  std::optional<size_t> likely_label() const;
  void note_keys(const Table& table);

  // ---- describe_matrix.cpp ----
  void describe_matrix(const SparseTable& table);
  void describe_matrix_columns(const SparseRows& rows, DescribedMatrix& matrix);

  // ---- doubts.cpp: about classes and copies, texts and cells ----
  void doubt_classes();
  void doubt_copies();
  void doubt_texts(const Table& table);
  void doubt_empty_rows(const Table& table);
  void doubt_cells(const Table& table);
  void doubt_numbers(const Table& table, size_t c);
  bool is_far(double value, const Spread& spread) const;
  void doubt_repeated(const Table& table, size_t c);
  void finish_far(Doubting& far, const std::string& column, const Spread& spread);

  // ---- suggest.cpp ----
  void suggest();
  /// The words for file and columns; empty where no column is a feature.
  std::string words_of_data() const;
  std::string words_of_features() const;
  /// Whether a job reads the column as a feature, without anybody's leave.
  bool feeds(size_t c) const;

  DescribeOptions o_;
  DataFile file_;
  DataDescription d_;
  std::vector<RecognizedColumn> recognized_;
  std::vector<std::string> labels_;  // key per row; empty: missing
  std::vector<std::string> keys_;    // per row what copies have in common; empty: nothing to compare
  std::vector<Doubt> later_;  // doubts about texts and cells, which come after those about classes and copies
};

}  // namespace bilevel
