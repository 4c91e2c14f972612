#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "bilevel/core/number.h"
#include "bilevel/data/characters.h"
#include "bilevel/data/class_key.h"
#include "bilevel/task/describe/describer.h"

namespace bilevel {
namespace {

constexpr size_t kValuesShown = 10;

}  // namespace

bool Describer::is_text(const DescribedColumn& column) const {
  return std::ranges::count(d_.texts, column.name) > 0;
}

void Describer::describe_table(const Table& table) {
  std::vector<ColumnWish> wishes(table.columns(), ColumnWish::none);
  if (!o_.text.empty()) wishes[table.column(o_.text)] = ColumnWish::text;
  recognized_ = recognize_columns(table, wishes);
  for (size_t c = 0; c < table.columns(); ++c) {
    d_.columns.push_back(describe_column(table, c));
    const bool text =
        o_.text.empty() ? d_.columns[c].type == ColumnKind::text : wishes[c] == ColumnWish::text;
    if (text) d_.texts.push_back(d_.columns[c].name);
  }
  choose_label(table);
  count_by_class(table);
  if (o_.text.empty()) leave_short_texts();
  note_keys(table);
  doubt_texts(table);
  doubt_empty_rows(table);
  doubt_cells(table);
}

/// Names and the like beside columns that are features are no texts to read, as jobs see it.
void Describer::leave_short_texts() {
  bool features = false, long_text = false;
  for (size_t c = 0; c < d_.columns.size(); ++c) {
    const ColumnKind kind = d_.columns[c].type;
    features = features ||
               (is_feature(d_.columns[c]) &&
                (kind == ColumnKind::number || kind == ColumnKind::date || kind == ColumnKind::category));
    long_text = long_text || (kind == ColumnKind::text && recognized_[c].words >= kLongText);
  }
  if (features && !long_text) d_.texts.clear();
}

/// One key a row for "the same row". Rows without any value have none: they are a doubt of their own.
void Describer::note_keys(const Table& table) {
  for (size_t row = 0; row < table.rows(); ++row) {
    std::string key;
    bool some = false;
    for (size_t c = 0; c < table.columns(); ++c) {
      const DescribedColumn& column = d_.columns[c];
      if (!is_feature(column) || !(is_text(column) || d_.texts.empty())) continue;
      const std::string cell = class_key(table.cell(row, c));
      some = some || !is_missing(cell);
      key += cell + '\x1F';
    }
    if (some) keys_[row] = std::move(key);
  }
}

Number Describer::number_in(const Table& table, size_t row, size_t c) const {
  const ColumnReading& reading = recognized_[c].reading;
  if (reading.as == CellReading::number) return table.number(row, c, reading.notation);
  return read_number(table.cell(row, c));
}

DescribedColumn Describer::describe_column(const Table& table, size_t c) const {
  const RecognizedColumn& found = recognized_[c];
  DescribedColumn column{
      .name = found.name, .type = found.kind, .notation = found.notation(), .missing = found.missing};
  const bool numeric = found.reading.as == CellReading::number;
  std::vector<double> numbers;
  std::unordered_map<std::string, int64_t> counts;
  std::vector<std::string> order;  // values by first appearance
  int64_t empty = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, c);
    empty += trimmed(cell).empty() ? 1 : 0;
    const Number number = number_in(table, row, c);
    if (number.kind == CellKind::missing || (found.reading.as == CellReading::date && is_missing_mark(cell)))
      continue;
    if (number.kind == CellKind::number) numbers.push_back(number.value);
    const bool is_number = numeric && number.kind == CellKind::number;
    const auto [same, added] = counts.try_emplace(
        is_number ? fmt::format("{}", number.value + 0.0) : class_key(cell), 0);  // -0 becomes 0
    if (added) order.push_back(same->first);
    ++same->second;
  }
  column.distinct = static_cast<int64_t>(counts.size());
  if (numeric && !numbers.empty()) column.numbers = spread_of(numbers);
  // Two or more values that return, and not too many of them.
  column.label_like = (column.type == ColumnKind::category || (column.numbers && column.numbers->whole)) &&
                      20 * empty <= d_.rows && !found.infinite && column.distinct >= 2 &&
                      column.distinct <= std::min<int64_t>(200, std::max<int64_t>(2, d_.rows / 2));
  if (column.type == ColumnKind::text || column.type == ColumnKind::identifier ||
      column.type == ColumnKind::date)
    return column;
  std::ranges::stable_sort(order, std::greater<>(), [&](const std::string& value) { return counts[value]; });
  for (size_t i = 0; i < std::min(order.size(), kValuesShown); ++i)
    column.values.push_back({order[i], counts[order[i]]});
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
                      (column.distinct <= 20 ? 1 : 0) + (column.type == ColumnKind::category ? 1 : 0);
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
  if (d_.label_given && d_.columns[*chosen].type == ColumnKind::empty)
    fail_at(table.position(0, *chosen),
            fmt::format("every cell of the label column '{}' is missing", o_.label));
  d_.label = d_.columns[*chosen].name;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, *chosen);
    labels_[row] = class_key(cell);
  }
}

void Describer::count_by_class(const Table& table) {
  std::set<std::string> classes(labels_.begin(), labels_.end());
  classes.erase("");  // rows without a label
  for (size_t c = 0; c < table.columns(); ++c) {
    DescribedColumn& column = d_.columns[c];
    if (!column.label_like || column.name == d_.label) continue;
    std::map<std::string, std::map<std::string, int64_t>> counts;
    for (size_t row = 0; row < table.rows(); ++row) {
      if (!labels_[row].empty()) ++counts[class_key(table.cell(row, c))][labels_[row]];
    }
    column.of_class = d_.rows;
    for (const auto& [value, of_value] : counts) {
      const auto all = of_value.size() == classes.size();
      for (const auto& [name, count] : of_value) column.of_class = all ? std::min(column.of_class, count) : 0;
    }
  }
}

}  // namespace bilevel
