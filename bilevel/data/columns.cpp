#include "bilevel/data/columns.h"

#include <fmt/format.h>
#include <torch/special.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"

namespace bilevel {
namespace {

std::vector<int64_t> all_rows(size_t count) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

struct Moments {
  double mean = 0.0;
  double deviation = 0.0;  // of the population
};

Moments moments_of(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  Moments moments;
  for (const double value : values) moments.mean += value / count;
  // Distances are scaled down, so that values near the largest double do not overflow.
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value - moments.mean));
  if (largest == 0.0) return moments;
  double sum = 0.0;
  for (const double value : values) {
    const double distance = (value - moments.mean) / largest;
    sum += distance * distance;
  }
  moments.deviation = largest * std::sqrt(sum / count);
  return moments;
}

// Values y at x of the piecewise linear map through (knots, scores), constant outside.
double interpolate(const std::vector<double>& knots, const std::vector<double>& scores, double x) {
  const auto upper = std::upper_bound(knots.begin(), knots.end(), x);
  if (upper == knots.begin()) return scores.front();
  if (upper == knots.end()) return scores.back();
  const auto i = static_cast<size_t>(upper - knots.begin());
  const double share = (x - knots[i - 1]) / (knots[i] - knots[i - 1]);
  return scores[i - 1] + share * (scores[i] - scores[i - 1]);
}

// Runs `read` and turns what the JSON library throws into a FileError.
template <typename Read>
auto read_state(const char* what, Read read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("the saved {} is broken: {}", what, error.what()));
  }
}

}  // namespace

int64_t ColumnReport::missing() const {
  int64_t sum = 0;
  for (const Column& column : columns) sum += column.missing;
  return sum;
}

int64_t ColumnReport::unseen() const {
  int64_t sum = 0;
  for (const Column& column : columns) sum += column.unseen;
  return sum;
}

int64_t ColumnReport::dropped() const {
  return std::count_if(columns.begin(), columns.end(), [](const Column& column) { return column.dropped; });
}

// ---- NumberScaler ----

NumberScaler::NumberScaler(std::vector<double> values, const NumberOptions& options) {
  constexpr size_t kKnots = 1001;
  constexpr double kRounding = 1e-12;  // deviations this small beside the mean are rounding
  constexpr double kClip = 0.005;
  const Moments moments = moments_of(values);
  mean_ = moments.mean;
  if (moments.deviation <= kRounding * std::abs(moments.mean)) return;
  clip_ = options.clip;
  std::sort(values.begin(), values.end());
  std::vector<double> distinct;
  std::vector<double> shares;  // (less + less_or_equal + 1) / (2n + 2)
  for (size_t begin = 0, end = 0; begin < values.size(); begin = end) {
    while (end < values.size() && values[end] == values[begin]) ++end;
    distinct.push_back(values[begin]);
    shares.push_back(static_cast<double>(begin + end + 1) / static_cast<double>(2 * values.size() + 2));
  }
  const bool binary = distinct.size() == 2;
  shift_ = binary ? distinct.front() : mean_;
  scale_ = 1.0 / (binary ? distinct.back() - distinct.front() : moments.deviation);
  if (!std::isfinite(scale_)) scale_ = 0.0;  // a spread below the smallest normal double
  if (binary || constant() || !options.rank) return;

  if (distinct.size() <= kKnots) {
    knots_ = distinct;
    scores_ = shares;
  } else {  // the values at evenly spaced ranks
    for (size_t i = 0; i < kKnots; ++i) {
      const double value = values[i * (values.size() - 1) / (kKnots - 1)];
      if (!knots_.empty() && knots_.back() == value) continue;
      const auto at = std::lower_bound(distinct.begin(), distinct.end(), value) - distinct.begin();
      knots_.push_back(value);
      scores_.push_back(shares[static_cast<size_t>(at)]);
    }
  }
  torch::Tensor scores = torch::tensor(scores_, torch::kFloat64).clamp(kClip, 1.0 - kClip);
  scores = at::special_ndtri(scores);
  scores_.assign(scores.const_data_ptr<double>(), scores.const_data_ptr<double>() + scores.numel());

  for (double& value : values) value = interpolate(knots_, scores_, value);
  const Moments score_moments = moments_of(values);
  if (score_moments.deviation < 1e-6) {  // all but a few values are equal, and the clip hides those
    knots_.clear();
    scores_.clear();
    return;
  }
  for (double& score : scores_) score = (score - score_moments.mean) / score_moments.deviation;
}

float NumberScaler::scaled(double value) const {
  const double scaled = (value - shift_) * scale_;
  return static_cast<float>(clip_ > 0.0 ? std::clamp(scaled, -clip_, clip_) : scaled);
}

float NumberScaler::rank_score(double value) const {
  return static_cast<float>(interpolate(knots_, scores_, value));
}

nlohmann::json NumberScaler::to_json() const {
  nlohmann::json state = {{"mean", mean_}, {"shift", shift_}, {"scale", scale_}, {"clip", clip_}};
  if (has_rank()) {
    state["knots"] = knots_;
    state["scores"] = scores_;
  }
  return state;
}

NumberScaler NumberScaler::from_json(const nlohmann::json& state) {
  return read_state("number scaler", [&] {
    NumberScaler scaler;
    scaler.mean_ = state.at("mean").get<double>();
    scaler.shift_ = state.at("shift").get<double>();
    scaler.scale_ = state.at("scale").get<double>();
    scaler.clip_ = state.at("clip").get<double>();
    if (state.contains("knots")) {
      scaler.knots_ = state.at("knots").get<std::vector<double>>();
      scaler.scores_ = state.at("scores").get<std::vector<double>>();
      if (scaler.knots_.size() != scaler.scores_.size() ||
          !std::is_sorted(scaler.knots_.begin(), scaler.knots_.end())) {
        throw FileError("the saved number scaler is broken: its knots do not match its scores");
      }
    }
    return scaler;
  });
}

// ---- ColumnTransform ----

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
              fmt::format(
                  "'{}' in column '{}' is not a number, but the column also holds numbers ('{}' on line {}); "
                  "if they are categories, name the column categorical (--categorical {})",
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

void ColumnTransform::fill(const Table& table, size_t table_column, const std::vector<int64_t>& rows,
                           const Column& column, float* features, ColumnReport::Column& report) const {
  const auto own = static_cast<int64_t>(column.categories.size());  // features before "other" or "missing"
  const int64_t missing_feature =
      column.categorical ? own + (column.has_other ? 1 : 0) : column.scaler.width();
  for (size_t i = 0; i < rows.size(); ++i) {
    float* out = features + static_cast<int64_t>(i) * width() + column.first_feature;
    const auto row = static_cast<size_t>(rows[i]);
    const std::string_view text = table.cell(row, table_column);
    const Number number = read_number(text);
    if (number.kind == CellKind::missing) {
      ++report.missing;
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
        ++report.other;
      } else {
        ++report.unseen;
      }
    } else {
      if (number.kind == CellKind::word) {
        fail_at(table.position(row, table_column),
                fmt::format(
                    "'{}' in column '{}' is not a number, but the training rows hold numbers there; if they "
                    "are categories, name the column categorical (--categorical {})",
                    text, column.name, column.name));
      }
      if (column.scaler.width() >= 1) out[0] = column.scaler.scaled(number.value);
      if (column.scaler.width() >= 2) out[1] = column.scaler.rank_score(number.value);
    }
  }
}

torch::Tensor ColumnTransform::apply(const Table& table, const std::vector<int64_t>& rows,
                                     ColumnReport* report) const {
  std::vector<size_t> indices;
  indices.reserve(columns_.size());
  for (const Column& column : columns_) indices.push_back(table.column(column.name));
  torch::Tensor features = torch::zeros({static_cast<int64_t>(rows.size()), width()});
  ColumnReport made;
  made.rows = static_cast<int64_t>(rows.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    const Column& column = columns_[i];
    ColumnReport::Column& entry = made.columns.emplace_back();
    entry.name = column.name;
    entry.categorical = column.categorical;
    entry.dropped = column.dropped;
    entry.categories = static_cast<int64_t>(column.categories.size());
    fill(table, indices[i], rows, column, features.mutable_data_ptr<float>(), entry);
  }
  if (report != nullptr) *report = std::move(made);
  return features;
}

torch::Tensor ColumnTransform::apply(const Table& table, ColumnReport* report) const {
  return apply(table, all_rows(table.rows()), report);
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

// ---- SparseTransform ----

SparseTransform SparseTransform::fit(const SparseRows& training, const SparseTransformOptions& options) {
  if (training.rows() == 0) throw InputError("there are no training rows to fit the features on");
  SparseTransform transform;
  transform.input_width_ = training.width;
  const auto width = static_cast<size_t>(training.width);
  const auto* indices = training.indices.const_data_ptr<int64_t>();
  const auto* values = training.values.const_data_ptr<float>();
  const int64_t entries = training.entries();
  // In this order no product overflows.
  transform.dense_ =
      training.width <= options.dense_bytes / static_cast<int64_t>(sizeof(float)) / training.rows();
  if (!transform.dense_) {
    transform.scales_.assign(width, 0.0F);
    for (int64_t k = 0; k < entries; ++k) {
      float& largest = transform.scales_[static_cast<size_t>(indices[k])];
      largest = std::max(largest, std::abs(values[k]));
    }
    for (float& scale : transform.scales_) {
      if (scale > 0.0F) scale = std::isfinite(1.0F / scale) ? 1.0F / scale : 0.0F;
    }
  } else {
    transform.seen_.assign(width, false);
    for (int64_t k = 0; k < entries; ++k) transform.seen_[static_cast<size_t>(indices[k])] = true;
    const torch::Tensor columns = training.to_dense().t().contiguous();
    const auto* column = columns.const_data_ptr<float>();
    for (size_t i = 0; i < width; ++i, column += training.rows()) {
      transform.scalers_.emplace_back(std::vector<double>(column, column + training.rows()), options.numbers);
    }
  }
  transform.name_features();
  const bool any = transform.dense_ ? !transform.feature_names_.empty()
                                    : std::any_of(transform.scales_.begin(), transform.scales_.end(),
                                                  [](float scale) { return scale > 0.0F; });
  if (!any) throw InputError("the training rows give no feature: all are constant");
  return transform;
}

void SparseTransform::name_features() {
  feature_names_.clear();
  for (size_t i = 0; i < scalers_.size(); ++i) {
    const std::string name = std::to_string(i + 1);
    if (scalers_[i].width() >= 1) feature_names_.push_back(name);
    if (scalers_[i].width() >= 2) feature_names_.push_back(name + ":rank");
  }
}

torch::Tensor SparseTransform::apply_dense(const SparseRows& rows, int64_t* ignored) const {
  if (!dense_) throw std::logic_error("this transform gives sparse rows");
  // First the features of rows without entries, then the entries.
  std::vector<float> empty_row;
  std::vector<int64_t> first_feature;
  for (const NumberScaler& scaler : scalers_) {
    first_feature.push_back(static_cast<int64_t>(empty_row.size()));
    if (scaler.width() >= 1) empty_row.push_back(scaler.scaled(0.0));
    if (scaler.width() >= 2) empty_row.push_back(scaler.rank_score(0.0));
  }
  torch::Tensor features = adopt(std::move(empty_row)).repeat({rows.rows(), 1});
  auto* out = features.mutable_data_ptr<float>();
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* values = rows.values.const_data_ptr<float>();
  int64_t unknown = 0;
  for (int64_t row = 0; row < rows.rows(); ++row, out += width()) {
    for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      const auto index = static_cast<size_t>(indices[k]);
      if (index >= scalers_.size() || !seen_[index]) {
        ++unknown;
        continue;
      }
      const NumberScaler& scaler = scalers_[index];
      if (scaler.width() >= 1) out[first_feature[index]] = scaler.scaled(values[k]);
      if (scaler.width() >= 2) out[first_feature[index] + 1] = scaler.rank_score(values[k]);
    }
  }
  if (ignored != nullptr) *ignored = unknown;
  return features;
}

SparseRows SparseTransform::apply_sparse(const SparseRows& rows, int64_t* ignored) const {
  if (dense_) throw std::logic_error("this transform gives dense features");
  SparseRowsBuilder builder;
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* values = rows.values.const_data_ptr<float>();
  int64_t unknown = 0;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      const float scale = indices[k] < input_width_ ? scales_[static_cast<size_t>(indices[k])] : 0.0F;
      if (scale > 0.0F) {
        builder.add_entry(indices[k], values[k] * scale);
      } else {
        ++unknown;
      }
    }
    builder.end_row();
  }
  if (ignored != nullptr) *ignored = unknown;
  return builder.finish(input_width_);
}

nlohmann::json SparseTransform::to_json() const {
  nlohmann::json state = {{"dense", dense_}, {"input_width", input_width_}};
  if (dense_) {
    state["seen"] = seen_;
    nlohmann::json& scalers = state["scalers"] = nlohmann::json::array();
    for (const NumberScaler& scaler : scalers_) scalers.push_back(scaler.to_json());
  } else {
    state["scales"] = scales_;
  }
  return state;
}

SparseTransform SparseTransform::from_json(const nlohmann::json& state) {
  return read_state("sparse transform", [&] {
    SparseTransform transform;
    transform.dense_ = state.at("dense").get<bool>();
    transform.input_width_ = state.at("input_width").get<int64_t>();
    size_t width = 0;
    if (transform.dense_) {
      transform.seen_ = state.at("seen").get<std::vector<bool>>();
      for (const nlohmann::json& scaler : state.at("scalers")) {
        transform.scalers_.push_back(NumberScaler::from_json(scaler));
      }
      width = transform.seen_.size() == transform.scalers_.size() ? transform.scalers_.size() : 0;
    } else {
      transform.scales_ = state.at("scales").get<std::vector<float>>();
      width = transform.scales_.size();
    }
    if (static_cast<int64_t>(width) != transform.input_width_) {
      throw FileError("the saved sparse transform is broken: its parts differ in width");
    }
    transform.name_features();
    return transform;
  });
}

}  // namespace bilevel
