#include "bilevel/data/table_writer.h"

#include <fmt/format.h>

#include <set>
#include <stdexcept>

#include "bilevel/core/files.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/data/table.h"

namespace bilevel {
namespace {

std::string in_quotes(const std::string& cell) {
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

/// The lines of the table, and the first of them alone.
std::pair<std::string, std::string> lines_of(const std::vector<Column>& columns, bool quoted) {
  std::string text, header;
  for (size_t row = 0; row <= columns.front().cells.size(); ++row) {
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string& cell = row == 0 ? columns[c].name : columns[c].cells.at(row - 1);
      if (c > 0) text += '\t';
      text += quoted ? in_quotes(cell) : cell;
    }
    if (row == 0) header = text;
    text += '\n';
  }
  return {text, header};
}

}  // namespace

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
  const auto breaks = [](const std::string& cell) {
    return cell.find_first_of("\t\r\n") != std::string::npos;
  };
  if (columns.front().name.find_first_of("\r\n") != std::string::npos)
    throw std::logic_error("the first column's name has a line end");
  bool quoted = false;
  for (const Column& column : columns) {
    if (column.cells.size() != columns.front().cells.size())
      throw std::logic_error(fmt::format("the column '{}' has another number of rows", column.name));
    quoted = quoted || breaks(column.name);
    for (const std::string& cell : column.cells) quoted = quoted || breaks(cell);
  }
  const auto [text, header] = lines_of(columns, quoted);
  return quoted || !is_quoted_tsv(header) ? text : lines_of(columns, true).first;
}

void write_tsv(const std::string& path, const std::vector<Column>& columns) {
  write_file_atomically(path, tsv_of(columns));
}

}  // namespace bilevel
