#include "bilevel/task/describe/describe.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <unordered_map>

#include "bilevel/core/number.h"
#include "bilevel/task/describe/describer.h"

namespace bilevel {
namespace {

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// The classes of some rows, and what is odd about them. `labels`: the key of each row's label ("" where missing).
std::vector<LabelCount> counted_classes(const std::vector<std::string>& labels) {
  std::vector<LabelCount> classes;
  std::unordered_map<std::string, size_t> index;
  for (const std::string& label : labels) {
    if (label.empty()) continue;
    const auto [found, added] = index.try_emplace(label, classes.size());
    if (added) classes.push_back({label, 0});
    ++classes[found->second].rows;
  }
  std::stable_sort(classes.begin(), classes.end(), [](const LabelCount& a, const LabelCount& b) {
    if (a.rows != b.rows) return a.rows > b.rows;
    const Number x = read_number(a.value), y = read_number(b.value);
    const bool numbers = x.kind == CellKind::number && y.kind == CellKind::number;
    return numbers ? x.value < y.value : a.value < b.value;
  });
  return classes;
}

}  // namespace

Spread spread_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  Spread spread{
      .least = values.front(),
      .lower_quartile = quantile(values, 0.25),
      .median = quantile(values, 0.5),
      .upper_quartile = quantile(values, 0.75),
      .most = values.back(),
      .whole = std::all_of(values.begin(), values.end(), [](double v) { return v == std::floor(v); })};
  std::vector<double> distances;
  distances.reserve(values.size());
  for (const double value : values) {
    spread.mean += (value - spread.mean) / static_cast<double>(distances.size() + 1);
    distances.push_back(std::abs(value - spread.median));
  }
  std::sort(distances.begin(), distances.end());
  spread.deviation = quantile(distances, 0.5);
  return spread;
}

void DescribeOptions::fields(Fields& f) {
  f.text("label", label, "the column that holds the class").as("COL").or_else("a guess");
  f.text("text", text, "a column that holds a text").as("COL").or_else("those that look like one");
  f.integer("rows", shown, kAtLeastOne, "rows named for each kind of doubt, at most").as("N");
  read.fields(f);
}

Describer::Describer(const std::string& path, const DescribeOptions& options) : o_(options) {
  fields_of(o_).validate();
  const TableOptions read = o_.read.table();
  d_.file = path;
  file_ = read_data_file(path, read, /*labels_required=*/false);
  d_.format = name_of(format_of(path, read.format));
  d_.rows = rows_of(file_);
  const auto* sparse = std::get_if<SparseTable>(&file_);
  const std::string first = real_path(sparse != nullptr ? sparse->path : path);
  d_.bytes = static_cast<int64_t>(std::filesystem::file_size(first));
  std::ifstream file(first, std::ios::binary);
  d_.gzipped = file.get() == 0x1F && file.get() == 0x8B;
  labels_.resize(static_cast<size_t>(d_.rows));
  keys_.resize(static_cast<size_t>(d_.rows));
}

DataDescription Describer::describe() {
  if (const auto* table = std::get_if<Table>(&file_))
    describe_table(*table);
  else
    describe_matrix(std::get<SparseTable>(file_));
  d_.classes = counted_classes(labels_);
  doubt_classes();
  doubt_copies();
  std::move(later_.begin(), later_.end(), std::back_inserter(d_.doubts));
  suggest();
  return std::move(d_);
}

DataDescription describe_data(const std::string& path, const DescribeOptions& options) {
  return Describer(path, options).describe();
}

}  // namespace bilevel
