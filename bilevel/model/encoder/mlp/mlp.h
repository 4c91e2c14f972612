// Multilayer perceptron on columns or sparse rows.
#pragma once

#include <torch/nn/modules/linear.h>

#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/encoder.h"
#include "bilevel/model/encoder/linear/linear.h"

namespace bilevel {

/// `layers` times: affine map, activation, dropout. Affine maps are initialised uniformly in
/// +-1/sqrt(inputs). The activation relu has no second derivative at 0 and none but 0 elsewhere; the others are
/// smooth.
class MlpEncoder : public Encoder {
 public:
  void fields(Fields& f) override;
  void build(const InputShape& input, int64_t outputs) override;
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override { return hidden_; }
  torch::Tensor input_weight() const override { return first_->input_weight(); }
  bool linear_skip() const override { return linear_skip_; }

 private:
  int64_t hidden_ = 128, layers_ = 2;
  std::string activation_ = "gelu";
  double dropout_ = 0.1;
  bool linear_skip_ = true;
  std::shared_ptr<LinearEncoder> first_;
  std::vector<torch::nn::Linear> rest_;
};

}  // namespace bilevel
