// One layer of a recurrent network over packed tokens.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace bilevel {

/// rnn: h' = tanh(W x + b + U h + c). lstm and gru: the standard cells with the gate order of PyTorch (i, f,
/// g, o and r, z, n).
enum class RecurrentCell { rnn, lstm, gru };

/// Stacked gates per cell: 1, 4, 3.
int64_t gate_count(RecurrentCell cell);

/// Weights of one direction; G = gate_count * hidden. The layout is that of torch.nn.RNN, LSTM and GRU.
struct RecurrentWeights {
  torch::Tensor input;        ///< [G, in]
  torch::Tensor hidden;       ///< [G, hidden]
  torch::Tensor input_bias;   ///< [G]
  torch::Tensor hidden_bias;  ///< [G]
};

/// Hidden states [N, hidden * directions] from x [N, in], both packed step after step with `step_sizes[t]`
/// rows (non-increasing) at step t. One direction runs forward in time; a second one runs backward, each row
/// from its own last token. States start at zero.
///
/// `twice_differentiable` = false: on the CPU in float32 and float64, a backward pass written by hand (weight
/// gradients in one matrix product over all steps); elsewhere LibTorch's own layer (cuDNN on CUDA), which may
/// refuse a second derivative. The CPU pass recomputes the layer when it is differentiated twice. true: built
/// from elementary operations, each of which can be differentiated any number of times.
torch::Tensor recurrent_layer(RecurrentCell cell, const torch::Tensor& x,
                              const std::vector<int64_t>& step_sizes,
                              const std::vector<RecurrentWeights>& directions, bool twice_differentiable);

}  // namespace bilevel
