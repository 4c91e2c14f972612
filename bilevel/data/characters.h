// Unicode: characters of a text, their kinds, and lower case.
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

/// `text` in lower case, whatever the locale: Latin (with Latin-1, Extended-A, Extended Additional and
/// full-width), Greek, Cyrillic and Armenian letters. Other scripts and broken UTF-8 stay as they are.
std::string lower_case(std::string_view text);

}  // namespace bilevel
