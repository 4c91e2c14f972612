#include "bilevel/task/telling_column.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"

namespace bilevel {
namespace {

constexpr size_t kLeastRows = 20, kMostValues = 1000;
constexpr double kNoChance = -14;  // the logarithm of a probability

using CellText = std::function<std::string(size_t row)>;
using RowCounts = std::unordered_map<std::string, double>;

/// The logarithm of the probability of one among all orders of the labels.
double log_chance_of_order(const RowCounts& rows_of_label, size_t rows) {
  double log_orders = std::lgamma(static_cast<double>(rows) + 1);
  for (const auto& [label, count] : rows_of_label) log_orders -= std::lgamma(count + 1);
  return -log_orders;
}

/// How values and labels go together.
enum class Together {
  by_chance,
  values,  ///< each value goes with one label
  both     ///< and each label with one value
};

Together together(const Table& table, const CellText& label_of_row, const CellText& value_of) {
  std::unordered_map<std::string, std::string> label_of;
  std::unordered_map<std::string, std::unordered_set<std::string>> values_of;
  RowCounts rows_of_value, rows_of_label;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string value = value_of(row), own = label_of_row(row);
    if (own.empty() || label_of.try_emplace(value, own).first->second != own) return Together::by_chance;
    if (label_of.size() > kMostValues) return Together::by_chance;
    values_of[own].insert(value);
    ++rows_of_value[value];
    ++rows_of_label[own];
  }
  if (values_of.size() < 2) return Together::by_chance;
  if (std::ranges::all_of(values_of, [](const auto& entry) { return entry.second.size() == 1; })) {
    return log_chance_of_order(rows_of_label, table.rows()) < kNoChance ? Together::both
                                                                        : Together::by_chance;
  }
  // The probability that labels drawn by their shares are pure in every value.
  double log_chance = 0;
  for (const auto& [value, rows] : rows_of_value) {
    double pure = 0;
    for (const auto& [own, count] : rows_of_label)
      pure += std::pow(count / static_cast<double>(table.rows()), rows);
    log_chance += std::log(pure);
  }
  return log_chance < kNoChance ? Together::values : Together::by_chance;
}

/// The ends of the gap in a column of numbers below which all rows have one of two labels and above which all have the other; of rows
/// with a number.
std::optional<std::pair<double, double>> gap_between_labels(const Table& table, size_t column,
                                                            const NumberNotation& notation,
                                                            const CellText& label_of_row) {
  struct Values {
    double least = std::numeric_limits<double>::infinity(), most = -least;
  };
  std::map<std::string, Values> of_label;
  RowCounts rows_of_label;
  size_t rows = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const Number number = table.number(row, column, notation);
    if (number.kind == CellKind::missing) continue;
    if (number.kind != CellKind::number) return std::nullopt;
    const std::string own = label_of_row(row);
    ++rows;
    Values& values = of_label[own];
    values.least = std::min(values.least, number.value);
    values.most = std::max(values.most, number.value);
    ++rows_of_label[own];
    const Values &a = of_label.begin()->second, &b = of_label.rbegin()->second;
    if (of_label.size() > 2 || (of_label.size() == 2 && a.least <= b.most && b.least <= a.most))
      return std::nullopt;
  }
  if (of_label.size() < 2 || log_chance_of_order(rows_of_label, rows) > kNoChance) return std::nullopt;
  const Values &a = of_label.begin()->second, &b = of_label.rbegin()->second;
  return a.most < b.least ? std::pair{a.most, b.least} : std::pair{b.most, a.least};
}

}  // namespace

namespace {

/// @param label_of_row what takes the place of the label
Telling told(const Table& table, size_t column, const RecognizedColumn& recognized, size_t label,
             const CellText& label_of_row) {
  const auto filled = [&](size_t row) { return is_missing_mark(table.cell(row, column)) ? "" : "filled"; };
  if (together(table, label_of_row, filled) == Together::both)
    return {.is_label = true, .how = "it is filled in the rows of one label alone, and in all of them"};
  switch (together(table, label_of_row, [&](size_t row) { return class_key(table.cell(row, column)); })) {
    case Together::both:
      return {.is_label = true,
              .how = fmt::format("each of its values goes with one label, in every row ('{}' with '{}')",
                                 trimmed(table.cell(0, column)), trimmed(table.cell(0, label)))};
    case Together::values:
      return {
          .how = fmt::format("each of its {} values goes with one label, in every row", recognized.distinct)};
    case Together::by_chance:
      break;
  }
  if (recognized.reading.as != CellReading::number) return {};
  const auto gap = gap_between_labels(table, column, recognized.reading.notation, label_of_row);
  if (!gap) return {};
  return {.how = fmt::format("all rows up to {:.6g} have one label and all from {:.6g} on the other",
                             gap->first, gap->second)};
}

}  // namespace

Telling telling(const Table& table, size_t column, const RecognizedColumn& recognized, size_t label,
                const std::string& positive) {
  if (table.rows() < kLeastRows) return {};
  const CellText own = [&](size_t row) { return class_key(table.cell(row, label)); };
  Telling found = told(table, column, recognized, label, own);
  if (positive.empty() || found.is_label) return found;
  const auto positive_or_not = [&, key = class_key(positive)](size_t row) {
    const std::string of_row = own(row);
    return of_row.empty() || of_row == key ? of_row : "other than " + key;
  };
  const Telling of_positive = told(table, column, recognized, label, positive_or_not);
  return of_positive.is_label || found.how.empty() ? of_positive : found;
}

}  // namespace bilevel
