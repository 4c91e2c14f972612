// Whether a column gives the label away.
#pragma once

#include <cstddef>

#include "bilevel/data/table.h"

namespace bilevel {

/// How the values of a column and the labels go together.
enum class Telling {
  nothing,
  values,  ///< each value goes with one label, in every row, which is no chance
  both     ///< and each label with one value
};

/// In all rows; nothing for fewer than 20 and where a cell is empty. No chance: labels drawn by their shares would be pure in every
/// value (in a random order would be the column's) with a probability below e^-14, about one in a million.
Telling telling(const Table& table, size_t column, size_t label);

}  // namespace bilevel
