#include "bilevel/data/classes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "bilevel/core/number.h"
#include "bilevel/data/labels.h"

namespace bilevel {
namespace {

using LabelText = std::function<std::string_view(size_t row)>;
using Where = std::function<Position(size_t row)>;

/// The first ten, and how many others.
std::string listed(std::vector<std::string> parts) {
  constexpr size_t kShown = 10;
  if (parts.size() > kShown) {
    const size_t others = parts.size() - kShown;
    parts.resize(kShown);
    parts.push_back(fmt::format("{} others", others));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string listed_names(std::vector<std::string> names) {
  for (std::string& name : names) name = "'" + name + "'";
  return listed(std::move(names));
}

/// Numbers by value before all others in byte order.
bool before(const std::string& a, const std::string& b) {
  const Number x = read_number(a), y = read_number(b);
  const bool x_number = x.kind == CellKind::number, y_number = y.kind == CellKind::number;
  if (x_number && y_number) return x.value < y.value;
  if (x_number != y_number) return x_number;
  return a < b;
}

/// @param what "the label" as messages name it
ClassLabels classes_of(size_t rows, const LabelText& text, const Where& where, const std::string& what,
                       const std::vector<std::string>* known, const std::string& origin) {
  ClassLabels labels;
  std::map<std::string, int64_t> index;
  if (known != nullptr) {
    labels.names = *known;
    for (const std::string& name : *known) index.emplace(label_key(name), static_cast<int64_t>(index.size()));
  }
  for (size_t row = 0; row < rows; ++row) {
    const std::string_view value = text(row);
    if (is_missing(value)) fail_at(where(row), what + " is missing");
    std::string key = label_key(value);
    auto found = index.find(key);
    if (found == index.end()) {
      if (known != nullptr) {
        fail_at(where(row), fmt::format("the label '{}' is no class of {}; its classes are {}",
                                        trimmed(value), origin, listed_names(*known)));
      }
      found = index.emplace(std::move(key), static_cast<int64_t>(labels.names.size())).first;
      labels.names.emplace_back(trimmed(value));
    }
    labels.classes.push_back(found->second);
  }
  if (known == nullptr) {
    std::vector<int64_t> order(labels.names.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return before(labels.names[static_cast<size_t>(a)], labels.names[static_cast<size_t>(b)]);
    });
    std::vector<int64_t> rank(order.size());
    std::vector<std::string> names;
    for (size_t i = 0; i < order.size(); ++i) {
      rank[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
      names.push_back(labels.names[static_cast<size_t>(order[i])]);
    }
    for (int64_t& c : labels.classes) c = rank[static_cast<size_t>(c)];
    labels.names = std::move(names);
  }
  labels.counts.assign(labels.names.size(), 0);
  for (const int64_t c : labels.classes) ++labels.counts[static_cast<size_t>(c)];
  return labels;
}

ClassLabels at_least(size_t least, ClassLabels labels, const std::string& path) {
  if (labels.names.size() < least) {
    fail_at({path}, fmt::format("all {} rows have the label '{}'; a second class is needed", labels.rows(),
                                labels.names[0]));
  }
  return labels;
}

ClassLabels of_table(const Table& table, size_t column, const std::vector<std::string>* known,
                     const std::string& origin) {
  return classes_of(
      table.rows(), [&](size_t row) { return table.cell(row, column); },
      [&](size_t row) { return table.position(row, column); },
      fmt::format("the label (column '{}')", table.names()[column]), known, origin);
}

ClassLabels of_sparse(const SparseTable& table, const std::vector<std::string>* known,
                      const std::string& origin) {
  if (table.labels.empty()) fail_at(table.position(0), "the label is missing");
  std::string text;
  return classes_of(
      static_cast<size_t>(table.rows()),
      [&](size_t row) -> std::string_view { return text = fmt::format("{}", table.labels[row]); },
      [&](size_t row) { return table.position(row); }, "the label", known, origin);
}

}  // namespace

ClassLabels read_classes(const Table& table, size_t column, size_t least) {
  return at_least(least, of_table(table, column, nullptr, ""), table.path());
}

ClassLabels read_classes(const SparseTable& table, size_t least) {
  return at_least(least, of_sparse(table, nullptr, ""), table.path);
}

ClassLabels read_classes(const Table& table, size_t column, const std::vector<std::string>& known,
                         const std::string& origin) {
  return of_table(table, column, &known, origin);
}

ClassLabels read_classes(const SparseTable& table, const std::vector<std::string>& known,
                         const std::string& origin) {
  return of_sparse(table, &known, origin);
}

std::optional<size_t> labelled_column(const Table& table, const std::string& column) {
  const std::optional<size_t> found = table.find_column(column);
  for (size_t row = 0; found && row < table.rows(); ++row) {
    if (!is_missing(table.cell(row, *found))) return found;
  }
  return std::nullopt;
}

std::optional<ClassLabels> find_classes(const Table& table, const std::string& column,
                                        const std::vector<std::string>& known, const std::string& origin) {
  const std::optional<size_t> found = labelled_column(table, column);
  if (!found) return std::nullopt;
  return of_table(table, *found, &known, origin);
}

std::optional<ClassLabels> find_classes(const SparseTable& table, const std::vector<std::string>& known,
                                        const std::string& origin) {
  if (table.labels.empty()) return std::nullopt;
  return of_sparse(table, &known, origin);
}

int64_t cells_with_blanks(const Table& table, size_t column) {
  int64_t count = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, column);
    count += trimmed(cell).size() < cell.size() ? 1 : 0;
  }
  return count;
}

std::string describe_classes(const ClassLabels& labels) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < labels.names.size(); ++i)
    parts.push_back(fmt::format("'{}' ({} rows)", labels.names[i], labels.counts[i]));
  return listed(std::move(parts));
}

}  // namespace bilevel
