#include "bilevel/data/columns.h"

#include <fmt/format.h>

#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/saved_state.h"

namespace bilevel {
namespace {

// Whether the column is categorical; throws for a column that is neither.
bool decide_categorical(const Table& table, size_t column) {
  constexpr size_t kNone = static_cast<size_t>(-1);
  const std::string& name = table.names()[column];
  size_t first_word = kNone;
  size_t first_number = kNone;
  for (size_t row = 0; row < table.rows(); ++row) {
    switch (read_number(table.cell(row, column)).kind) {
      case CellKind::missing:
        break;
      case CellKind::number:
        first_number = std::min(first_number, row);
        break;
      case CellKind::word:
        first_word = std::min(first_word, row);
        break;
      case CellKind::infinite:
        fail_at(table.position(row, column),
                fmt::format("'{}' in column '{}' is infinite; values must be finite", table.cell(row, column),
                            name));
    }
    if (first_word != kNone && first_number != kNone) {
      fail_at(table.position(first_word, column),
              fmt::format("'{}' in column '{}' is not a number, but the column also holds numbers ('{}' on "
                          "line {}); if they are categories, name the column categorical (--categorical {})",
                          table.cell(first_word, column), name, table.cell(first_number, column),
                          table.position(first_number, column).line, name));
    }
  }
  return first_word != kNone;
}

}  // namespace

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

  ColumnTransform transform;
  for (const size_t index : columns) {
    Column column;
    column.name = table.names().at(index);
    column.named_categorical = named[index];
    column.categorical = named[index] || decide_categorical(table, index);
    std::vector<double> values;
    std::unordered_map<std::string, int64_t> counts;
    int64_t missing = 0;
    for (const int64_t row : rows) {
      const std::string_view text = table.cell(static_cast<size_t>(row), index);
      const Number number = read_number(text);
      if (number.kind == CellKind::missing) {
        ++missing;
      } else if (column.categorical) {
        ++counts[std::string(trimmed(text))];
      } else {
        values.push_back(number.value);
      }
    }
    transform.missing_ += missing;
    column.missing_indicator = missing > 0 && missing < static_cast<int64_t>(rows.size());
    if (column.categorical) {
      std::vector<std::pair<std::string, int64_t>> ordered(counts.begin(), counts.end());
      std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
      });
      const auto limit = static_cast<size_t>(options.max_categories);
      column.has_other = ordered.size() > limit;
      column.dropped = ordered.size() <= 1;
      if (!column.dropped) {
        for (size_t i = 0; i < std::min(limit, ordered.size()); ++i)
          column.categories.push_back(ordered[i].first);
      }
    } else {
      if (!values.empty()) column.scaler = NumberScaler(std::move(values), options.numbers);
      column.dropped = column.scaler.constant();
    }
    transform.columns_.push_back(std::move(column));
  }
  transform.name_features();
  if (transform.width() == 0) {
    fail_at({table.path()},
            fmt::format("the {} feature column{} give no feature: all are constant or missing",
                        columns.size(), columns.size() == 1 ? "" : "s"));
  }
  return transform;
}

void ColumnTransform::name_features() {
  feature_names_.clear();
  for (Column& column : columns_) {
    column.first_feature = width();
    column.category_index.clear();
    if (column.categorical) {
      for (const std::string& category : column.categories) {
        column.category_index.emplace(category, width() - column.first_feature);
        feature_names_.push_back(column.name + "=" + category);
      }
      if (column.has_other) feature_names_.push_back(column.name + ":other");
    } else {
      if (column.scaler.width() >= 1) feature_names_.push_back(column.name);
      if (column.scaler.width() >= 2) feature_names_.push_back(column.name + ":rank");
    }
    if (column.missing_indicator) feature_names_.push_back(column.name + ":missing");
  }
}

void ColumnTransform::fill(const Table& table, const std::vector<int64_t>& rows, const Column& column,
                           float* features) const {
  const size_t table_column = table.column(column.name);
  const auto own = static_cast<int64_t>(column.categories.size());  // features before "other" or "missing"
  const int64_t missing_feature =
      column.categorical ? own + (column.has_other ? 1 : 0) : column.scaler.width();
  for (size_t i = 0; i < rows.size(); ++i) {
    float* out = features + static_cast<int64_t>(i) * width() + column.first_feature;
    const auto row = static_cast<size_t>(rows[i]);
    const std::string_view text = table.cell(row, table_column);
    const Number number = read_number(text);
    if (number.kind == CellKind::missing) {
      if (column.missing_indicator) out[missing_feature] = 1.0F;
      if (!column.categorical && column.scaler.width() >= 1) out[0] = column.scaler.mean_scaled();
      if (!column.categorical && column.scaler.width() >= 2) out[1] = NumberScaler::mean_rank_score();
      continue;
    }
    if (number.kind == CellKind::infinite && !column.named_categorical) {
      fail_at(table.position(row, table_column),
              fmt::format("'{}' in column '{}' is infinite; values must be finite", text, column.name));
    }
    if (column.categorical) {
      if (column.dropped) continue;
      const auto found = column.category_index.find(std::string(trimmed(text)));
      if (found != column.category_index.end()) {
        out[found->second] = 1.0F;
      } else if (column.has_other) {
        out[own] = 1.0F;
      }
    } else {
      if (number.kind == CellKind::word) {
        fail_at(table.position(row, table_column),
                fmt::format("'{}' in column '{}' is not a number, but the training rows hold numbers there; "
                            "if they are categories, name the column categorical (--categorical {})",
                            text, column.name, column.name));
      }
      if (column.scaler.width() >= 1) out[0] = column.scaler.scaled(number.value);
      if (column.scaler.width() >= 2) out[1] = column.scaler.rank_score(number.value);
    }
  }
}

torch::Tensor ColumnTransform::apply(const Table& table, const std::vector<int64_t>& rows) const {
  for (const Column& column : columns_) table.column(column.name);  // refuses what is not there first
  torch::Tensor features = torch::zeros({static_cast<int64_t>(rows.size()), width()});
  for (const Column& column : columns_) fill(table, rows, column, features.mutable_data_ptr<float>());
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
      const CellKind kind = read_number(table.cell(row, found.column)).kind;
      if (kind == CellKind::infinite ? !column.named_categorical
                                     : kind == CellKind::word && !column.categorical)
        found.rows.push_back(row);
    }
    if (!found.rows.empty()) all.push_back(std::move(found));
  }
  return all;
}

nlohmann::json ColumnTransform::to_json() const {
  nlohmann::json columns = nlohmann::json::array();
  for (const Column& column : columns_) {
    nlohmann::json entry = {{"name", column.name},
                            {"categorical", column.categorical},
                            {"named_categorical", column.named_categorical},
                            {"missing_indicator", column.missing_indicator},
                            {"dropped", column.dropped}};
    if (column.categorical) {
      entry["categories"] = column.categories;
      entry["has_other"] = column.has_other;
    } else {
      entry["scaler"] = column.scaler.to_json();
    }
    columns.push_back(std::move(entry));
  }
  return {{"columns", std::move(columns)}};
}

ColumnTransform ColumnTransform::from_json(const nlohmann::json& state) {
  return read_state("column transform", [&] {
    ColumnTransform transform;
    for (const nlohmann::json& entry : state.at("columns")) {
      Column column;
      column.name = entry.at("name").get<std::string>();
      column.categorical = entry.at("categorical").get<bool>();
      column.named_categorical = entry.at("named_categorical").get<bool>();
      column.missing_indicator = entry.at("missing_indicator").get<bool>();
      column.dropped = entry.at("dropped").get<bool>();
      if (column.categorical) {
        column.categories = entry.at("categories").get<std::vector<std::string>>();
        column.has_other = entry.at("has_other").get<bool>();
      } else {
        column.scaler = NumberScaler::from_json(entry.at("scaler"));
      }
      transform.columns_.push_back(std::move(column));
    }
    transform.name_features();
    return transform;
  });
}

}  // namespace bilevel
