// Writing a table such that `read_table` reads the same cells back.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

namespace bilevel {

/// A column of a table that is to be written. Cells may hold anything that a file may: UTF-8 without NUL.
struct Column {
  std::string name;
  std::vector<std::string> cells = {};
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
