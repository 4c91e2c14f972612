// Transformer encoder of token sequences.
#pragma once

#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/word_encoder.h"

namespace bilevel {

class TransformerBlock;

/// Token vectors plus positions, `layers` blocks x += attention(norm(x)), x += feed_forward(norm(x)) with
/// GELU, a final norm, and the mean over a row's tokens. Everything but the attention itself runs on real
/// tokens only; attention masks the padding. Positions are a trained vector per place, or sines and cosines of
/// geometric wavelengths (no parameters). Dropout acts on the branches too, never on attention weights.
///
/// `set_twice_differentiable(true)` makes attention of matrix products and a softmax instead of the fused kernel,
/// which LibTorch cannot differentiate twice.
class TransformerEncoder : public WordEncoder {
 public:
  TransformerEncoder() : WordEncoder(2, PackOrder::by_row) {}

  void fields(Fields& f) override;
  void resolve(const InputShape& input) override;
  void build(const InputShape& input, int64_t outputs) override;

 protected:
  torch::Tensor pooled(const PackedTokens& tokens, const torch::Tensor& vectors) override;

 private:
  int64_t heads_ = 4, feed_forward_ = 4;
  std::string positions_ = "learned";
  torch::nn::Linear projection_{nullptr};  // null if the token vectors have the blocks' width
  torch::Tensor places_;                   // [max_length, hidden]
  std::vector<std::shared_ptr<TransformerBlock>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
};

}  // namespace bilevel
