#include "bilevel/data/classes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"

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

/// Numbers by value before all others; these, and equal numbers, in byte order.
bool before(const std::string& a, const std::string& b) {
  const Number x = read_number(a), y = read_number(b);
  const bool x_number = x.kind == CellKind::number, y_number = y.kind == CellKind::number;
  if (x_number && y_number && x.value != y.value) return x.value < y.value;
  if (x_number != y_number) return x_number;
  return a < b;
}

/// The rows of a file whose classes are known.
ClassLabels known_classes(size_t rows, const LabelText& text, const Where& where, const std::string& what,
                          const std::vector<std::string>& known, const std::string& origin) {
  ClassLabels labels{.names = known};
  const ClassIndex index(known);
  for (size_t row = 0; row < rows; ++row) {
    const std::string_view value = text(row);
    if (trimmed(value).empty()) fail_at(where(row), what + " is missing");
    const std::optional<int64_t> found = index.find_loosely(value);
    if (!found) {
      fail_at(where(row),
              fmt::format("the label '{}' is no class of {}; its classes are {}{}", trimmed(value), origin,
                          listed_names(known), did_you_mean(known, value)));
    }
    labels.classes.push_back(*found);
  }
  return labels;
}

/// Puts the classes into the order of their names.
void sort_classes(ClassLabels& labels) {
  std::vector<size_t> order(labels.names.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return before(labels.names[a], labels.names[b]); });
  std::vector<int64_t> rank(order.size());
  std::vector<std::string> names;
  for (size_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = static_cast<int64_t>(i);
    names.push_back(labels.names[order[i]]);
  }
  for (int64_t& c : labels.classes) c = rank[static_cast<size_t>(c)];
  labels.names = std::move(names);
}

/// The rows of a file that says itself which classes there are.
ClassLabels new_classes(size_t rows, const LabelText& text, const Where& where, const std::string& what) {
  ClassLabels labels;
  ClassIndex index;
  std::map<int64_t, std::set<std::string>> spellings;  // other ones than the first
  for (size_t row = 0; row < rows; ++row) {
    const std::string_view value = trimmed(text(row));
    if (value.empty()) fail_at(where(row), what + " is missing; --drop-unlabelled leaves such rows out");
    std::optional<int64_t> found = index.find(value);
    if (!found) {
      found = index.add(value);
      labels.names.emplace_back(value);
    } else if (labels.names[static_cast<size_t>(*found)] != value) {
      spellings[*found].emplace(value);
    }
    labels.classes.push_back(*found);
  }
  for (const auto& [c, others] : spellings) {
    labels.notes.push_back(fmt::format("the labels {} are one class", listed_names([&] {
                                         std::vector<std::string> all{labels.names[static_cast<size_t>(c)]};
                                         all.insert(all.end(), others.begin(), others.end());
                                         return all;
                                       }())));
  }
  sort_classes(labels);
  return labels;
}

/// Notes classes whose names differ in case, blanks or Unicode form alone, or are equal as numbers.
void note_near_spellings(ClassLabels& labels) {
  std::map<std::string, std::vector<size_t>> same;
  std::map<double, std::vector<size_t>> equal;
  for (size_t i = 0; i < labels.names.size(); ++i) {
    same[spelling_key(labels.names[i])].push_back(i);
    if (const Number number = read_number(labels.names[i]); number.kind == CellKind::number)
      equal[number.value].push_back(i);
  }
  const auto note = [&](const std::vector<size_t>& group, const std::string& how) {
    if (group.size() < 2) return;
    std::vector<std::string> parts;
    for (const size_t i : group)
      parts.push_back(fmt::format("'{}' ({} rows)", labels.names[i], labels.counts[i]));
    labels.notes.push_back(
        fmt::format("the labels {} {}, and count as different classes; if they are one, write them alike",
                    listed(std::move(parts)), how));
  };
  for (const auto& [key, group] : same) note(group, "differ in case, blanks or Unicode form alone");
  for (const auto& [key, group] : equal) note(group, "are equal as numbers");
}

/// @param what "the label" as messages name it
ClassLabels classes_of(size_t rows, const LabelText& text, const Where& where, const std::string& what,
                       const std::vector<std::string>* known, const std::string& origin) {
  ClassLabels labels = known != nullptr ? known_classes(rows, text, where, what, *known, origin)
                                        : new_classes(rows, text, where, what);
  labels.counts.assign(labels.names.size(), 0);
  for (const int64_t c : labels.classes) ++labels.counts[static_cast<size_t>(c)];
  if (known == nullptr) note_near_spellings(labels);
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
  table.check_cells(column);
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

ClassIndex::ClassIndex(const std::vector<std::string>& known) {
  for (const std::string& name : known) add(name);
}

std::optional<int64_t> ClassIndex::find(std::string_view label) const {
  if (const auto found = classes_.find(class_key(label)); found != classes_.end()) return found->second;
  return std::nullopt;
}

std::optional<int64_t> ClassIndex::find_loosely(std::string_view label) const {
  if (const auto exact = find(label)) return exact;
  const auto [begin, end] = loose_.equal_range(loose_class_key(label));
  if (begin == end || std::next(begin) != end) return std::nullopt;
  return begin->second;
}

int64_t ClassIndex::add(std::string_view label) {
  if (const auto known = find(label)) return *known;
  const auto number = static_cast<int64_t>(classes_.size());
  classes_.emplace(class_key(label), number);
  loose_.emplace(loose_class_key(label), number);
  return number;
}

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
