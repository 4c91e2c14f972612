#include "bilevel/data/labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>

#include "bilevel/core/number.h"

namespace bilevel {
namespace {

class LabelReader {
 public:
  explicit LabelReader(const std::string& positive)
      : positive_key_(label_key(positive)), positive_(positive) {
    if (read_number(positive).kind == CellKind::missing) {
      throw InputError(fmt::format("the positive label '{}' is a mark of a missing value", positive));
    }
  }

  void add(std::string_view text) {
    std::string key = label_key(text);
    const bool is_positive = key == positive_key_;
    const auto [found, added] = index_.try_emplace(std::move(key), labels_.counts.size());
    if (added) labels_.counts.push_back({std::string(trimmed(text)), 0});
    ++labels_.counts[found->second].rows;
    labels_.is_positive.push_back(is_positive ? 1 : 0);
    labels_.positives += is_positive ? 1 : 0;
  }

  BinaryLabels finish(const Position& where, Classes classes) {
    if (classes == Classes::both) {
      if (labels_.positives == 0) {
        fail_at(where,
                fmt::format("no row has the positive label '{}'; the labels are {}", positive_, list()));
      }
      if (labels_.positives == labels_.rows()) {
        fail_at(where, fmt::format("all {} rows have the positive label '{}'; a second class is needed",
                                   labels_.rows(), positive_));
      }
    }
    return std::move(labels_);
  }

 private:
  std::string list() const {
    constexpr size_t kShown = 10;
    std::vector<LabelCount> counts = labels_.counts;
    std::stable_sort(counts.begin(), counts.end(),
                     [](const LabelCount& a, const LabelCount& b) { return a.rows > b.rows; });
    std::vector<std::string> parts;
    for (size_t i = 0; i < std::min(kShown, counts.size()); ++i) {
      parts.push_back(fmt::format("'{}' ({} rows)", counts[i].value, counts[i].rows));
    }
    if (counts.size() > kShown) parts.push_back(fmt::format("{} others", counts.size() - kShown));
    return fmt::format("{}", fmt::join(parts, ", "));
  }

  std::string positive_key_;
  std::string positive_;
  BinaryLabels labels_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace

std::string label_key(std::string_view text) {
  const Number number = read_number(text);
  if (number.kind == CellKind::number) return fmt::format("{}", number.value + 0.0);  // -0 becomes 0
  return std::string(trimmed(text));
}

BinaryLabels read_labels(const Table& table, size_t column, const std::string& positive, Classes classes) {
  LabelReader reader(positive);
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view text = table.cell(row, column);
    if (is_missing(text)) {
      fail_at(table.position(row, column),
              fmt::format("the label (column '{}') is missing", table.names()[column]));
    }
    reader.add(text);
  }
  return reader.finish({table.path()}, classes);
}

BinaryLabels read_labels(const SparseTable& table, const std::string& positive, Classes classes) {
  if (table.labels.empty()) fail_at(table.position(0), "the label is missing");
  LabelReader reader(positive);
  for (const double label : table.labels) reader.add(fmt::format("{}", label));
  return reader.finish({table.path}, classes);
}

std::optional<BinaryLabels> find_labels(const Table& table, const std::string& column,
                                        const std::string& positive) {
  const std::optional<size_t> found = table.find_column(column);
  if (!found) return std::nullopt;
  size_t row = 0;
  while (row < table.rows() && is_missing(table.cell(row, *found))) ++row;
  if (row == table.rows()) return std::nullopt;
  return read_labels(table, *found, positive, Classes::any);
}

std::optional<BinaryLabels> find_labels(const SparseTable& table, const std::string& positive) {
  if (table.labels.empty()) return std::nullopt;
  return read_labels(table, positive, Classes::any);
}

}  // namespace bilevel
