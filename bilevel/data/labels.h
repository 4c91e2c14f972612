// Binary labels: one value of a label column against the rest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/data/libsvm.h"
#include "bilevel/data/table.h"

namespace bilevel {

struct BinaryLabels {
  std::vector<int8_t> is_positive;  ///< per row 1 (positive) or 0
  int64_t positives = 0;
  std::vector<std::string> names;  ///< of all labels, the positive one among them

  int64_t rows() const { return static_cast<int64_t>(is_positive.size()); }
};

/// The rows whose label is `positive` are positive, all others are not. Labels are the same as `class_key` says; a
/// `positive` that no row has is the one label that `loose_class_key` finds equal, if there is one. InputError: an empty
/// label (with its position), a positive value that no row has (the message lists the
/// values there are, with their counts, and suggests the one that is spelled nearly so), or no other value.
BinaryLabels read_labels(const Table& table, size_t column, const std::string& positive);

/// As above, from the labels of a LIBSVM file, of which there must be one per row.
BinaryLabels read_labels(const SparseTable& table, const std::string& positive);

}  // namespace bilevel
