#include "bilevel/task/telling_column.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "bilevel/data/class_key.h"

namespace bilevel {

Telling telling(const Table& table, size_t column, size_t label) {
  if (table.rows() < 20) return Telling::nothing;
  std::unordered_map<std::string, std::string> label_of;
  std::unordered_map<std::string, std::unordered_set<std::string>> values_of;
  std::unordered_map<std::string, double> rows_of_value, rows_of_label;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string value = class_key(table.cell(row, column)), own = class_key(table.cell(row, label));
    if (value.empty() || own.empty()) return Telling::nothing;
    if (label_of.try_emplace(value, own).first->second != own) return Telling::nothing;
    values_of[own].insert(value);
    ++rows_of_value[value];
    ++rows_of_label[own];
  }
  if (values_of.size() < 2) return Telling::nothing;
  const bool both =
      std::ranges::all_of(values_of, [](const auto& entry) { return entry.second.size() == 1; });
  constexpr double kNoChance = -14;  // the logarithm of a probability
  if (both) {                        // as the one among all orders of the labels
    double log_orders = std::lgamma(static_cast<double>(table.rows()) + 1);
    for (const auto& [own, count] : rows_of_label) log_orders -= std::lgamma(count + 1);
    return -log_orders < kNoChance ? Telling::both : Telling::nothing;
  }
  // The probability that labels drawn by their shares are pure in every value.
  double log_chance = 0;
  for (const auto& [value, rows] : rows_of_value) {
    double pure = 0;
    for (const auto& [own, count] : rows_of_label)
      pure += std::pow(count / static_cast<double>(table.rows()), rows);
    log_chance += std::log(pure);
  }
  return log_chance < kNoChance ? Telling::values : Telling::nothing;
}

}  // namespace bilevel
