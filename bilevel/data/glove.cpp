#include "bilevel/data/glove.h"

#include <fmt/format.h>
#include <torch/utils.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/lines.h"
#include "bilevel/data/sparse_rows.h"

namespace bilevel {
namespace {

bool is_whole_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// A word2vec header: two whole numbers. A one-dimensional vector of a number word is read as a header, too.
bool is_header(std::string_view line) {
  const size_t blank = line.find(' ');
  return blank != std::string_view::npos && is_whole_number(line.substr(0, blank)) &&
         is_whole_number(trimmed(line.substr(blank + 1)));
}

float read_entry(const LineReader& lines, std::string_view text, int64_t column) {
  float value = 0.0F;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && stop == text.data() + text.size() && std::isfinite(value)) return value;
  const Number number = read_number(text);  // numbers with a plus sign, or too small for float32
  if (number.kind != CellKind::number || !std::isfinite(static_cast<float>(number.value))) {
    lines.fail(column, fmt::format("'{}' is not a finite number", text));
  }
  return static_cast<float>(number.value);
}

}  // namespace

Glove read_glove(const std::string& path, const Vocabulary* wanted) {
  LineReader lines(path);
  Glove glove;
  std::vector<float> entries;
  int64_t dimension = 0;
  while (lines.next()) {
    std::string_view line = lines.text();
    while (line.ends_with(' ')) line.remove_suffix(1);
    if (line.empty() || (lines.number() == 1 && is_header(line))) continue;
    const size_t word_end = line.find(' ');
    if (word_end == 0) lines.fail(1, "the line starts with a blank where its word should stand");
    if (word_end == std::string_view::npos) {
      lines.fail(static_cast<int64_t>(line.size()) + 1, "the line has a word, but no numbers");
    }
    const int64_t found = std::count(line.begin(), line.end(), ' ');
    if (dimension == 0) dimension = found;
    if (found != dimension) {
      size_t column =
          line.size();  // where the first number too many stands, or where the line ends too early
      if (found > dimension) {
        column = 0;
        for (int64_t i = 0; i <= dimension; ++i) column = line.find(' ', column) + 1;
      }
      lines.fail(static_cast<int64_t>(column) + 1,
                 fmt::format("the line has {} numbers, but the first has {}", found, dimension));
    }
    std::string word(line.substr(0, word_end));
    if (wanted != nullptr && wanted->id(word) == Vocabulary::kUnknown) continue;
    if (!glove.index.try_emplace(word, static_cast<int64_t>(glove.words.size())).second) continue;
    glove.words.push_back(std::move(word));
    size_t begin = word_end + 1;
    for (int64_t i = 0; i < dimension; ++i) {
      const size_t end = std::min(line.find(' ', begin), line.size());
      entries.push_back(read_entry(lines, line.substr(begin, end - begin), static_cast<int64_t>(begin) + 1));
      begin = end + 1;
    }
  }
  if (dimension == 0) fail_at({path}, "holds no word vectors");
  if (glove.words.empty()) fail_at({path}, "holds none of the words of the texts");
  glove.vectors = adopt(std::move(entries)).view({static_cast<int64_t>(glove.words.size()), dimension});
  return glove;
}

torch::Tensor embedding_matrix(const Vocabulary& vocabulary, const Glove& glove, at::Generator& generator) {
  const torch::NoGradGuard no_grad;
  const double deviation = glove.vectors.to(torch::kFloat64).std(false).item<double>();
  torch::Tensor matrix =
      torch::empty({vocabulary.size(), glove.dimension()}).normal_(0.0, deviation, generator);
  matrix[Vocabulary::kPadding].zero_();
  const auto width = glove.dimension();
  const auto* from = glove.vectors.const_data_ptr<float>();
  auto* to = matrix.mutable_data_ptr<float>();
  for (size_t i = 0; i < vocabulary.words().size(); ++i) {
    const auto found = glove.index.find(vocabulary.words()[i]);
    if (found != glove.index.end()) {
      std::copy_n(from + found->second * width, width, to + (static_cast<int64_t>(i) + 2) * width);
    }
  }
  return matrix;
}

}  // namespace bilevel
