#include "bilevel/task/generate/parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace bilevel {
namespace {

constexpr int64_t kThemeWords = 12, kBackground = 1000;
constexpr double kThemeShare = 0.3;  // of the words of a text

/// A made-up word; different for every number below 4900.
std::string word(int64_t number) {
  constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou";
  constexpr int64_t kSyllables = 70;
  const int64_t mixed = number * 1543 % (kSyllables * kSyllables);  // neighbours do not look alike
  std::string text;
  for (const int64_t s : {mixed / kSyllables, mixed % kSyllables}) {
    text += kConsonants[static_cast<size_t>(s % 14)];
    text += kVowels[static_cast<size_t>(s / 14)];
  }
  return text;
}

std::string theme_word(int64_t theme, int64_t i) { return word(kBackground + theme * kThemeWords + i); }

}  // namespace

double Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::vector<int64_t> Random::choose(int64_t count, int64_t total) {
  std::vector<int64_t> all(static_cast<size_t>(total));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t i = 0; i < count; ++i)
    std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(i + below(total - i))]);
  all.resize(static_cast<size_t>(count));
  return all;
}

std::vector<bool> Random::choose_rows(int64_t count, int64_t total) {
  std::vector<bool> chosen(static_cast<size_t>(total), false);
  for (const int64_t row : choose(count, total)) chosen[static_cast<size_t>(row)] = true;
  return chosen;
}

std::string words_of(int64_t theme) {
  std::string words;
  for (int64_t i = 0; i < kThemeWords; ++i)
    words += fmt::format("{}{}", i > 0 ? " " : "", theme_word(theme, i));
  return words;
}

TextWriter::TextWriter() {
  double sum = 0;
  for (int64_t i = 0; i < kBackground; ++i) cumulative_.push_back(sum += 1.0 / static_cast<double>(i + 3));
}

std::string TextWriter::write(const std::vector<int64_t>& themes, Random& random) const {
  std::string text;
  for (int64_t left = 6 + random.below(13); left > 0; --left) {
    if (!text.empty()) text += ' ';
    if (random.uniform() < kThemeShare) {
      const int64_t theme = themes[static_cast<size_t>(random.below(static_cast<int64_t>(themes.size())))];
      text += theme_word(theme, random.below(kThemeWords));
    } else {
      const auto found =
          std::lower_bound(cumulative_.begin(), cumulative_.end(), random.uniform() * cumulative_.back());
      text += word(found - cumulative_.begin());
    }
  }
  return text;
}

std::string class_name(int64_t number, int64_t count) {
  return fmt::format("c{:0{}}", number + 1, fmt::format("{}", count).size());
}

std::string header_of(const std::string& label, int64_t columns) {
  std::string header = label;
  for (int64_t i = 1; i <= columns; ++i) header += fmt::format(",x{}", i);
  return header + "\n";
}

std::vector<bool> wrong_rows(int64_t rows, double share, Random& random) {
  return random.choose_rows(std::llround(share * static_cast<double>(rows)), rows);
}

}  // namespace bilevel
