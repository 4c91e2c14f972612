// Recurrent encoders of token sequences: rnn (tanh), lstm, gru.
#pragma once

#include <string>
#include <vector>

#include "bilevel/model/encoder.h"
#include "bilevel/model/recurrent_kernel.h"
#include "bilevel/model/tokens.h"

namespace bilevel {

/// How the states of a sequence become one vector: the largest of each coordinate, the mean, or the state
/// after the last token (in a bidirectional encoder the second half is then the backward state at the first
/// token).
enum class Pooling { max, mean, last };

/// "max", "mean" or "last", and back. `pooling_from_string` throws InputError naming the field `pooling`.
std::string to_string(Pooling pooling);
Pooling pooling_from_string(const std::string& name);

struct RecurrentOptions {
  RecurrentCell cell = RecurrentCell::lstm;
  int64_t vocabulary = 0;         ///< token ids are in [0, vocabulary), 0 is padding
  int64_t embedding_size = 128;   ///< width of the token vectors
  torch::Tensor pretrained{};     ///< optional token vectors [vocabulary, embedding_size]
  bool freeze_embedding = false;  ///< token vectors are a buffer, not a parameter
  int64_t hidden = 128;           ///< width of the state, per direction
  int64_t layers = 1;
  bool bidirectional = false;
  Pooling pooling = Pooling::max;
  double dropout = 0.0;      ///< in [0,1): on the token vectors, between layers, on the result
  int64_t max_length = 256;  ///< later tokens are ignored
  bool token_mean = false;   ///< the mean of the row's token vectors follows the pooled states in the result
};

/// Token vectors, `layers` recurrent layers, pooling over time. Padding is never computed on: the cost of a
/// batch is its number of tokens, and neither pooling nor the backward direction sees padding. Parameters are
/// named and initialised as in torch.nn.RNN, LSTM and GRU: weight_ih_l0, weight_hh_l0, bias_ih_l0,
/// bias_hh_l0, ..., with `_reverse` appended for the backward direction; uniform in +-1/sqrt(hidden).
class RecurrentEncoder : public Encoder {
 public:
  /// Throws InputError naming the field for sizes below 1 or dropout outside of [0,1).
  explicit RecurrentEncoder(const RecurrentOptions& options);

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override;
  std::string twice_differentiable_note() const override;

 private:
  RecurrentOptions options_;
  std::shared_ptr<TokenEmbedding> embedding_;
  std::vector<std::vector<RecurrentWeights>>
      layers_;  // [layer][direction]; the registered tensors themselves
};

}  // namespace bilevel
