// Text and bytes made safe for HTML, SVG and a shell.
#pragma once

#include <string>
#include <string_view>

namespace bilevel {

/// `text` with every byte that is not part of valid UTF-8 replaced by U+FFFD, and every control character
/// except tab and line feed by a space.
std::string clean_utf8(std::string_view text);

/// `clean_utf8(text)` with & < > " ' as character references: text for HTML or XML, also inside quoted
/// attributes.
std::string escape_markup(std::string_view text);

/// The text as one word for a POSIX shell, in quotes where it needs them; $'...' writes control characters (bash, zsh, ksh).
std::string shell_word(const std::string& text);

/// The bytes in base64, without line breaks.
std::string base64(std::string_view bytes);

}  // namespace bilevel
