// Reading a text as a number: a cell of a table, an option.
#pragma once

#include <string_view>

namespace bilevel {

/// What a cell holds.
enum class CellKind {
  missing,   ///< empty, NA, NaN, null or ? (in any case)
  number,    ///< a finite decimal number
  infinite,  ///< inf, infinity, or a decimal number too large for a double (1e400)
  word,      ///< anything else
};

/// A cell read as a number. `value` has a meaning only for `CellKind::number`.
struct Number {
  CellKind kind = CellKind::missing;
  double value = 0.0;
};

/// Reads `text`, whatever the locale, less blanks, tabs and line ends around it. A decimal number may start
/// with one sign; numbers too small for a double are 0; hexadecimal numbers and digit separators are words.
Number read_number(std::string_view text);

/// Whether `text` is a mark of a missing value.
bool is_missing(std::string_view text);

/// `text` without ASCII white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace bilevel
