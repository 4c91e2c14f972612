#include "bilevel/data/columns.h"

#include <fmt/format.h>

#include <array>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/characters.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/saved_state.h"

namespace bilevel {
namespace {

/// What the cell of a column of numbers or dates is: one value, or of dates four (elapsed days, month, weekday, hour).
struct CellValues {
  CellKind kind = CellKind::missing;
  std::array<double, 4> values{};
};

constexpr std::array<const char*, 4> kDateParts{"", "month", "weekday", "hour"};

CellValues values_of(const Table& table, size_t row, size_t column, const ColumnReading& reading) {
  if (reading.as == CellReading::number) {
    const Number number = table.number(row, column, reading.notation);
    return {number.kind, {number.value}};
  }
  const std::string_view cell = table.cell(row, column);
  if (is_missing_mark(cell)) return {};
  const std::optional<Moment> moment = read_moment(cell, reading.order);
  if (!moment) return {CellKind::word};
  return {
      CellKind::number,
      {moment->days, static_cast<double>(moment->month), static_cast<double>(moment->weekday), moment->hour}};
}

/// Which categories are the same: as labels, and however accents are written.
std::string category_key(std::string_view cell) { return class_key(composed(cell)); }
std::string loose_category_key(std::string_view cell) { return loose_class_key(composed(cell)); }

size_t part_of(const std::string& name) {
  const auto found = std::ranges::find(kDateParts, name);
  if (found == kDateParts.end()) throw InputError("no part of a date: " + name);
  return static_cast<size_t>(found - kDateParts.begin());
}

std::string what_is_read(const ColumnReading& reading) {
  if (reading.as == CellReading::date) return "a date";
  return reading.notation.is_plain() ? "a number" : fmt::format("a number ({})", reading.notation.text());
}

/// Whether a cell is a number or a date, if not as its column has them.
bool is_written_otherwise(std::string_view cell) {
  return NumberGuess().add(cell) || read_moment(cell, DateOrder::day_first) ||
         read_moment(cell, DateOrder::month_first);
}

}  // namespace

void ColumnTransform::Column::fit_numbers(const Table& table, size_t index, const std::vector<int64_t>& rows,
                                          const NumberOptions& options) {
  std::array<std::vector<double>, 4> values;
  for (const int64_t row : rows) {
    const CellValues cell = values_of(table, static_cast<size_t>(row), index, reading);
    if (cell.kind == CellKind::word) {
      fail_at(table.position(static_cast<size_t>(row), index),
              fmt::format("'{}' in column '{}' is not {}", table.cell(static_cast<size_t>(row), index), name,
                          what_is_read(reading)));
    }
    if (cell.kind != CellKind::number) continue;
    for (size_t i = 0; i < values.size(); ++i) values[i].push_back(cell.values[i]);
  }
  const bool is_date = reading.as == CellReading::date;
  double days = 0;
  if (is_date && !values[0].empty()) {
    const auto [least, most] = std::ranges::minmax_element(values[0]);
    days = *most - *least;
  }
  constexpr std::array<double, 4> kLeastDays{0, 366, 7, 1};
  for (size_t i = 0; i < (is_date ? values.size() : 1); ++i) {
    if (i > 0 && days <= kLeastDays[i]) continue;
    NumberOptions own = options;
    own.rank = own.rank && i == 0;
    NumberScaler scaler = values[i].empty() ? NumberScaler() : NumberScaler(std::move(values[i]), own);
    if (i == 0 || !scaler.constant()) scalers.emplace_back(kDateParts[i], std::move(scaler));
  }
  dropped = scalers[0].second.constant();
}

void ColumnTransform::Column::fit_categories(const Table& table, size_t index,
                                             const std::vector<int64_t>& rows, size_t limit) {
  std::unordered_map<std::string, int64_t> counts;
  for (const int64_t row : rows) {
    const std::string_view cell = table.cell(static_cast<size_t>(row), index);
    if (!is_missing(cell)) ++counts[category_key(cell)];
  }
  std::vector<std::pair<std::string, int64_t>> ordered(counts.begin(), counts.end());
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  has_other = ordered.size() > limit;
  dropped = ordered.size() <= 1;
  if (dropped) return;
  for (size_t i = 0; i < std::min(limit, ordered.size()); ++i) categories.push_back(ordered[i].first);
}

int64_t ColumnTransform::Column::category(std::string_view cell) const {
  if (const auto found = category_index.find(category_key(cell)); found != category_index.end())
    return found->second;
  const auto loose = loose_index.find(loose_category_key(cell));
  return loose == loose_index.end() ? -1 : loose->second;
}

ColumnTransform ColumnTransform::fit(const Table& table, const std::vector<size_t>& columns,
                                     const std::vector<int64_t>& rows, const ColumnOptions& options) {
  if (options.max_categories < 1) {
    throw InputError(fmt::format("max_categories is {}; it must be at least 1", options.max_categories));
  }
  if (options.numbers.clip < 0) {
    throw InputError(fmt::format("the clip of numbers is {}; it must not be negative", options.numbers.clip));
  }
  if (rows.empty()) throw InputError("there are no training rows to fit the columns on");
  std::vector<bool> named(table.columns(), false);
  for (const std::string& name : options.categorical) {
    const size_t index = table.column(name);
    if (std::find(columns.begin(), columns.end(), index) == columns.end()) {
      fail_at({table.path()},
              fmt::format("column '{}' is named categorical, but is not one of the features", name));
    }
    named[index] = true;
  }
  std::vector<RecognizedColumn> recognized = options.recognized;
  if (recognized.empty()) {
    std::vector<ColumnWish> wishes(table.columns(), ColumnWish::unread);
    for (const size_t index : columns)
      wishes.at(index) = named[index] ? ColumnWish::category : ColumnWish::none;
    recognized = recognize_columns(table, wishes);
  }

  ColumnTransform transform;
  for (const size_t index : columns) {
    Column column;
    column.name = table.names().at(index);
    column.named_categorical = named[index];
    column.reading = recognized.at(index).reading;
    if (named[index]) {
      column.reading.as = CellReading::category;
      table.check_cells(index);
    } else {
      check_readable(table, index, recognized[index]);
    }
    int64_t missing = 0;
    for (const int64_t row : rows) {
      const std::string_view cell = table.cell(static_cast<size_t>(row), index);
      missing += (column.is_category() ? is_missing(cell) : is_missing_mark(cell)) ? 1 : 0;
    }
    transform.missing_ += missing;
    column.missing_indicator = missing > 0 && missing < static_cast<int64_t>(rows.size());
    if (column.is_category())
      column.fit_categories(table, index, rows, static_cast<size_t>(options.max_categories));
    else
      column.fit_numbers(table, index, rows, options.numbers);
    transform.columns_.push_back(std::move(column));
  }
  transform.name_features();
  if (transform.width() == 0) {
    fail_at({table.path()},
            fmt::format("the {} feature column{} give no feature: all are constant or missing",
                        columns.size(), columns.size() == 1 ? "" : "s"));
  }
  transform.decide_sparse(rows, options.dense_bytes);
  return transform;
}

void ColumnTransform::decide_sparse(const std::vector<int64_t>& rows, int64_t dense_bytes) {
  int64_t entries = 0;  // a row
  for (const Column& column : columns_) {
    entries += column.missing_indicator ? 1 : 0;
    if (column.is_category()) ++entries;
    for (const auto& [part, scaler] : column.scalers) entries += scaler.width();
  }
  const auto bytes = static_cast<double>(rows.size()) * static_cast<double>(width()) * sizeof(float);
  sparse_ = bytes > static_cast<double>(dense_bytes) && 10 * entries < width();
}

void ColumnTransform::name_features() {
  feature_names_.clear();
  for (Column& column : columns_) {
    column.first_feature = width();
    column.category_index.clear();
    column.loose_index.clear();
    for (const std::string& category : column.categories) {
      const int64_t feature = width() - column.first_feature;
      column.category_index.emplace(category_key(category), feature);
      const auto [same, added] = column.loose_index.emplace(loose_category_key(category), feature);
      if (!added) same->second = -1;
      feature_names_.push_back(column.name + "=" + category);
    }
    if (column.has_other) feature_names_.push_back(column.name + ":other");
    for (const auto& [part, scaler] : column.scalers) {
      const std::string name = part.empty() ? column.name : column.name + ":" + part;
      if (scaler.width() >= 1) feature_names_.push_back(name);
      if (scaler.width() >= 2) feature_names_.push_back(name + ":rank");
    }
    if (column.missing_indicator) feature_names_.push_back(column.name + ":missing");
  }
}

std::vector<int64_t> ColumnTransform::numbers() const {
  std::vector<int64_t> found;
  for (const Column& column : columns_) {
    int64_t end =
        column.first_feature + static_cast<int64_t>(column.categories.size()) + (column.has_other ? 1 : 0);
    for (const auto& [part, scaler] : column.scalers) {
      end += scaler.width();
      if (!scaler.constant() && !scaler.binary()) found.push_back(end - 1);
    }
  }
  return found;
}

template <typename Visit>
void ColumnTransform::read_cell(const Table& table, size_t row, size_t table_column, const Column& column,
                                const Visit& visit) const {
  const std::string_view cell = table.cell(row, table_column);
  const auto infinite = [&] {
    fail_at(table.position(row, table_column),
            fmt::format("'{}' in column '{}' is infinite; values must be finite", cell, column.name));
  };
  int64_t feature = column.first_feature;
  if (column.is_category()) {
    const auto own = static_cast<int64_t>(column.categories.size());  // features before "other" or "missing"
    const CellKind kind = read_number(cell).kind;
    if (kind == CellKind::missing) {
      if (column.missing_indicator) visit(feature + own + (column.has_other ? 1 : 0), 1.0F);
      return;
    }
    if (kind == CellKind::infinite && !column.named_categorical) infinite();
    if (column.dropped) return;
    const int64_t category = column.category(cell);
    if (category >= 0)
      visit(feature + category, 1.0F);
    else if (column.has_other)
      visit(feature + own, 1.0F);
    return;
  }
  const CellValues values = values_of(table, row, table_column, column.reading);
  if (values.kind == CellKind::infinite) infinite();
  if (values.kind == CellKind::word) {
    fail_at(table.position(row, table_column),
            fmt::format(
                "'{}' in column '{}' is not {}, but the training rows hold {}s there{}", cell, column.name,
                what_is_read(column.reading), column.reading.as == CellReading::date ? "date" : "number",
                is_written_otherwise(cell)
                    ? "; it is written in another way: write the column as in the training file"
                    : fmt::format("; if they are categories, name the column categorical (--categorical {})",
                                  column.name)));
  }
  const bool missing = values.kind == CellKind::missing;
  for (const auto& [part, scaler] : column.scalers) {
    const double value = values.values[part_of(part)];
    if (scaler.width() >= 1) visit(feature++, missing ? scaler.mean_scaled() : scaler.scaled(value));
    if (scaler.width() >= 2)
      visit(feature++, missing ? NumberScaler::mean_rank_score() : scaler.rank_score(value));
  }
  if (missing && column.missing_indicator) visit(feature, 1.0F);
}

torch::Tensor ColumnTransform::apply(const Table& table, const std::vector<int64_t>& rows) const {
  for (const Column& column : columns_) table.column(column.name);  // refuses what is not there first
  torch::Tensor features = large_empty({static_cast<int64_t>(rows.size()), width()}, torch::kFloat32).zero_();
  auto* out = features.mutable_data_ptr<float>();
  for (const Column& column : columns_) {
    const size_t index = table.column(column.name);
    table.check_cells(index);
    for (size_t i = 0; i < rows.size(); ++i) {
      float* own = out + static_cast<int64_t>(i) * width();
      read_cell(table, static_cast<size_t>(rows[i]), index, column,
                [own](int64_t feature, float value) { own[feature] = value; });
    }
  }
  return features;
}

torch::Tensor ColumnTransform::apply(const Table& table) const {
  std::vector<int64_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), 0);
  return apply(table, rows);
}

std::vector<UnreadableCells> ColumnTransform::unreadable(const Table& table) const {
  std::vector<UnreadableCells> all;
  for (const Column& column : columns_) {
    UnreadableCells found{.column = table.column(column.name), .rows = {}};
    for (size_t row = 0; row < table.rows(); ++row) {
      const std::string_view cell = table.cell(row, found.column);
      const CellKind kind = column.is_category() ? read_number(cell).kind
                                                 : values_of(table, row, found.column, column.reading).kind;
      if (kind == CellKind::infinite ? !column.named_categorical
                                     : kind == CellKind::word && !column.is_category())
        found.rows.push_back(row);
    }
    if (!found.rows.empty()) all.push_back(std::move(found));
  }
  return all;
}

SparseRows ColumnTransform::apply_sparse(const Table& table) const {
  std::vector<size_t> indices;
  for (const Column& column : columns_) {
    indices.push_back(table.column(column.name));
    table.check_cells(indices.back());
  }
  SparseRowsBuilder<float> builder;
  for (size_t row = 0; row < table.rows(); ++row) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      read_cell(table, row, indices[i], columns_[i], [&builder](int64_t feature, float value) {
        if (value != 0) builder.add_entry(feature, value);
      });
    }
    builder.end_row();
  }
  return builder.finish(width());
}

std::vector<UnseenCategories> ColumnTransform::unseen(const Table& table) const {
  std::vector<UnseenCategories> all;
  for (const Column& column : columns_) {
    const std::optional<size_t> index = table.find_column(column.name);
    if (!column.is_category() || column.dropped || column.has_other || !index) continue;
    UnseenCategories unseen{.column = column.name};
    for (size_t row = 0; row < table.rows(); ++row) {
      const std::string_view cell = table.cell(row, *index);
      if (is_missing(cell)) continue;
      ++unseen.of;
      unseen.cells += column.category(cell) < 0 ? 1 : 0;
    }
    if (unseen.cells > 0) all.push_back(std::move(unseen));
  }
  return all;
}

nlohmann::json ColumnTransform::to_json() const {
  nlohmann::json columns = nlohmann::json::array();
  for (const Column& column : columns_) {
    nlohmann::json entry = {{"name", column.name},
                            {"categorical", column.is_category()},
                            {"reading", column.reading.to_json()},
                            {"named_categorical", column.named_categorical},
                            {"missing_indicator", column.missing_indicator},
                            {"dropped", column.dropped}};
    if (column.is_category()) {
      entry["categories"] = column.categories;
      entry["has_other"] = column.has_other;
    } else {
      entry["scaler"] = column.scalers[0].second.to_json();
      for (size_t i = 1; i < column.scalers.size(); ++i)
        entry["parts"][column.scalers[i].first] = column.scalers[i].second.to_json();
    }
    columns.push_back(std::move(entry));
  }
  nlohmann::json state{{"columns", std::move(columns)}};
  if (sparse_) state["sparse"] = true;
  return state;
}

ColumnTransform ColumnTransform::from_json(const nlohmann::json& state) {
  return read_state("column transform", [&] {
    ColumnTransform transform;
    transform.sparse_ = state.value("sparse", false);
    for (const nlohmann::json& entry : state.at("columns")) {
      Column column;
      column.name = entry.at("name").get<std::string>();
      if (entry.contains("reading"))
        column.reading = ColumnReading::from_json(entry["reading"]);
      else if (entry.at("categorical").get<bool>())
        column.reading.as = CellReading::category;
      column.named_categorical = entry.at("named_categorical").get<bool>();
      column.missing_indicator = entry.at("missing_indicator").get<bool>();
      column.dropped = entry.at("dropped").get<bool>();
      if (column.is_category()) {
        column.categories = entry.at("categories").get<std::vector<std::string>>();
        column.has_other = entry.at("has_other").get<bool>();
      } else {
        column.scalers.emplace_back("", NumberScaler::from_json(entry.at("scaler")));
        for (size_t i = 1; i < kDateParts.size(); ++i) {
          if (entry.contains("parts") && entry["parts"].contains(kDateParts[i]))
            column.scalers.emplace_back(kDateParts[i],
                                        NumberScaler::from_json(entry["parts"][kDateParts[i]]));
        }
      }
      transform.columns_.push_back(std::move(column));
    }
    transform.name_features();
    return transform;
  });
}

}  // namespace bilevel
