#include "bilevel/data/table_builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/number.h"

namespace bilevel {

void TableBuilder::add_field(std::string_view text, int64_t line, int64_t column) {
  if (row_.empty()) row_line_ = line;
  row_.push_back(append(text, column));
  row_lines_.push_back(line);
}

void TableBuilder::end_row(const TableOptions& options, const Position& end) {
  if (width_ == 0) {
    width_ = row_.size();
    const bool header = options.header.value_or(looks_like_header());
    name_columns(header);
    if (header) {
      header_line_ = row_line_;
      clear_row();
      table_.bytes_.clear();
      return;
    }
  }
  if (row_.size() != width_) {
    const Position position =
        row_.size() > width_ ? Position{table_.path_, row_lines_[width_], row_[width_].column} : end;
    fail_at(position, fmt::format("the row has {} field{}, but {} {} expected", row_.size(),
                                  row_.size() == 1 ? "" : "s", width_, width_ == 1 ? "is" : "are"));
  }
  const size_t first = table_.cells_.size();
  for (size_t i = 0; i < width_; ++i) {
    if (row_lines_[i] != row_line_) table_.later_lines_.emplace_back(first + i, row_lines_[i]);
  }
  table_.cells_.insert(table_.cells_.end(), row_.begin(), row_.end());
  table_.lines_.push_back(row_line_);
  clear_row();
}

void TableBuilder::begin_object(int64_t line) {
  row_.assign(table_.names_.size(), {});
  row_line_ = line;
  seen_.assign(table_.names_.size(), false);
}

std::optional<size_t> TableBuilder::open_key(const std::string& key) {
  const auto [found, added] = column_of_.try_emplace(key, table_.names_.size());
  if (added) {
    table_.names_.push_back(key);
    row_.emplace_back();
    seen_.push_back(false);
  }
  if (seen_[found->second]) return std::nullopt;
  seen_[found->second] = true;
  return found->second;
}

void TableBuilder::end_object() {
  json_starts_.push_back(table_.cells_.size());
  table_.cells_.insert(table_.cells_.end(), row_.begin(), row_.end());
  table_.lines_.push_back(row_line_);
}

Table TableBuilder::finish() {
  if (table_.lines_.empty()) {
    if (header_line_ > 0) fail_at({table_.path_, header_line_}, "holds a header but no rows");
    fail_at({table_.path_}, "holds no rows");
  }
  const size_t width = table_.names_.size();
  if (table_.cells_.size() != width * table_.lines_.size()) {  // jsonl with late keys
    std::vector<Table::Cell> cells(width * table_.lines_.size());
    json_starts_.push_back(table_.cells_.size());
    for (size_t row = 0; row < table_.lines_.size(); ++row) {
      std::copy(table_.cells_.begin() + static_cast<std::ptrdiff_t>(json_starts_[row]),
                table_.cells_.begin() + static_cast<std::ptrdiff_t>(json_starts_[row + 1]),
                cells.begin() + static_cast<std::ptrdiff_t>(row * width));
    }
    table_.cells_ = std::move(cells);
  }
  if (width == 0) fail_at({table_.path_, table_.lines_.front()}, "the rows have no columns");
  return std::move(table_);
}

Table::Cell TableBuilder::append(std::string_view text, int64_t column) {
  const Table::Cell cell{table_.bytes_.size(), static_cast<uint32_t>(text.size()),
                         static_cast<uint32_t>(column)};
  table_.bytes_.append(text);
  return cell;
}

bool TableBuilder::looks_like_header() const {
  bool any = false;
  for (const Table::Cell& cell : row_) {
    const std::string_view name = trimmed(text(cell));
    if (name.empty()) continue;
    if (read_number(name).kind != CellKind::word) return false;
    any = true;
  }
  return any;
}

void TableBuilder::name_columns(bool header) {
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < row_.size(); ++i) {
    std::string name(header ? trimmed(text(row_[i])) : std::string_view());
    if (name.empty()) name = std::to_string(i + 1);
    const auto [found, added] = first.try_emplace(name, i);
    if (!added) {
      fail_at({table_.path_, row_lines_[i], row_[i].column},
              fmt::format("the header names column '{}' twice (columns {} and {}); if the first row is data, "
                          "say that the file has no header",
                          name, found->second + 1, i + 1));
    }
    table_.names_.push_back(std::move(name));
  }
}

void TableBuilder::clear_row() {
  row_.clear();
  row_lines_.clear();
}

}  // namespace bilevel
