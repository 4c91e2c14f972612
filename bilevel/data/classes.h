// Labels with several classes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/data/libsvm.h"
#include "bilevel/data/table.h"

namespace bilevel {

/// Which class a label is, of those there are so far or of known ones.
class ClassIndex {
 public:
  ClassIndex() = default;
  /// Numbered as they stand; a name that is the class of an earlier one has no number of its own.
  explicit ClassIndex(const std::vector<std::string>& known);

  /// The class of a label that is known, by `class_key`; none for a new one.
  std::optional<int64_t> find(std::string_view label) const;
  /// As `find`; or else by `loose_class_key`, where this means one class alone.
  std::optional<int64_t> find_loosely(std::string_view label) const;
  /// The number of a label, which is new or known.
  int64_t add(std::string_view label);

 private:
  std::map<std::string, int64_t> classes_;
  std::multimap<std::string, int64_t> loose_;
};

/// The classes of the rows of a file. `class_key` says which labels are the same.
struct ClassLabels {
  std::vector<std::string> names;  ///< as first written; numbers by value, or else in byte order
  std::vector<int64_t> classes;    ///< per row, an index into `names`
  std::vector<int64_t> counts;     ///< rows of each class
  /// What a reader must know: spellings that became one class, and classes that are spelled nearly alike; sentences.
  std::vector<std::string> notes;

  int64_t rows() const { return static_cast<int64_t>(classes.size()); }
};

/// The classes that a column holds. InputError: an empty label (with its position), fewer than `least` (1 or 2) classes.
ClassLabels read_classes(const Table& table, size_t column, size_t least = 2);
/// Those of a LIBSVM file, of which there must be one per row.
ClassLabels read_classes(const SparseTable& table, size_t least = 2);

/// The labels of a further file in terms of known classes: by `class_key`, or else by `loose_class_key`, where this means one
/// class alone. `origin` names where those stand. InputError: an empty label, or a label that is no known class (both with their position; the message lists the classes).
ClassLabels read_classes(const Table& table, size_t column, const std::vector<std::string>& known,
                         const std::string& origin);
ClassLabels read_classes(const SparseTable& table, const std::vector<std::string>& known,
                         const std::string& origin);

/// The column of this name or number, unless every cell is missing (`is_missing`).
std::optional<size_t> labelled_column(const Table& table, const std::string& column);

/// For a file to predict: nullopt when the table lacks the column or every cell is missing (a LIBSVM file:
/// when it has no labels).
std::optional<ClassLabels> find_classes(const Table& table, const std::string& column,
                                        const std::vector<std::string>& known, const std::string& origin);
std::optional<ClassLabels> find_classes(const SparseTable& table, const std::vector<std::string>& known,
                                        const std::string& origin);

/// How many cells of a column hold blanks around what is in them: a label is read without.
int64_t cells_with_blanks(const Table& table, size_t column);

/// "'a' (12 rows), 'b' (3 rows)", at most ten.
std::string describe_classes(const ClassLabels& labels);

}  // namespace bilevel
