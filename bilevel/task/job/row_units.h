// Which rows of a job's files must stay on one side of every cut.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/data/recognize.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// A column that is read, and how: cells are the same that are the same number, date or category by it.
struct ReadColumn {
  std::string name;
  ColumnReading reading;
};

struct RowUnits {
  /// Of all rows, numbered through the files: rows with one number hold the same in all that is read, or belong to one group,
  /// or are linked by such rows. Empty where every row is by itself.
  std::vector<int64_t> unit_of;
  std::vector<int64_t> content_of;  ///< the same by what is read alone, also where that is left to chance
  bool chance = false;              ///< whether rows coincide by chance, and stay together for no such reason
  std::vector<int64_t> group_of;    ///< the same by groups alone
  int64_t ungrouped = 0;            ///< rows of the first file that belong to no group
  int64_t copies = 0;               ///< rows of the first file that hold the same as an earlier one of it
  /// By the role of a file and that of the first one before it that has them: its rows that hold the same as rows of that.
  std::map<std::pair<std::string, std::string>, int64_t> repeated;
};

/// @param columns whose cells are compared; those of LIBSVM files are compared whole, without their labels
/// @param group the column with the groups; empty: none. Rows with an empty cell there belong to no group.
/// @param no_text whether no column holds a text. Then, if all are categories or numbers of ten values at most, rows of the first
/// file coincide by chance; they are taken for copies only where they do so three times as often as rows of independent columns
/// would. (Kept together, a row of a category that no other part has could not be learned.)
/// Cost: one pass over the cells. Throws InputError for a column that a file lacks, and for groups of LIBSVM files.
RowUnits row_units(const JobFiles& files, const std::vector<ReadColumn>& columns, const std::string& group,
                   bool no_text = false);

}  // namespace bilevel
