#include "bilevel/data/labels.h"

#include <fmt/format.h>

#include "bilevel/core/number.h"
#include "bilevel/data/classes.h"

namespace bilevel {
namespace {

BinaryLabels binary(const ClassLabels& all, const std::string& positive, Classes classes,
                    const std::string& path) {
  if (is_missing(positive))
    throw InputError(fmt::format("the positive label '{}' is a mark of a missing value", positive));
  const std::string key = label_key(positive);
  std::vector<int8_t> is_positive;
  for (const std::string& name : all.names) is_positive.push_back(label_key(name) == key ? 1 : 0);
  BinaryLabels labels;
  labels.names = all.names;
  for (const int64_t c : all.classes) {
    labels.is_positive.push_back(is_positive[static_cast<size_t>(c)]);
    labels.positives += labels.is_positive.back();
  }
  if (classes == Classes::any) return labels;
  if (labels.positives == 0) {
    fail_at({path}, fmt::format("no row has the positive label '{}'; the labels are {}", positive,
                                describe_classes(all)));
  }
  if (labels.positives == labels.rows()) {
    fail_at({path}, fmt::format("all {} rows have the positive label '{}'; a second class is needed",
                                labels.rows(), positive));
  }
  return labels;
}

}  // namespace

std::string label_key(std::string_view text) {
  const Number number = read_number(text);
  if (number.kind == CellKind::number) return fmt::format("{}", number.value + 0.0);  // -0 becomes 0
  return std::string(trimmed(text));
}

BinaryLabels read_labels(const Table& table, size_t column, const std::string& positive, Classes classes) {
  return binary(read_classes(table, column, /*least=*/1), positive, classes, table.path());
}

BinaryLabels read_labels(const SparseTable& table, const std::string& positive, Classes classes) {
  return binary(read_classes(table, /*least=*/1), positive, classes, table.path);
}

std::optional<BinaryLabels> find_labels(const Table& table, const std::string& column,
                                        const std::string& positive) {
  const std::optional<size_t> found = labelled_column(table, column);
  if (!found) return std::nullopt;
  return read_labels(table, *found, positive, Classes::any);
}

std::optional<BinaryLabels> find_labels(const SparseTable& table, const std::string& positive) {
  if (table.labels.empty()) return std::nullopt;
  return read_labels(table, positive, Classes::any);
}

}  // namespace bilevel
