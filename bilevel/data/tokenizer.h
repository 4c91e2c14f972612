// From texts to tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bilevel/data/characters.h"

namespace bilevel {

/// Splits a text, in lower case, into tokens in the manner of the tokens that GloVe vectors were trained on:
/// - words are runs of word characters; "." and "," stay inside numbers (3.14), "-" parts words;
/// - English contractions are parted: "don't" is "do" "n't", "it's" is "it" "'s"; a typographic apostrophe is
/// "'";
/// - emoticons such as :-) and <3 that stand alone are one token;
/// - every other punctuation character is a token, of which at most three in a row are kept; two or more dots
/// are "...",
///   two or more hyphens are "--"; each ideograph is a token.
std::vector<std::string> tokenize(std::string_view text);

}  // namespace bilevel
