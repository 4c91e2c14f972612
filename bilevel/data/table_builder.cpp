#include "bilevel/data/table_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/data/notation.h"

namespace bilevel {

TableBuilder::TableBuilder(const std::string& path, const std::vector<std::string>& missing) {
  table_.path_ = path;
  for (const std::string& text : missing) missing_.insert(class_key(text));
}

void TableBuilder::add_field(std::string_view text, int64_t line, int64_t column) {
  if (row_.empty()) row_line_ = line;
  row_.push_back(append(text, column));
  row_lines_.push_back(line);
}

void TableBuilder::end_row(const TableOptions& options, const Position& end) {
  if (width_ == 0) {
    width_ = row_.size();
    if (!options.header && could_name_years()) {  // the second row decides
      row_.swap(first_row_);
      row_lines_.swap(first_lines_);
    } else {
      begin_rows(options.header.value_or(looks_like_header()), end);
    }
    return;
  }
  if (!first_row_.empty()) {
    const bool header = names_years();
    row_.swap(first_row_);
    row_lines_.swap(first_lines_);
    begin_rows(header, end);
    row_ = std::exchange(first_row_, {});
    row_lines_ = std::exchange(first_lines_, {});
    row_line_ = row_lines_.front();
  }
  add_row(end);
}

namespace {

bool holds_delimiter(std::string_view text) { return text.find_first_of(",;\t|") != std::string_view::npos; }

}  // namespace

void TableBuilder::begin_rows(bool header, const Position& end) {
  row_line_ = row_lines_.front();
  name_columns(header);
  if (!header) return add_row(end);
  header_line_ = row_line_;
  clear_row();
}

void TableBuilder::add_row(const Position& end) {
  if (row_.size() != width_) {
    const Position position =
        row_.size() > width_ ? Position{table_.path_, row_lines_[width_], row_[width_].column} : end;
    fail_at(
        position,
        fmt::format("the row has {} field{}, but {} {} expected{}", row_.size(), row_.size() == 1 ? "" : "s",
                    width_, width_ == 1 ? "is" : "are",
                    row_.size() == width_ + 1 && trimmed(text(row_.back())).empty()
                        ? fmt::format(" (the last one is empty: a {} too many at its end?)",
                                      delimiter_name(table_.delimiter_))
                    : width_ == 1 || (row_.size() == 1 && holds_delimiter(text(row_[0])))
                        ? fmt::format(" (fields are taken to stand between {}s; --delimiter names another)",
                                      delimiter_name(table_.delimiter_))
                        : ""));
  }
  const size_t first = table_.cells_.size();
  for (size_t i = 0; i < width_; ++i) {
    if (row_lines_[i] != row_line_) table_.later_lines_.emplace_back(first + i, row_lines_[i]);
  }
  empty_missing();
  table_.cells_.append(row_);
  table_.lines_.push_back(row_line_);
  clear_row();
}

void TableBuilder::empty_missing() {
  if (missing_.empty()) return;
  for (Table::Cell& cell : row_) {
    if (missing_.contains(class_key(text(cell)))) cell.missing = 1;
  }
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
  empty_missing();
  json_starts_.push_back(table_.cells_.size());
  table_.cells_.append(row_);
  table_.lines_.push_back(row_line_);
}

Table TableBuilder::finish() {
  if (!first_row_.empty()) {
    row_.swap(first_row_);
    row_lines_.swap(first_lines_);
    begin_rows(/*header=*/false, {table_.path_});
  }
  if (table_.lines_.empty()) {
    if (header_line_ > 0) fail_at({table_.path_, header_line_}, "holds a header but no rows");
    fail_at({table_.path_}, "holds no rows");
  }
  const size_t width = table_.names_.size();
  if (table_.cells_.size() != width * table_.lines_.size()) {  // jsonl with late keys
    LargeArray<Table::Cell> cells;
    cells.resize(width * table_.lines_.size());
    std::fill(cells.begin(), cells.end(), Table::Cell{});
    json_starts_.push_back(table_.cells_.size());
    for (size_t row = 0; row < table_.lines_.size(); ++row) {
      std::copy(table_.cells_.begin() + json_starts_[row], table_.cells_.begin() + json_starts_[row + 1],
                cells.begin() + row * width);
    }
    table_.cells_ = std::move(cells);
  }
  if (width == 0) fail_at({table_.path_, table_.lines_.front()}, "the rows have no columns");
  table_.unnamed_.resize(width, false);
  table_.bytes_.shrink();
  table_.cells_.shrink();
  return std::move(table_);
}

Table::Cell TableBuilder::append(std::string_view text, int64_t column) {
  Table::Cell cell{.begin = table_.bytes_.size(), .size = static_cast<uint32_t>(text.size())};
  cell.column = static_cast<uint32_t>(column) & 0x3FFFFFFFU;
  table_.bytes_.append({text.data(), text.size()});
  return cell;
}

bool TableBuilder::looks_like_header() const {
  bool any = false;
  for (const Table::Cell& cell : row_) {
    const std::string_view name = trimmed(text(cell));
    if (name.empty()) continue;
    if (read_number(name).kind != CellKind::word || is_written_number(name)) return false;
    any = true;
  }
  return any;
}

namespace {

bool is_year(std::string_view text) { return text.size() == 4 && text >= "1900" && text <= "2100"; }

}  // namespace

bool TableBuilder::could_name_years() const {
  bool years = false, words = false;
  std::unordered_set<std::string_view> names;
  for (const Table::Cell& cell : row_) {
    const std::string_view name = trimmed(text(cell));
    if (name.empty()) continue;
    const bool number = read_number(name).kind == CellKind::number;
    if ((number && !is_year(name)) || is_missing_mark(name) || !names.insert(name).second) return false;
    (number ? years : words) = true;
  }
  return years && words;
}

bool TableBuilder::names_years() const {
  for (size_t i = 0; i < std::min(row_.size(), first_row_.size()); ++i) {
    const std::string_view below = trimmed(text(row_[i]));
    if (is_year(trimmed(text(first_row_[i]))) && !is_year(below) &&
        read_number(below).kind == CellKind::number)
      return true;
  }
  return false;
}

void TableBuilder::name_columns(bool header) {
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < row_.size(); ++i) {
    std::string name(header ? trimmed(text(row_[i])) : std::string_view());
    table_.unnamed_.push_back(header && name.empty());
    if (name.empty()) name = std::to_string(i + 1);
    const auto [found, added] = first.try_emplace(name, i);
    if (!added) {
      fail_at({table_.path_, row_lines_[i], row_[i].column},
              fmt::format("the header names column '{}' twice (columns {} and {}); if the first row is data, "
                          "say --no-header, else give one of them another name",
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
