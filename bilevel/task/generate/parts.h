// What the kinds of generated sets share: draws, made-up words and texts, names.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bilevel/core/streams.h"
#include "bilevel/task/generate/generate.h"

namespace bilevel {

/// One kind each, of options that are all given.
GeneratedSet generate_cleaning(const GenerateOptions& o);
GeneratedSet generate_tuning(const GenerateOptions& o);
GeneratedSet generate_mixing(const GenerateOptions& o);
GeneratedSet generate_meta(const GenerateOptions& o);
GeneratedSet generate_imbalanced(const GenerateOptions& o);

/// Draws that are the same everywhere.
class Random {
 public:
  Random(uint64_t seed, const std::string& name) : engine_(derive_seed(seed, name)) {}

  double uniform() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }
  int64_t below(int64_t count) { return static_cast<int64_t>(uniform() * static_cast<double>(count)); }
  double normal();
  /// `count` different numbers below `total`, in random order.
  std::vector<int64_t> choose(int64_t count, int64_t total);
  /// `count` of `total` rows.
  std::vector<bool> choose_rows(int64_t count, int64_t total);

 private:
  std::mt19937_64 engine_;
};

/// Themes of texts: lists of words.
inline constexpr int64_t kThemes = 60;
std::string words_of(int64_t theme);

/// A text of 6 to 18 words: some from the themes, the others as frequent as words are (1 / rank).
class TextWriter {
 public:
  TextWriter();
  std::string write(const std::vector<int64_t>& themes, Random& random) const;

 private:
  std::vector<double> cumulative_;
};

/// "c07" of 30.
std::string class_name(int64_t number, int64_t count);
/// "LABEL,x1,x2,...".
std::string header_of(const std::string& label, int64_t columns);
/// The rows whose labels are wrong: exactly the share, rounded.
std::vector<bool> wrong_rows(int64_t rows, double share, Random& random);

}  // namespace bilevel
