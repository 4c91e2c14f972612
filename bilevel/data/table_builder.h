// How the readers of tables make one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bilevel/data/lines.h"
#include "bilevel/data/table.h"

namespace bilevel {

/// Collects cells row by row into a Table.
class TableBuilder {
 public:
  TableBuilder(const std::string& path, const std::vector<std::string>& missing);
  void set_delimiter(char delimiter, char usual) {
    table_.delimiter_ = delimiter;
    table_.usual_delimiter_ = delimiter == usual;
  }

  // ---- csv and tsv: all rows have the same number of fields ----

  void add_field(std::string_view text, int64_t line, int64_t column);
  /// Ends the row begun by add_field; `end` is where it ends, for the message about a row that is too short.
  void end_row(const TableOptions& options, const Position& end);
  bool row_begun() const { return !row_.empty(); }

  // ---- jsonl: named values, and later rows may bring new names ----

  void begin_object(int64_t line);
  /// Index of the column of this name, made when new; nullopt when this object has it already.
  std::optional<size_t> open_key(const std::string& key);
  void set_value(size_t column, std::string_view text, int64_t position, bool is_number) {
    row_[column] = append(text, position);
    row_[column].json_number = is_number ? 1 : 0;
  }
  /// Notes that a cell holds what a table cannot; `message` is for whoever reads the column.
  void set_unreadable(size_t column, int64_t position, const std::string& message) {
    table_.unreadable_.try_emplace(column, Position{table_.path_, row_line_, position}, message);
  }
  void end_object();

  /// The finished table, every row as wide as there are names.
  Table finish();

 private:
  Table::Cell append(std::string_view text, int64_t column);
  std::string_view text(const Table::Cell& cell) const {
    return {table_.bytes_.data() + cell.begin, cell.size};
  }
  bool looks_like_header() const;
  bool could_name_years() const;
  bool names_years() const;
  void begin_rows(bool header, const Position& end);
  void add_row(const Position& end);
  void empty_missing();
  void name_columns(bool header);
  void clear_row();

  Table table_;
  std::vector<Table::Cell> row_;
  std::vector<int64_t> row_lines_;  // line of each cell of row_
  int64_t row_line_ = 0;
  // A first row that may be a header with years among its names; the second decides.
  std::vector<Table::Cell> first_row_;
  std::vector<int64_t> first_lines_;
  std::unordered_set<std::string> missing_;  // class keys of the texts that count as empty
  size_t width_ = 0;
  int64_t header_line_ = 0;
  std::unordered_map<std::string, size_t> column_of_;
  std::vector<bool> seen_;
  std::vector<size_t> json_starts_;
};

/// The rows of a csv file and of a jsonl file.
void read_csv(LineReader& lines, const TableOptions& options, TableBuilder& builder, char delimiter);
void read_jsonl(LineReader& lines, TableBuilder& builder);

}  // namespace bilevel
