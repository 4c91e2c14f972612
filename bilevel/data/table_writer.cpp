#include "bilevel/data/table_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "bilevel/core/files.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/data/table.h"

namespace bilevel {
namespace {

std::string in_quotes(std::string_view cell) {
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

/// A line; row 0 is the header.
std::string line_of(const std::vector<Column>& columns, size_t row, bool quoted) {
  std::string text;
  for (size_t c = 0; c < columns.size(); ++c) {
    const std::string_view cell = row == 0 ? columns[c].name : columns[c].cells[row - 1];
    if (c > 0) text += '\t';
    if (quoted)
      text += in_quotes(cell);
    else
      text += cell;
  }
  return text;
}

bool breaks_lines(std::string_view cell) { return cell.find_first_of("\t\r\n") != std::string_view::npos; }

bool needs_quotes(const std::vector<Column>& columns) {
  for (const Column& column : columns) {
    if (breaks_lines(column.name)) return true;
    for (size_t row = 0; row < column.cells.size(); ++row) {
      if (breaks_lines(column.cells[row])) return true;
    }
  }
  return is_quoted_tsv(line_of(columns, 0, false));
}

/// In pieces.
void write_lines(const std::vector<Column>& columns, const TextSink& take) {
  constexpr size_t kPiece = size_t{1} << 18;  // bytes
  if (columns.front().name.find_first_of("\r\n") != std::string::npos)
    throw std::logic_error("the first column's name has a line end");
  for (const Column& column : columns) {
    if (column.cells.size() != columns.front().cells.size())
      throw std::logic_error(fmt::format("the column '{}' has another number of rows", column.name));
  }
  const bool quoted = needs_quotes(columns);
  std::string piece;
  for (size_t row = 0; row <= columns.front().cells.size(); ++row) {
    piece += line_of(columns, row, quoted) + '\n';
    if (piece.size() < kPiece) continue;
    take(piece);
    piece.clear();
  }
  take(piece);
}

}  // namespace

ColumnCells::ColumnCells(const ColumnCells& other) {
  bytes_.append({other.bytes_.data(), other.bytes_.size()});
  ends_.append({other.ends_.data(), other.ends_.size()});
}

void ColumnCells::resize(size_t size, std::string_view value) {
  bytes_.resize(size == 0 ? 0 : size < ends_.size() ? ends_[size - 1] : bytes_.size());
  ends_.resize(std::min(size, ends_.size()));
  while (ends_.size() < size) push_back(value);
}

Column number_column(const std::string& name, const torch::Tensor& values, int digits) {
  Column column{name};
  const bool whole = !values.is_floating_point();
  const torch::Tensor numbers = values.to(whole ? torch::kInt64 : torch::kFloat64).contiguous();
  for (int64_t i = 0; i < numbers.numel(); ++i) {
    column.cells.push_back(whole ? std::to_string(numbers.const_data_ptr<int64_t>()[i])
                                 : fmt::format("{:.{}g}", numbers.const_data_ptr<double>()[i], digits));
  }
  return column;
}

Column row_column(int64_t rows) { return number_column("row", torch::arange(1, rows + 1, torch::kInt64)); }

void name_apart(std::vector<Column>& others, const std::vector<Column>& ours) {
  std::set<std::string> own, taken;
  for (const Column& column : ours) own.insert(column.name);
  taken = own;
  for (const Column& column : others) taken.insert(column.name);
  for (Column& column : others) {
    if (!own.contains(column.name)) continue;
    while (taken.contains(column.name)) column.name = "input:" + column.name;
    taken.insert(column.name);
  }
}

std::string tsv_of(const std::vector<Column>& columns) {
  std::string text;
  write_lines(columns, [&](std::string_view piece) { text += piece; });
  return text;
}

void write_tsv(const std::string& path, const std::vector<Column>& columns) {
  write_file_atomically(path, [&](const TextSink& take) { write_lines(columns, take); });
}

}  // namespace bilevel
