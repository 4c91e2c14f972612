// Pretrained word vectors in the text format of GloVe.
#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "bilevel/data/vocabulary.h"

namespace bilevel {

struct Glove {
  std::vector<std::string> words;
  torch::Tensor vectors;                           ///< float32 [words, dimension]
  std::unordered_map<std::string, int64_t> index;  ///< row of each word

  int64_t dimension() const { return vectors.size(1); }
  bool contains(const std::string& word) const { return index.count(word) > 0; }
};

/// Reads a GloVe file, plain or gzipped: per line a word and its numbers, parted by single blanks. Of a
/// repeated word the first line counts. A first line of two whole numbers (words and dimension, as word2vec
/// writes) is skipped. With `wanted`, only its words are kept (and the numbers of the others are counted, but
/// not read). InputError with file, line and byte column: a line with more or fewer numbers than the first, a
/// bad or non-finite number, a missing or empty file, broken UTF-8 or gzip; also when no word of `wanted` is
/// in the file.
Glove read_glove(const std::string& path, const Vocabulary* wanted = nullptr);

/// Rows for all ids of a vocabulary: float32 [vocabulary.size(), dimension]. Padding is 0; known words have
/// their vector; the unknown word and words that `glove` lacks are normal draws with the standard deviation
/// of all entries of `glove`.
torch::Tensor embedding_matrix(const Vocabulary& vocabulary, const Glove& glove, at::Generator& generator);

}  // namespace bilevel
