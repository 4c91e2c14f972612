// Linear models on columns or on hashed n-grams.
#pragma once

#include <string>
#include <vector>

#include "bilevel/model/encoder.h"

namespace bilevel {

/// x W + b for dense rows [B, d] or sparse rows (see InputKind). W [width, outputs], which is the layout that
/// sparse rows read fastest; all zeros at first. With sparse rows of hashed n-grams it is the `bag` encoder:
/// one row of W per bucket. Differentiable any number of times.
class LinearEncoder : public Encoder {
 public:
  /// `input`: dense or sparse. Throws InputError for other kinds or sizes below 1.
  LinearEncoder(InputKind input, int64_t width, int64_t outputs, bool bias = true);

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override { return weight_.size(1); }
  std::string twice_differentiable_note() const override;

  /// Draws weights and bias uniformly from +-bound.
  void reset_uniform(double bound);

 private:
  InputKind input_;
  torch::Tensor weight_;  // [width, outputs]
  torch::Tensor bias_;    // [outputs] or undefined
};

}  // namespace bilevel
