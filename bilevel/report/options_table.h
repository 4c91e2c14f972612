// The options of a field list as a Markdown table: what the pages and `bilevel list options` show.
#pragma once

#include <string>

#include "bilevel/core/fields.h"

namespace bilevel {

/// What a field may be, in words: "number > 0", "integer >= 1", "sgd|adam".
std::string values_of(const Field& field);

/// The field's present value as a person would write it after `--set name=`.
std::string value_of(const Field& field);

/// One row per field: name, meaning, possible values, present value (of a default struct: the default) and,
/// where the field declares one, the range of a random search. A '|' inside a cell is escaped. Ends with a
/// line feed.
std::string options_table(const Fields& fields);

}  // namespace bilevel
