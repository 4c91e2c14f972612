#include "bilevel/task/job/predicted_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/classes.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/explanation.h"

namespace bilevel {
namespace {

/// Calls `visit(row, text)` for the label of every row; false where the file has no labels.
template <typename Visit>
bool for_each_label(const DataFile& file, const std::string& column, const Visit& visit) {
  if (const auto* sparse = std::get_if<SparseTable>(&file)) {
    for (size_t row = 0; row < sparse->labels.size(); ++row)
      visit(row, fmt::format("{}", sparse->labels[row]));
    return !sparse->labels.empty();
  }
  const Table& table = std::get<Table>(file);
  const std::optional<size_t> found = labelled_column(table, column);
  for (size_t row = 0; found && row < table.rows(); ++row)
    visit(row, std::string(trimmed(table.cell(row, *found))));
  return found.has_value();
}

std::string rows_text(int64_t count) { return fmt::format("{} row{}", count, count == 1 ? "" : "s"); }

}  // namespace

SavedModel model_of(const PredictRequest& request) {
  return load_model(request.model,
                    {.encoder = request.sentence_encoder, .device = device_named(request.device)});
}

PredictedRows::PredictedRows(const SavedModel& model, const PredictRequest& request)
    : request_(request),
      label_(model.at<std::string>("label")),
      merges_spellings_(model.description.value("label_spelling", "") == name_of(LabelSpelling::merge)),
      file_(read_input(model, request.input, request.read)) {
  keep(request.keep);
  if (!request.strict) empty_unreadable(model.features);
  if (const auto* table = std::get_if<Table>(&file_)) unseen_ = model.features.unseen(*table);
}

void PredictedRows::keep(const std::vector<std::string>& columns) {
  if (columns.empty()) return;
  const auto* table = std::get_if<Table>(&file_);
  if (table == nullptr) {
    throw InputError(
        fmt::format("{}: libsvm and idx files have no columns by name to keep (--keep)", request_.input));
  }
  std::vector<size_t> indices;
  for (const std::string& name : columns) {
    if (name != "all") {
      indices.push_back(table->column(name));
      continue;
    }
    for (size_t i = 0; i < table->columns(); ++i) indices.push_back(i);
  }
  for (const size_t index : indices) {
    Column column{table->names()[index]};
    if (std::ranges::any_of(kept_, [&](const Column& other) { return other.name == column.name; })) continue;
    for (size_t row = 0; row < table->rows(); ++row) column.cells.push_back(table->cell(row, index));
    kept_.push_back(std::move(column));
  }
}

void PredictedRows::empty_unreadable(const Features& features) {
  auto* table = std::get_if<Table>(&file_);
  for (const UnreadableCells& cells : features.unreadable(file_)) {
    const size_t first = cells.rows.front();
    emptied_.push_back({table->names()[cells.column],
                        {static_cast<int64_t>(cells.rows.size()),
                         fmt::format("'{}' on line {}", table->cell(first, cells.column),
                                     table->position(first, cells.column).line)}});
    for (const size_t row : cells.rows) table->empty_cell(row, cells.column);
  }
}

void PredictedRows::explain(Network& network, const Features& features, const Inputs& inputs,
                            const std::vector<int64_t>& outputs, std::vector<Column>& columns) const {
  if (request_.explain == 0) return;
  Explainer explainer(network, device_named(request_.device));
  const std::vector<std::string> names = features.names({{&file_, all_rows(rows())}});
  columns.push_back(explanation_column(explainer, inputs, names, outputs, request_.explain));
}

KnownLabels PredictedRows::labels(const std::vector<std::string>& known, const std::string& origin) {
  if (request_.strict) find_classes(file_, label_, known, origin);
  const ClassIndex index(known);
  std::map<std::string, int64_t> by_spelling;
  for (size_t i = 0; merges_spellings_ && i < known.size(); ++i)
    by_spelling.emplace(spelling_key(known[i]), static_cast<int64_t>(i));
  KnownLabels labels;
  labels.given = for_each_label(file_, label_, [&](size_t row, const std::string& text) {
    std::optional<int64_t> found = index.find_loosely(text);
    if (const auto alike = by_spelling.find(spelling_key(text)); !found && alike != by_spelling.end())
      found = alike->second;
    labels.classes.push_back(found.value_or(-1));
    if (found) {
      labels.rows.push_back(static_cast<int64_t>(row));
    } else if (is_missing(text)) {
      ++unlabelled_;
    } else {
      ++unknown_[text];
    }
  });
  return labels;
}

std::vector<std::string> PredictedRows::label_values() const {
  std::set<std::string> values;
  for_each_label(file_, label_, [&](size_t, const std::string& text) {
    if (!is_missing(text)) values.insert(text);
  });
  return {values.begin(), values.end()};
}

std::string PredictedRows::about_labels() const {
  constexpr size_t kShown = 5;
  std::vector<std::string> parts;
  if (unlabelled_ > 0)
    parts.push_back(fmt::format("{} {} no label", rows_text(unlabelled_), unlabelled_ == 1 ? "has" : "have"));
  if (!unknown_.empty()) {
    int64_t count = 0;
    std::vector<std::string> names;
    for (const auto& [name, rows] : unknown_) {
      count += rows;
      if (names.size() < kShown) names.push_back("'" + name + "'");
    }
    if (unknown_.size() > kShown) names.push_back(fmt::format("{} others", unknown_.size() - kShown));
    parts.push_back(fmt::format("{} {} a label that the model does not know ({})", rows_text(count),
                                count == 1 ? "has" : "have", fmt::join(names, ", ")));
  }
  return parts.empty() ? "" : fmt::format("{}; such rows count in no figure", fmt::join(parts, " and "));
}

std::string PredictedRows::sentence() const {
  std::vector<std::string> parts, cells, unseen;
  if (const std::string labels = about_labels(); !labels.empty()) parts.push_back(labels);
  for (const auto& [column, found] : emptied_) {
    const auto& [count, first] = found;
    cells.push_back(
        fmt::format("{} in column '{}' ({})", count, column, count == 1 ? first : "the first is " + first));
  }
  if (!cells.empty()) {
    parts.push_back(
        fmt::format("cells that the model cannot read were taken as missing: {}", fmt::join(cells, ", ")));
  }
  for (const UnseenCategories& u : unseen_)
    unseen.push_back(fmt::format("{} of {} in column '{}'", u.cells, u.of, u.column));
  if (!unseen.empty())
    parts.push_back(
        fmt::format("cells hold categories that no training row has: {}", fmt::join(unseen, ", ")));
  return fmt::format("{}", fmt::join(parts, "; "));
}

Prediction PredictedRows::finish(std::vector<Column> columns, const KnownLabels& labels,
                                 const std::vector<std::string>& names, nlohmann::ordered_json summary,
                                 const std::string& text) {
  columns.insert(columns.begin(), row_column(rows()));
  if (labels.given) {
    Column label{"label"};
    for (const int64_t c : labels.classes) label.cells.push_back(c < 0 ? "" : names[static_cast<size_t>(c)]);
    columns.push_back(std::move(label));
  }
  name_apart(kept_, columns);
  columns.insert(columns.begin(), std::make_move_iterator(kept_.begin()),
                 std::make_move_iterator(kept_.end()));
  if (const std::string counted = sentence(); !counted.empty()) warnings_.insert(warnings_.begin(), counted);
  summary["warnings"] = warnings_;
  if (labels.given) summary["labelled"] = labels.rows.size();
  if (!unknown_.empty()) summary["unknown_labels"] = unknown_;
  for (const auto& [column, found] : emptied_) summary["cells_taken_as_missing"][column] = found.first;
  for (const UnseenCategories& u : unseen_) summary["unseen_categories"][u.column] = {u.cells, u.of};
  Prediction prediction{.summary = std::move(summary), .text = text};
  if (request_.out == kStandardOutput)
    prediction.table = tsv_of(columns);
  else
    write_tsv(request_.out, columns);
  return prediction;
}

}  // namespace bilevel
