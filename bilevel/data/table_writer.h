// Writing a table such that `read_table` reads the same cells back.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/core/large_array.h"

namespace bilevel {

/// The cells of a column, which may be more than the memory holds (see `LargeMemory`).
class ColumnCells {
 public:
  ColumnCells() = default;
  ColumnCells(std::initializer_list<std::string_view> cells) {
    for (const std::string_view cell : cells) push_back(cell);
  }
  ColumnCells(const ColumnCells& other);
  ColumnCells& operator=(const ColumnCells& other) { return *this = ColumnCells(other); }
  ColumnCells(ColumnCells&&) = default;
  ColumnCells& operator=(ColumnCells&&) = default;

  void push_back(std::string_view cell) {
    bytes_.append(cell);
    ends_.push_back(bytes_.size());
  }
  /// Cells that are new hold `value`.
  void resize(size_t size, std::string_view value = {});
  size_t size() const { return ends_.size(); }
  bool operator==(const ColumnCells& other) const {
    return std::ranges::equal(bytes_, other.bytes_) && std::ranges::equal(ends_, other.ends_);
  }
  /// Valid until a cell is added.
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return {bytes_.data() + begin, ends_[i] - begin};
  }

 private:
  LargeArray<char> bytes_;
  LargeArray<size_t> ends_;  // of each cell in them
};

/// A column of a table that is to be written. Cells may hold anything that a file may: UTF-8 without NUL.
struct Column {
  std::string name;
  ColumnCells cells = {};
};

/// The entries of a tensor [rows], floating-point ones with `digits` significant digits.
Column number_column(const std::string& name, const torch::Tensor& values, int digits = 9);
/// "row" and 1, 2, ..., `rows`.
Column row_column(int64_t rows);

/// Puts "input:", as often as it takes, before the name of each of `others` that one of `ours` has too.
void name_apart(std::vector<Column>& others, const std::vector<Column>& ours);

/// The table, tab-separated, with a header. Nothing is quoted, unless a cell holds a tab or a line end (or the header looks
/// quoted): then every cell is, with its quotes doubled, as `is_quoted_tsv` describes. Throws std::logic_error for
/// columns of different lengths, and for a line end in the first column's name.
std::string tsv_of(const std::vector<Column>& columns);

/// Writes it, whole or not at all. Throws FileError.
void write_tsv(const std::string& path, const std::vector<Column>& columns);

}  // namespace bilevel
