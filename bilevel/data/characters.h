// Unicode: characters of a text, their kinds, lower case, and the one form that is read. utf8proc has the tables.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bilevel {

/// Kinds of characters, as the tokenizer and the n-grams see them.
enum class CharacterKind {
  blank,        ///< white space, Unicode's too, and invisible format characters
  word,         ///< letters, digits, the underscore, and combining marks
  ideograph,    ///< Chinese characters and Japanese kana, written without blanks between words
  punctuation,  ///< all the rest: punctuation, symbols, emoji
};

/// The code point that starts at `text[at]`, which moves behind it. A byte that is not UTF-8 counts as
/// U+FFFD.
char32_t next_code_point(std::string_view text, size_t& at);

CharacterKind kind_of(char32_t character);

/// Appends a code point to a text in UTF-8.
void append_utf8(std::string& text, char32_t character);

/// `text` in Unicode's form NFC: an accented letter is one character, however it was written. Broken UTF-8 stays as it is.
std::string composed(std::string_view text);

/// `text` in form NFC and in lower case, whatever the locale, character by character (Unicode's simple mappings). Broken
/// UTF-8 stays as it is.
std::string lower_case(std::string_view text);

}  // namespace bilevel
