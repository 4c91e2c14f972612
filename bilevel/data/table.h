// A table of text cells read from a csv, tsv or jsonl file, which remembers where in the file each cell
// stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/data/format.h"

namespace bilevel {

struct TableOptions {
  Format format = Format::automatic;
  /// Whether the first row of a csv or tsv file names the columns. Where not given, the first row is a header
  /// if at least one of its cells is not empty and none is a number or one of the marks NA, NaN, null and ?.
  std::optional<bool> header;
};

/// Rows and columns of text. Rows and columns count from 0 here, lines and byte columns of the file from 1.
///
/// Memory: the cells' bytes, 16 bytes per cell and 8 bytes per row.
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
    return {bytes_.data() + found.begin, found.size};
  }

  /// Where the cell starts, or, for a key that a JSON line lacks, the line alone.
  Position position(size_t row, size_t column) const;

  /// Makes it a missing value.
  void empty_cell(size_t row, size_t column) { cells_[row * names_.size() + column].size = 0; }

  /// The line on which the row starts.
  Position position(size_t row) const { return {path_, lines_[row], 0}; }

  /// Index of the column with this name or, when no column has this name, with this number (from 1).
  std::optional<size_t> find_column(const std::string& name_or_number) const;

  /// As find_column. InputError, with the names that exist, when there is none.
  size_t column(const std::string& name_or_number) const;

 private:
  friend class TableBuilder;

  struct Cell {
    uint64_t begin = 0;   // in bytes_
    uint32_t size = 0;    // bytes
    uint32_t column = 0;  // byte column in the file, from 1; 0: not in the file
  };

  std::string path_;
  std::vector<std::string> names_;
  std::string bytes_;
  std::vector<Cell> cells_;     // row-major, rows() x columns()
  std::vector<int64_t> lines_;  // per row
  // The cells that do not start on their row's first line (an embedded line end stands before them), in
  // order.
  std::vector<std::pair<size_t, int64_t>> later_lines_;
};

/// Reads a csv, tsv or jsonl file.
/// - csv: comma-separated, fields may be quoted with " (doubled inside), quoted fields may hold commas and
/// line ends;
///   blanks around a field are dropped. tsv: tab-separated, a quote is an ordinary character, unless `is_quoted_tsv`.
/// - jsonl: one object per line; values are strings, numbers, true, false or null; a row may lack keys.
/// - Lines end with LF or CR LF; blank lines are skipped.
/// InputError with file, line and byte column: missing or empty file, header only, ragged row, broken UTF-8,
/// NUL byte, misplaced or unterminated quote, broken gzip, broken or cut JSON, nested JSON, a name given
/// twice. libsvm and idx files are not tables: `read_libsvm`, `read_idx_rows`.
Table read_table(const std::string& path, const TableOptions& options = {});

/// Whether a tsv file with this first line is quoted as csv is: every cell of the line is enclosed in quotes (the last one
/// may go on on the next line).
bool is_quoted_tsv(std::string_view first_line);

}  // namespace bilevel
