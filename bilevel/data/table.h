// A table of text cells read from a csv, tsv or jsonl file, which remembers where in the file each cell
// stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/large_array.h"
#include "bilevel/data/format.h"
#include "bilevel/data/lines.h"
#include "bilevel/data/notation.h"

namespace bilevel {

struct TableOptions {
  Format format = Format::automatic;
  /// Whether the first row of a csv or tsv file names the columns. Where not given, the first row is a header
  /// if at least one of its cells is not empty and none is a number (in any notation) or one of the marks NA, NaN, null and ?. Years are
  /// names too, beside a word, where a cell below one is no year.
  std::optional<bool> header;
  char delimiter = '\0';  ///< of csv and tsv; 0: told by a first line "sep=;", or seen from the first rows
  Encoding encoding = Encoding::utf_8;
  /// Cells with these texts (numbers as `class_key` compares them) count as empty, in every column.
  std::vector<std::string> missing = {};
};

/// Rows and columns of text. Rows and columns count from 0 here, lines and byte columns of the file from 1.
///
/// Memory: the cells' bytes, 16 bytes per cell and 8 bytes per row; of a large table in files (`LargeMemory`).
class Table {
 public:
  const std::string& path() const { return path_; }
  size_t rows() const { return lines_.size(); }
  size_t columns() const { return names_.size(); }

  /// Column names: from the header, the JSON keys in order of first appearance, or "1", "2", ... without
  /// header. A column whose header cell is empty is named by its number.
  const std::vector<std::string>& names() const { return names_; }

  /// The cell's text without quotes and escapes. A JSON null, and a key that the row lacks, is an empty cell.
  std::string_view cell(size_t row, size_t column) const {
    const Cell& found = cells_[row * names_.size() + column];
    return {bytes_.data() + found.begin, found.missing != 0 ? 0 : found.size};
  }
  /// The same, of a cell that `TableOptions::missing` made empty what stands there.
  std::string_view written(size_t row, size_t column) const {
    const Cell& found = cells_[row * names_.size() + column];
    return {bytes_.data() + found.begin, found.size};
  }

  /// Whether it is a number of JSON, which is written in one way alone, whatever the notation of the texts beside it.
  bool is_json_number(size_t row, size_t column) const {
    return cells_[row * names_.size() + column].json_number != 0;
  }
  /// The cell as a number: a number of JSON as such, a text by the notation.
  Number number(size_t row, size_t column, const NumberNotation& notation) const {
    const std::string_view text = cell(row, column);
    return is_json_number(row, column) ? read_number(text) : notation.read(text);
  }

  /// As `written`, of a cell that `replace` has changed what stood there before.
  std::string_view original(size_t row, size_t column) const {
    const auto found = originals_.find(row * names_.size() + column);
    return found == originals_.end()
               ? written(row, column)
               : std::string_view(bytes_.data() + found->second.begin, found->second.size);
  }

  /// Where the cell starts, or, for a key that a JSON line lacks, the line alone.
  Position position(size_t row, size_t column) const;

  /// Makes it a missing value.
  void empty_cell(size_t row, size_t column) { cells_[row * names_.size() + column].missing = 1; }

  /// Puts other texts into the cells of a column that hold, less blanks around them, one of these; their number.
  int64_t replace(size_t column, const std::map<std::string, std::string>& texts);

  /// Whether the file has a header in which the column's cell is empty.
  bool is_unnamed(size_t column) const { return unnamed_[column]; }

  /// Whether the column holds lists or objects of JSON, whose cells are their texts.
  bool nested(size_t column) const { return unreadable_.contains(column); }
  /// Throws the InputError for the first of them; for a column that is read.
  void check_cells(size_t column) const;

  /// Leaves these rows (ascending) and no other.
  void keep_rows(const std::vector<size_t>& rows);

  /// What stands between the fields; 0 for jsonl.
  char delimiter() const { return delimiter_; }
  /// Whether this is what the format usually has.
  bool has_usual_delimiter() const { return usual_delimiter_; }

  /// The line on which the row starts.
  Position position(size_t row) const { return {path_, lines_[row], 0}; }

  /// Index of the column with this name or, when no column has this name, with this number (from 1).
  std::optional<size_t> find_column(const std::string& name_or_number) const;

  /// As find_column. InputError, with the names that exist, when there is none.
  size_t column(const std::string& name_or_number) const;

 private:
  friend class TableBuilder;

  struct Cell {
    uint64_t begin = 0;        // in bytes_
    uint32_t size = 0;         // bytes
    uint32_t column : 30 = 0;  // byte column in the file, from 1; 0: not in the file
    uint32_t json_number : 1 = 0;
    uint32_t missing : 1 = 0;  // whatever stands there
  };

  std::string path_;
  std::vector<std::string> names_;
  LargeArray<char> bytes_;
  LargeArray<Cell> cells_;                      // row-major, rows() x columns()
  std::vector<int64_t> lines_;                  // per row
  std::unordered_map<size_t, Cell> originals_;  // of cells that were replaced
  // The cells that do not start on their row's first line (an embedded line end stands before them), in
  // order.
  std::vector<std::pair<size_t, int64_t>> later_lines_;
  std::vector<bool> unnamed_;  // per column
  char delimiter_ = '\0';
  bool usual_delimiter_ = true;
  // Columns with cells that a table cannot hold: the first of them, and what is wrong with it.
  std::map<size_t, std::pair<Position, std::string>> unreadable_;
};

/// Reads a csv, tsv or jsonl file, plain or packed by gzip or zstd.
/// - csv and tsv: fields stand between commas, semicolons, tabs or bars (see `find_delimiter`), in csv usually commas, in tsv
///   tabs. csv: fields may be quoted with " (doubled inside), quoted fields may hold delimiters and line ends; blanks around
///   a field are dropped. tsv: a quote is an ordinary character, unless `is_quoted_tsv`; with another delimiter it is csv.
/// - jsonl: one object per line; values are strings, numbers, true, false or null (NaN is null); a row may lack keys. Lists
///   and objects are cells that no reader of a column takes (`Table::check_cells`).
/// - Lines end with LF or CR LF; blank lines are skipped.
/// InputError with file, line and byte column: missing or empty file, header only, ragged row, broken UTF-8,
/// NUL byte, misplaced or unterminated quote, broken packing, broken or cut JSON, a name given
/// twice. libsvm and idx files are not tables: `read_libsvm`, `read_idx_rows`.
Table read_table(const std::string& path, const TableOptions& options = {});

}  // namespace bilevel
