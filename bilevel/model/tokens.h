// Shared by the token encoders: the embedding table, and the layout that leaves the padding out.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace bilevel {

/// Order of the tokens in a `PackedTokens`: row after row, or time step after time step with the longest row
/// first (what recurrent layers read).
enum class PackOrder { by_row, by_step };

/// The N tokens of a padded batch without its padding, so that no layer computes on padding. A batch without
/// any token keeps one padding token, so that every parameter stays in the graph (its gradient is zero).
struct PackedTokens {
  int64_t rows = 0;                 ///< B
  int64_t steps = 0;                ///< tokens of the longest row, at least 1
  torch::Tensor ids;                ///< [N] int64
  torch::Tensor positions;          ///< [N] int64: place within the row, from 0
  torch::Tensor slots;              ///< [N] int64: row * steps + position
  torch::Tensor lengths;            ///< [B] int64: tokens of each row
  std::vector<int64_t> step_sizes;  ///< [steps]: rows that reach each step (for by_step)

  /// True if every row has `steps` tokens.
  bool full() const { return slots.size(0) == rows * steps; }

  /// [B, steps, width] from one vector per token [N, width]; padding places hold `fill`.
  torch::Tensor padded(const torch::Tensor& values, double fill) const;

  /// [B, width]: the largest, mean or last value of each row's tokens, from [N, width]. Rows without tokens
  /// give 0.
  torch::Tensor max(const torch::Tensor& values) const;
  torch::Tensor mean(const torch::Tensor& values) const;
  torch::Tensor first(const torch::Tensor& values) const;
  torch::Tensor last(const torch::Tensor& values) const;
};

/// Packs `inputs` = {ids [B,T], lengths [B]}. Tokens past `max_length` are left out. Throws InputError if the
/// shapes or dtypes are not those, or a length is not in [0,T]. Cost: one pass over the tokens on the CPU,
/// whatever the device; lengths that lie on the CPU beside ids on a device save a wait for it.
PackedTokens pack_tokens(const std::vector<torch::Tensor>& inputs, int64_t max_length, PackOrder order);

/// A table [vocabulary, width] with one vector per token id. Id 0 is padding: its vector is zero and gets no
/// gradient.
class TokenEmbedding : public torch::nn::Module {
 public:
  /// Draws the vectors from N(0, 0.1^2), or copies `pretrained` [vocabulary, width] (may be undefined) with
  /// its row 0 set to zero. `frozen`: a buffer instead of a parameter. Throws InputError for sizes below 1 or
  /// a matrix of another shape.
  TokenEmbedding(int64_t vocabulary, int64_t width, const torch::Tensor& pretrained, bool frozen);

  /// [N, width] from ids [N] int64 in [0, vocabulary). Throws c10::IndexError outside of it.
  torch::Tensor forward(const torch::Tensor& ids);

  int64_t width() const { return weight_.size(1); }
  const torch::Tensor& vectors() const { return weight_; }

 private:
  torch::Tensor weight_;
};

}  // namespace bilevel
