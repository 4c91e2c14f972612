// The vectors of a sentence encoder as features, alone or behind hashed n-grams.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/core/names.h"
#include "bilevel/data/sparse_rows.h"
#include "bilevel/task/sentence_encoder.h"

namespace bilevel {

/// Which features of a text there are where a sentence encoder is given.
enum class FeaturesFrom { ngrams_and_encoder, encoder };
template <>
struct NamesOf<FeaturesFrom> {
  static constexpr const char* value[] = {"ngrams+encoder", "encoder"};
};

/// Where a saved model finds its sentence encoder, and computes with it.
struct SentenceSource {
  std::string encoder;  ///< see `sentence_encoder_folder`; empty: where the training found it
  torch::Device device = torch::kCPU;
};

/// Texts as vectors of a sentence encoder. Copies share the encoder, and so the vectors that it has made.
class SentenceFeatures {
 public:
  SentenceFeatures(std::shared_ptr<SentenceEncoder> encoder, FeaturesFrom from)
      : encoder_(std::move(encoder)), from_(from) {}

  /// Whether there are no n-grams beside the vectors.
  bool alone() const { return from_ == FeaturesFrom::encoder; }
  int64_t width() const { return encoder_->width(); }

  /// float32 [texts, width()]: the directions of the vectors, of length 1.
  torch::Tensor dense(const std::vector<std::string_view>& texts) const;
  /// The rows with `width()` columns more behind theirs: the directions of the texts' vectors, each of a constant length beside
  /// the n-grams' 1.
  SparseRows behind(const SparseRows& ngrams, const std::vector<std::string_view>& texts) const;

  /// "sentence 0", "sentence 1", ...
  std::vector<std::string> names() const;
  /// For a report: "384 numbers of the sentence encoder minilm".
  std::string fact() const;

  /// {name, path, fingerprint, from}.
  nlohmann::json to_json() const;
  /// Loads the encoder. Throws as `SentenceEncoder` does, InputError also where its fingerprint is another one, or where no encoder
  /// is given and there is none any more where the training found it; nlohmann's exceptions for what `to_json` did not give.
  static SentenceFeatures from_json(const nlohmann::json& state, const SentenceSource& source);

 private:
  std::shared_ptr<SentenceEncoder> encoder_;
  FeaturesFrom from_ = FeaturesFrom::ngrams_and_encoder;
};

}  // namespace bilevel
