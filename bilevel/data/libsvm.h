// Sparse rows with labels from a LIBSVM file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/data/sparse_rows.h"

namespace bilevel {

struct LibsvmOptions {
  /// Whether every row must start with a label. Otherwise a file whose first row has none may have none at
  /// all.
  bool labels_required = true;
  /// Whether values are kept as the file's doubles; else they become float32.
  bool double_precision = false;
};

/// The rows of a LIBSVM file. Feature `index` of the file is column index-1 of `features`.
struct SparseTable {
  std::string path;
  std::vector<double> labels;  ///< one per row; empty for a file without labels
  SparseRows features;         ///< width: the largest index in the file; values as asked for
  std::vector<int64_t> lines;  ///< the line of each row, from 1
  bool pixels = false;         ///< the columns are the pixels of images: all of one kind

  int64_t rows() const { return static_cast<int64_t>(lines.size()); }
  Position position(size_t row) const { return {path, lines[row], 1}; }
  /// Leaves these rows (ascending) and no other.
  void keep_rows(const std::vector<size_t>& rows);
};

/// Reads a LIBSVM file, plain or gzipped: per line a label and then `index:value` pairs parted by blanks,
/// indices ascending from 1; `#` starts a comment; blank lines are skipped. InputError with file, line and
/// byte column: missing or empty file, no rows, a bad or non-finite label, index or value, an index below 1,
/// descending or repeated, a value too large for the precision asked for, a `qid:` entry, and all that LineReader refuses.
SparseTable read_libsvm(const std::string& path, const LibsvmOptions& options = {});

}  // namespace bilevel
