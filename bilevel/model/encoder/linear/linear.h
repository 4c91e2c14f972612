// Linear models on columns or on hashed n-grams.
#pragma once

#include <vector>

#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry linear_entry();

/// x W + b for dense rows [B, d] or sparse rows (see InputKind). W [width, outputs], which is the layout that
/// sparse rows read fastest; all zeros at first. With sparse rows of hashed n-grams it is the `bag` encoder:
/// one row of W per bucket. Differentiable any number of times.
class LinearEncoder : public Encoder {
 public:
  explicit LinearEncoder(bool bias = true) : has_bias_(bias) {}

  void build(const InputShape& input, int64_t outputs) override;
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override { return weight_.size(1); }
  torch::Tensor input_weight() const override { return weight_; }

  /// Draws weights and bias uniformly from +-bound.
  void reset_uniform(double bound);

 private:
  bool has_bias_;
  InputKind input_ = InputKind::dense;
  torch::Tensor weight_;  // [width, outputs]
  torch::Tensor bias_;    // [outputs] or undefined
};

}  // namespace bilevel
