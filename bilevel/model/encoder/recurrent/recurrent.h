// Recurrent encoders of token sequences: what rnn (tanh), lstm and gru share.
#pragma once

#include <string>
#include <vector>

#include "bilevel/model/encoder/recurrent/recurrent_kernel.h"
#include "bilevel/model/word_encoder.h"

namespace bilevel {

/// The entry of the encoder with this cell.
EncoderEntry recurrent_entry(const std::string& name, RecurrentCell cell, const std::string& summary);

/// Token vectors, `layers` recurrent layers, pooling over time: the largest of each coordinate, the mean, or the
/// state after the last token (in a bidirectional encoder the second half is then the backward state at the first
/// token). Padding is never computed on: the cost of a batch is its number of tokens, and neither pooling nor the
/// backward direction sees padding. Parameters are named and initialised as in torch.nn.RNN, LSTM and GRU:
/// weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..., with `_reverse` appended for the backward direction;
/// uniform in +-1/sqrt(hidden).
///
/// `set_twice_differentiable(true)` makes steps through time of elementary operations instead of the fused kernel;
/// without it a second derivative recomputes the layer on the CPU and fails on CUDA (cuDNN has none).
class RecurrentEncoder : public WordEncoder {
 public:
  explicit RecurrentEncoder(RecurrentCell cell) : WordEncoder(1, PackOrder::by_step), cell_(cell) {}

  void fields(Fields& f) override;
  void build(const InputShape& input, int64_t outputs) override;

 protected:
  torch::Tensor pooled(const PackedTokens& tokens, const torch::Tensor& vectors) override;
  int64_t width() const override { return hidden_ * (bidirectional_ ? 2 : 1); }

 private:
  RecurrentCell cell_;
  bool bidirectional_ = false;
  std::string pooling_ = "max";
  std::vector<std::vector<RecurrentWeights>>
      weights_;  // [layer][direction]; the registered tensors themselves
};

}  // namespace bilevel
