// What the columns of a table hold, and how their cells are read: the one rule of all jobs and of `data describe`.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/names.h"
#include "bilevel/data/notation.h"
#include "bilevel/data/table.h"

namespace bilevel {

/// What a column seems to be for.
enum class ColumnKind {
  number,      ///< all cells are numbers in one notation, or missing
  date,        ///< all cells are dates or times, or missing
  category,    ///< words that return, or numbers among words
  text,        ///< mostly distinct cells of several words
  identifier,  ///< tells rows apart and nothing more: no feature
  constant,    ///< one value in every row: no feature
  empty,       ///< missing in every row: no feature
  nested,      ///< lists or objects (of jsonl): no feature
};
template <>
struct NamesOf<ColumnKind> {
  static constexpr const char* value[] = {"number",     "date",     "category", "text",
                                          "identifier", "constant", "empty",    "nested"};
};

/// As what the cells of a column are read.
enum class CellReading { number, date, category };
template <>
struct NamesOf<CellReading> {
  static constexpr const char* value[] = {"number", "date", "category"};
};

/// How the cells of a column are read; a model keeps it for later files.
struct ColumnReading {
  CellReading as = CellReading::number;
  NumberNotation notation = {};            ///< of numbers
  DateOrder order = DateOrder::day_first;  ///< of dates

  nlohmann::json to_json() const;
  /// Throws nlohmann::json::exception and InputError for what to_json did not write.
  static ColumnReading from_json(const nlohmann::json& state);
};

struct RecognizedColumn {
  std::string name;
  ColumnKind kind = ColumnKind::empty;
  ColumnReading reading;
  std::string why;      ///< what makes it an identifier, a constant, ...; a phrase, "counts the rows"
  int64_t missing = 0;  ///< cells
  std::vector<std::pair<std::string, int64_t>>
      marks;             ///< of missing values, with their cells; the empty cell is ""
  int64_t distinct = 0;  ///< values among the first 100,000 cells that are not missing
  double words = 0;      ///< of a text: the median number of words a cell
  std::string
      doubt;  ///< what a reader should look at: a value far out that repeats, an ambiguous date; or empty
  std::optional<double> far;  ///< the value far out that repeats
  std::optional<size_t> word, number,
      infinite;  ///< the first row with a cell that is a word, a number, infinite

  /// Numbers and words without a notation that reads them all: to be read only by a column that is named categorical.
  bool is_mixed() const { return reading.as == CellReading::category && word && number; }
  /// "decimal comma" and the like, or what dates are read as; empty for plain numbers and all else.
  std::string notation() const;
};

/// What a caller says of a column.
enum class ColumnWish { none, number, category, text, unread };

/// One entry a column. `wishes`: by column, or empty for none; an unread column gets its name alone. The rule:
/// - a number, where one `NumberNotation` reads every cell that is not missing (`is_missing_mark`) and no number of JSON; an
///   identifier, where all are whole and different (20 at least) and they count up without gaps, or the column is called id,
///   index or row, or has no name, or where most have more digits than a double holds and differ;
/// - else a date, where `read_moment` reads every such cell;
/// - else a text, where more than half of the cells have three words or more (characters of scripts without blanks count
///   as half a word or less) and most differ; an identifier, where more than half of the cells differ (of 20 at least); else
///   a category. Of these only the marks of `is_missing` are missing.
/// Cost: one pass over the cells, and a sort of the numbers of a column (the first 100,000).
std::vector<RecognizedColumn> recognize_columns(const Table& table,
                                                const std::vector<ColumnWish>& wishes = {});

/// Throws the InputError for a column whose cells cannot be read as one kind, with the first cell that is in the way:
/// words among numbers, infinity, lists and objects.
void check_readable(const Table& table, size_t column, const RecognizedColumn& recognized);

}  // namespace bilevel
