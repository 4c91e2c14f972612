// Transformer encoder of token sequences.
#pragma once

#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/encoder.h"
#include "bilevel/model/tokens.h"

namespace bilevel {

/// Where a token stands: a trained vector per place, or sines and cosines of geometric wavelengths (no
/// parameters).
enum class Positions { learned, sinusoidal };

/// "learned" or "sinusoidal", and back. `positions_from_string` throws InputError naming the field
/// `positions`.
std::string to_string(Positions positions);
Positions positions_from_string(const std::string& name);

struct TransformerOptions {
  int64_t vocabulary = 0;         ///< token ids are in [0, vocabulary), 0 is padding
  int64_t embedding_size = 128;   ///< width of the token vectors; a linear map follows if it is not `hidden`
  torch::Tensor pretrained{};     ///< optional token vectors [vocabulary, embedding_size]
  bool freeze_embedding = false;  ///< token vectors are a buffer, not a parameter
  int64_t hidden = 128;           ///< width of the blocks
  int64_t layers = 2;             ///< number of blocks
  int64_t heads = 4;              ///< must divide `hidden`
  int64_t feed_forward = 4;       ///< width of the feed-forward part, in multiples of `hidden`
  Positions positions = Positions::learned;
  double dropout =
      0.0;  ///< in [0,1): after the embedding, on each branch, on the result; never on attention weights
  int64_t max_length = 256;  ///< later tokens are ignored
  bool token_mean = false;   ///< the mean of the row's token vectors follows in the result
};

class TransformerBlock;

/// Token vectors plus positions, `layers` blocks x += attention(norm(x)), x += feed_forward(norm(x)) with
/// GELU, a final norm, and the mean over a row's tokens. Everything but the attention itself runs on real
/// tokens only; attention masks the padding.
class TransformerEncoder : public Encoder {
 public:
  /// Throws InputError naming the field for sizes below 1, heads that do not divide hidden, dropout outside
  /// of [0,1), or sinusoidal positions with an odd hidden.
  explicit TransformerEncoder(const TransformerOptions& options);

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override {
    return options_.hidden + (options_.token_mean ? options_.embedding_size : 0);
  }
  std::string twice_differentiable_note() const override;

 private:
  TransformerOptions options_;
  std::shared_ptr<TokenEmbedding> embedding_;
  torch::nn::Linear projection_{nullptr};  // null if the token vectors have the blocks' width
  torch::Tensor positions_;                // [max_length, hidden]
  std::vector<std::shared_ptr<TransformerBlock>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
};

}  // namespace bilevel
