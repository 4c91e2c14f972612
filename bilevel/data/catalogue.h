// Text that a machine has at hand: its package catalogue, or else a generated corpus.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bilevel {

/// A package of a Debian archive.
struct CataloguePackage {
  std::string name;
  std::string section;      ///< "games", "libs", ...; without an archive area such as "contrib/"
  std::string description;  ///< the first line
};

/// The packages that the machine's package manager knows (about 60,000 on Debian 12), the first of each name,
/// in its order. It runs `apt-cache dumpavail`, which reads local files only; about a second. Empty where
/// that is not there or knows no package.
std::optional<std::vector<CataloguePackage>> read_package_catalogue();

/// The packages in the text that `apt-cache dumpavail` writes: stanzas of "Field: value" lines, parted by
/// blank lines. Stanzas without name, section or description are left out, as are bytes that are not UTF-8.
std::vector<CataloguePackage> parse_package_catalogue(std::string_view text);

/// A text with its class.
struct LabelledText {
  std::string text;
  int8_t is_positive = 0;
  double log_odds = 0;  ///< log p(text | positive) - log p(text | negative) of the generator: the best score
};

/// `count` (at least 20) short made-up descriptions of programs, a share of them (at least two) of games
/// (positive). The two classes share most of their words, and some descriptions could be of either, so that
/// no classifier reaches an AUC of 1. InputError for fewer rows, or a share that leaves a class without rows.
std::vector<LabelledText> generated_corpus(int64_t count, at::Generator& generator,
                                           double positive_share = 0.017);

}  // namespace bilevel
