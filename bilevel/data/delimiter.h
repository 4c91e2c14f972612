// What stands between the fields of a csv or tsv file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bilevel {

/// The character of a name: comma, semicolon, tab, bar, or the character itself ("\t" too); 0 for "automatic". Throws
/// InputError for anything else.
char delimiter_named(const std::string& name);

/// "comma", "semicolon", "tab" or "bar"; for another character "'x'".
std::string delimiter_name(char delimiter);

/// The delimiter that a first line "sep=;" names.
std::optional<char> told_delimiter(std::string_view first_line);

/// The delimiter of a file that begins with `sample`: comma, semicolon, tab or bar. `usual` (',' or '\t'), unless lines lack
/// it or differ in how many they have, and all of them have the same number of another one; or unless each comma stands
/// between two digits, so that it is a decimal comma.
char find_delimiter(std::string_view sample, char usual);

/// Whether a tsv file that begins with `sample` is quoted as csv is: every cell of the first line is enclosed in quotes (the
/// last one may go on on the next line); or some cell shows it by doubled quotes inside,
/// and all cells that begin with a quote are enclosed in quotes.
bool is_quoted_tsv(std::string_view sample);

}  // namespace bilevel
