// Texts of files, for a person.
#pragma once

#include <string>
#include <string_view>

namespace bilevel {

/// `text` in one line that a terminal shows as it stands there: every control character (line ends, tabs, escapes, U+0080 to
/// U+009F and the separators U+2028 and U+2029 too) as \n, \t, \x1b or \u009b. Whatever a file brings goes through this before
/// it is shown; files and JSON keep it as it is.
std::string printable(std::string_view text);

}  // namespace bilevel
