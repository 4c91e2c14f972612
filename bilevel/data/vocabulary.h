// From tokens to sequences of word numbers: a vocabulary, ragged rows, padded batches.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace bilevel {

struct VocabularyOptions {
  int64_t min_count = 2;     ///< words seen less often are left out; at least 1
  int64_t max_size = 30000;  ///< most words kept, the two special ones not counted; at least 1
};

/// Numbers for words: 0 is padding, 1 any unknown word, then the known words, most frequent first (ties in
/// byte order).
class Vocabulary {
 public:
  static constexpr int64_t kPadding = 0;
  static constexpr int64_t kUnknown = 1;

  Vocabulary() = default;

  /// From words without the special ones. InputError for a repeated word.
  explicit Vocabulary(std::vector<std::string> words);

  /// Counts the tokens of training texts. InputError for impossible options.
  static Vocabulary fit(const std::vector<std::vector<std::string>>& texts,
                        const VocabularyOptions& options = {});

  /// Number of ids, the two special ones included.
  int64_t size() const { return static_cast<int64_t>(words_.size()) + 2; }

  /// The word's id, or kUnknown.
  int64_t id(const std::string& word) const;

  /// The known words; words()[i] has the id i + 2.
  const std::vector<std::string>& words() const { return words_; }

  nlohmann::json to_json() const;
  /// FileError when `state` is not what to_json wrote.
  static Vocabulary from_json(const nlohmann::json& state);

 private:
  std::vector<std::string> words_;
  std::unordered_map<std::string, int64_t> ids_;
};

/// Texts as word numbers, one behind the other: text i is ids[offsets[i]] to ids[offsets[i+1]-1].
struct TokenRows {
  torch::Tensor ids;             ///< int64 [all tokens]
  std::vector<int64_t> offsets;  ///< n + 1 numbers, from 0

  int64_t rows() const { return offsets.empty() ? 0 : static_cast<int64_t>(offsets.size()) - 1; }
  int64_t length(int64_t row) const {
    return offsets.at(static_cast<size_t>(row) + 1) - offsets.at(static_cast<size_t>(row));
  }
};

/// Numbers of the words of tokenized texts, each cut behind `max_length` words (at least 1). A text without
/// words becomes one unknown word, so that no row is empty.
TokenRows encode(const std::vector<std::vector<std::string>>& texts, const Vocabulary& vocabulary,
                 int64_t max_length);

/// A batch of texts: ids int64 [B, T], padded with 0 behind, T the longest of them; lengths int64 [B], at
/// least 1.
struct PaddedBatch {
  torch::Tensor ids;
  torch::Tensor lengths;
};

/// The rows with these numbers, in this order. std::out_of_range.
PaddedBatch collate(const TokenRows& texts, const std::vector<int64_t>& rows);

}  // namespace bilevel
