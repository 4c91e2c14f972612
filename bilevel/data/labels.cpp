#include "bilevel/data/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "bilevel/core/number.h"
#include "bilevel/data/characters.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/classes.h"

namespace bilevel {
namespace {

/// The class of a value; the number of classes when there is none.
size_t class_of(const ClassLabels& all, const std::string& value) {
  const size_t none = all.names.size();
  size_t loose = none;
  int64_t found = 0;
  for (size_t i = 0; i < none; ++i) {
    if (class_key(all.names[i]) == class_key(value)) return i;
    if (loose_class_key(all.names[i]) != loose_class_key(value)) continue;
    loose = i;
    ++found;
  }
  if (found == 1) return loose;
  for (size_t i = 0; i < none; ++i) {  // however its accents are written
    if (composed(all.names[i]) == composed(value)) return i;
  }
  return none;
}

/// The names of the classes, those of most rows first.
std::vector<std::string> by_rows(const ClassLabels& all) {
  std::vector<size_t> order(all.names.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return all.counts[i]; });
  std::vector<std::string> names;
  for (const size_t i : order) names.push_back(all.names[i]);
  return names;
}

BinaryLabels binary(const ClassLabels& all, const std::string& positive, const std::string& path) {
  if (trimmed(positive).empty()) throw InputError("the positive label is empty");
  const size_t found = class_of(all, positive);
  std::vector<int8_t> is_positive(all.names.size(), 0);
  if (found < is_positive.size()) is_positive[found] = 1;
  BinaryLabels labels;
  labels.names = all.names;
  for (const int64_t c : all.classes) {
    labels.is_positive.push_back(is_positive[static_cast<size_t>(c)]);
    labels.positives += labels.is_positive.back();
  }
  if (labels.positives == 0) {
    fail_at({path}, fmt::format("no row has the positive label '{}'; the labels are {}{}", positive,
                                describe_classes(all), did_you_mean(by_rows(all), positive)));
  }
  if (labels.positives == labels.rows()) {
    fail_at({path}, fmt::format("all {} rows have the positive label '{}'; a second class is needed",
                                labels.rows(), positive));
  }
  return labels;
}

}  // namespace

BinaryLabels read_labels(const Table& table, size_t column, const std::string& positive) {
  return binary(read_classes(table, column, /*least=*/1), positive, table.path());
}

BinaryLabels read_labels(const SparseTable& table, const std::string& positive) {
  return binary(read_classes(table, /*least=*/1), positive, table.path);
}

}  // namespace bilevel
