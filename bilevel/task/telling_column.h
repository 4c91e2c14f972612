// Whether a column gives the label away.
#pragma once

#include <cstddef>
#include <string>

#include "bilevel/data/recognize.h"
#include "bilevel/data/table.h"

namespace bilevel {

struct Telling {
  bool is_label =
      false;  ///< each value goes with one label and each label with one value, or it is filled for one label alone
  std::string
      how;  ///< in words: so, or each value goes with one label, or a threshold of numbers tells it; empty: it tells nothing
};

/// In all rows; an empty cell is a value too. Nothing for fewer than 20 rows, for more than 1,000 values but by filling and threshold,
/// and for what chance can do: labels drawn by their shares would be pure in every value (in a random order would be the column's)
/// with a probability of e^-14 or more, about one in a million.
/// Cost: passes that end at the first row which shows that it tells nothing.
/// @param positive a label that is told from all others: what tells that tells the label, too; empty: none
Telling telling(const Table& table, size_t column, const RecognizedColumn& recognized, size_t label,
                const std::string& positive = {});

}  // namespace bilevel
