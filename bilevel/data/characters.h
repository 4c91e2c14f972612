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

/// A number or a date as it would be typed on a plain keyboard: white space of all kinds as one ' ', none at the ends, digits
/// of any script as 0 to 9, and signs of print and of full width (minus, apostrophe, comma, point, per cent) as those of ASCII.
std::string typed_characters(std::string_view cell);

/// Appends a code point to a text in UTF-8.
void append_utf8(std::string& text, char32_t character);

/// `text` in Unicode's form NFC: an accented letter is one character, however it was written. Broken UTF-8 stays as it is.
std::string composed(std::string_view text);

/// `text` in form NFKC: letters and digits of full width are the usual ones, too. Broken UTF-8 stays as it is.
std::string compatible(std::string_view text);

/// `text` in form NFC and in lower case, whatever the locale, character by character (Unicode's simple mappings). Broken
/// UTF-8 stays as it is.
std::string lower_case(std::string_view text);

}  // namespace bilevel
