#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/task/describe/describer.h"

namespace bilevel {

void Describer::describe_matrix(const SparseTable& table) {
  if (!o_.text.empty()) throw InputError(d_.file + ": a " + d_.format + " file has no text column");
  if (!o_.label.empty())
    throw InputError(
        fmt::format("{}: the labels of a {} file stand in no column; leave --label out", d_.file, d_.format));
  const SparseRows& rows = table.features;
  const auto* offsets = rows.offsets.data_ptr<int64_t>();
  const auto* indices = rows.indices.data_ptr<int64_t>();
  const float* values = rows.values.data_ptr<float>();
  DescribedMatrix matrix{.width = rows.width, .entries = 0, .entries_a_row = {}};
  std::vector<double> a_row;
  Doubting empty = doubting("empty_row");
  for (size_t row = 0; row < keys_.size(); ++row) {
    int64_t here = 0;
    for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
      if (values[i] == 0) continue;
      ++here;
      keys_[row].append(reinterpret_cast<const char*>(indices + i), sizeof(int64_t));
      keys_[row].append(reinterpret_cast<const char*>(values + i), sizeof(float));
    }
    if (here == 0) empty.add({.line = line(row)});
    matrix.entries += here;
    a_row.push_back(static_cast<double>(here));
  }
  matrix.entries_a_row = spread_of(a_row);
  empty.finish(later_, "has", "no entry that is not 0");
  describe_matrix_columns(rows, matrix);
  d_.matrix = matrix;
  if (table.labels.empty()) return;
  d_.label = "label";
  d_.label_given = true;
  for (size_t row = 0; row < table.labels.size(); ++row)
    labels_[row] = fmt::format("{}", table.labels[row] + 0.0);
}

void Describer::describe_matrix_columns(const SparseRows& rows, DescribedMatrix& matrix) {
  struct Cell {
    float value;
    size_t row;
  };
  const auto* offsets = rows.offsets.data_ptr<int64_t>();
  const auto* indices = rows.indices.data_ptr<int64_t>();
  const float* values = rows.values.data_ptr<float>();
  std::map<int64_t, std::vector<Cell>> columns;  // that have entries
  for (size_t row = 0; row < keys_.size(); ++row) {
    for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
      if (values[i] != 0) columns[indices[i]].push_back({values[i], row});
    }
  }
  matrix.unused = rows.width - static_cast<int64_t>(columns.size());
  if (matrix.unused > 0) {
    matrix.least = std::min(matrix.least, 0.0);
    matrix.most = std::max(matrix.most, 0.0);
  }
  for (const auto& [c, cells] : columns) {
    std::vector<double> all(static_cast<size_t>(d_.rows) - cells.size(), 0.0);
    for (const Cell& cell : cells) all.push_back(cell.value);
    const Spread spread = spread_of(all);
    matrix.least = std::min(matrix.least, spread.least);
    matrix.most = std::max(matrix.most, spread.most);
    const bool two =
        std::all_of(all.begin(), all.end(), [&](double v) { return v == all.front() || v == all.back(); });
    ++(spread.least == spread.most ? matrix.constant
       : two                       ? matrix.binary
       : spread.whole              ? matrix.whole
                                   : matrix.real);
    const std::string name = fmt::format("{}", c + 1);
    Doubting far = doubting("far_out", name);
    for (const Cell& cell : cells) {
      if (!two && is_far(cell.value, spread))
        far.add({.line = line(cell.row), .value = fmt::format("{:g}", cell.value)});
    }
    finish_far(far, name, spread);
  }
}

}  // namespace bilevel
