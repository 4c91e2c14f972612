#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "bilevel/core/number.h"
#include "bilevel/data/characters.h"
#include "bilevel/task/describe/describer.h"

namespace bilevel {
namespace {

constexpr size_t kValuesShown = 10;

/// What the cells of a column are, with the counts of its values.
struct Cells {
  std::vector<double> numbers;
  int64_t words = 0, infinite = 0, several = 0;  // several: words of three parts or more
  std::unordered_map<std::string, int64_t> counts;
  std::vector<std::string> order;  // values by first appearance
};

ColumnType type_of(const DescribedColumn& column, const Cells& cells, int64_t rows) {
  const int64_t present = rows - column.missing;
  const bool all_differ = column.distinct == present && present >= 20;
  if (present == 0) return ColumnType::empty;
  if (column.distinct == 1 && column.missing == 0 && rows > 1) return ColumnType::constant;
  if (cells.words == 0) {
    if (!column.numbers || !all_differ || !column.numbers->whole) return ColumnType::number;
    const std::string name = lower_case(trimmed(column.name));
    const bool named =
        name == "id" || name.ends_with("_id") || name.ends_with(" id") || name == "index" || name == "row";
    const bool counts_up = column.numbers->most - column.numbers->least + 1 == static_cast<double>(present);
    return named || counts_up ? ColumnType::identifier : ColumnType::number;
  }
  if (2 * cells.several > cells.words && (2 * column.distinct > present || column.distinct > 1000))
    return ColumnType::text;
  return all_differ ? ColumnType::identifier : ColumnType::category;
}

}  // namespace

bool Describer::is_text(const DescribedColumn& column) const {
  return std::ranges::count(d_.texts, column.name) > 0;
}

void Describer::describe_table(const Table& table) {
  for (size_t c = 0; c < table.columns(); ++c) d_.columns.push_back(describe_column(table, c));
  if (!o_.text.empty()) {
    DescribedColumn& column = d_.columns[table.column(o_.text)];
    column.type = ColumnType::text;
    column.values.clear();
    d_.texts = {column.name};
  } else {
    for (const DescribedColumn& column : d_.columns) {
      if (column.type == ColumnType::text) d_.texts.push_back(column.name);
    }
  }
  choose_label(table);
  note_keys(table);
  doubt_texts(table);
  doubt_empty_rows(table);
  doubt_cells(table);
}

/// One key a row for "the same row". Rows without any value have none: they are a doubt of their own.
void Describer::note_keys(const Table& table) {
  for (size_t row = 0; row < table.rows(); ++row) {
    std::string key;
    bool some = false;
    for (size_t c = 0; c < table.columns(); ++c) {
      const DescribedColumn& column = d_.columns[c];
      if (!is_feature(column) || !(is_text(column) || d_.texts.empty())) continue;
      const std::string cell = label_key(table.cell(row, c));
      some = some || !is_missing(cell);
      key += cell + '\x1F';
    }
    if (some) keys_[row] = std::move(key);
  }
}

DescribedColumn Describer::describe_column(const Table& table, size_t c) const {
  DescribedColumn column{.name = table.names()[c]};
  Cells cells;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, c);
    const Number number = read_number(cell);
    if (number.kind == CellKind::missing) {
      ++column.missing;
      continue;
    }
    if (number.kind == CellKind::number) cells.numbers.push_back(number.value);
    if (number.kind == CellKind::infinite) ++cells.infinite;
    if (number.kind == CellKind::word) {
      ++cells.words;
      cells.several += std::count(cell.begin(), cell.end(), ' ') >= 2 ? 1 : 0;
    }
    const auto [found, added] = cells.counts.try_emplace(label_key(cell), 0);
    if (added) cells.order.push_back(found->first);
    ++found->second;
  }
  column.distinct = static_cast<int64_t>(cells.counts.size());
  if (cells.words == 0 && !cells.numbers.empty()) column.numbers = spread_of(cells.numbers);
  column.type = type_of(column, cells, d_.rows);
  // Two or more values that return, and not too many of them.
  column.label_like = (column.type == ColumnType::category || (column.numbers && column.numbers->whole)) &&
                      20 * column.missing <= d_.rows && cells.infinite == 0 && column.distinct >= 2 &&
                      column.distinct <= std::min<int64_t>(200, std::max<int64_t>(2, d_.rows / 2));
  if (column.type != ColumnType::text && column.type != ColumnType::identifier) {
    std::ranges::stable_sort(cells.order, std::greater<>(),
                             [&](const std::string& value) { return cells.counts[value]; });
    for (size_t i = 0; i < std::min(cells.order.size(), kValuesShown); ++i)
      column.values.push_back({cells.order[i], cells.counts[cells.order[i]]});
  }
  return column;
}

std::optional<size_t> Describer::likely_label() const {
  static const std::set<std::string> kNames{"label",    "class",     "target",   "y",
                                            "category", "sentiment", "polarity", "outcome",
                                            "topic",    "labels",    "classes"};
  std::optional<size_t> chosen;
  int best = 3;  // few values alone make no label
  for (size_t c = 0; c < d_.columns.size(); ++c) {
    const DescribedColumn& column = d_.columns[c];
    if (!column.label_like || is_text(column)) continue;
    const int score = (kNames.contains(lower_case(trimmed(column.name))) ? 8 : 0) +
                      (c + 1 == d_.columns.size() ? 3 : 0) + (c == 0 ? 2 : 0) +
                      (column.distinct <= 20 ? 1 : 0) + (column.type == ColumnType::category ? 1 : 0);
    if (score >= best) {
      best = score;
      chosen = c;
    }
  }
  return chosen;
}

void Describer::choose_label(const Table& table) {
  d_.label_given = !o_.label.empty();
  const std::optional<size_t> chosen = d_.label_given ? table.column(o_.label) : likely_label();
  if (!chosen) return;
  if (d_.label_given && d_.columns[*chosen].type == ColumnType::empty)
    fail_at(table.position(0, *chosen),
            fmt::format("every cell of the label column '{}' is missing", o_.label));
  d_.label = d_.columns[*chosen].name;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, *chosen);
    if (!is_missing(cell)) labels_[row] = label_key(cell);
  }
}

}  // namespace bilevel
