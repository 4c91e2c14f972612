// When two texts are the same class or category: one rule for labels, categories and `data describe`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bilevel {

/// What texts of one class have in common. Blanks around a text do not count. A whole decimal number of at most 15 digits
/// is the same with a plus sign or with zeros after the point (1, +1, 1.0; -0 is 0); all other texts are what they are:
/// 0110 is not 110, 3.1 is not 3.10, 1e3 is not 1000.
std::string class_key(std::string_view text);

/// As `class_key`, but zeros at the end of any decimal number of at most 15 digits do not count either: 2.50 is 2.5. Tells
/// what a text of a further file means that is no class, where it cannot mean two.
std::string loose_class_key(std::string_view text);

/// What near-equal spellings have in common: case, blanks, and the Unicode form do not count.
std::string spelling_key(std::string_view text);

/// "; did you mean 'yes'?" for the first of some names that is spelled nearly as `text` is; "" when none is.
std::string did_you_mean(const std::vector<std::string>& names, std::string_view text);

}  // namespace bilevel
