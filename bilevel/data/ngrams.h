// Texts as weighted counts of hashed word and character n-grams.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/data/sparse_rows.h"

namespace bilevel {

struct NgramOptions {
  int64_t word_min = 1;      ///< shortest word n-gram; 1 to word_max
  int64_t word_max = 2;      ///< longest word n-gram; 0: no word n-grams
  int64_t char_min = 2;      ///< shortest character n-gram; 1 to char_max
  int64_t char_max = 4;      ///< longest character n-gram; 0: no character n-grams
  bool within_words = true;  ///< character n-grams of each word with a blank at both ends; else across blanks
  int64_t buckets = 1 << 18;    ///< width of the rows, a power of two up to 2^30
  int64_t min_word_length = 1;  ///< characters of the shortest word in word n-grams
  bool lower_case = true;
  bool sublinear_tf = true;  ///< 1 + ln(count) instead of the count
  bool idf = true;           ///< times ln((1 + n) / (1 + df)) + 1, df of n training texts holding the bucket
  bool normalize = true;     ///< each block to Euclidean length 1 before it is weighted
  double word_weight = 1.0;  ///< weight of the block of word n-grams
  double char_weight = 1.0;  ///< weight of the block of character n-grams
};

/// 64-bit hash of bytes, the same on all machines: FNV-1a, then a final mix (the 64-bit finalizer of
/// MurmurHash3), since the low bits of FNV-1a alone spread poorly.
uint64_t stable_hash(std::string_view bytes);

/// Texts as sparse rows of hashed n-grams. Words are runs of letters, digits and underscores (an ideograph is
/// a word); character n-grams are taken from the pieces between blanks, punctuation included, each as " piece
/// ". The word n-grams and the character n-grams are two blocks: each is counted, weighted by its own idf and
/// normalized by itself; their weighted sum, over sqrt(word_weight^2 + char_weight^2), is the row, so that a
/// row has length about 1. Both use the same buckets. A text without n-grams is an empty row.
class NgramHasher {
 public:
  /// Without idf, as long as `fit` has not been called. InputError for impossible options.
  explicit NgramHasher(const NgramOptions& options = {});

  /// Counts in how many training texts each bucket occurs. Does nothing without the option `idf`.
  void fit(const std::vector<std::string_view>& texts);

  /// Cost: about one hash per n-gram.
  SparseRows apply(const std::vector<std::string_view>& texts) const;

  /// A name for every bucket: the n-gram that most often falls into it in the given texts (of equals the first
  /// in byte order), words as they are, characters in brackets; empty where no n-gram does. Memory: every
  /// n-gram of the texts.
  std::vector<std::string> names(const std::vector<std::string_view>& texts) const;

  const NgramOptions& options() const { return options_; }

  /// float32 [2, buckets]: the factors of the word and of the character block; undefined without idf.
  const torch::Tensor& idf() const { return idf_; }

  /// The options; the state is these and `idf()`.
  nlohmann::json to_json() const;
  /// FileError when `state` and `idf` are not what to_json and idf() gave.
  static NgramHasher from_json(const nlohmann::json& state, const torch::Tensor& idf);

 private:
  struct Counts;

  void count(std::string_view text, Counts& counts) const;
  /// Calls visit(hash, begin, end) for every n-gram; [begin, end) are its words or characters.
  template <typename Visit>
  void each_word_ngram(std::string_view text, const Visit& visit) const;
  template <typename Visit>
  void each_character_ngram(std::string_view text, const Visit& visit) const;
  uint32_t bucket_of(uint64_t state) const;

  NgramOptions options_;
  torch::Tensor idf_;
};

}  // namespace bilevel
