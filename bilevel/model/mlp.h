// Multilayer perceptron on columns or sparse rows.
#pragma once

#include <torch/nn/modules/linear.h>

#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/encoder.h"
#include "bilevel/model/linear.h"

namespace bilevel {

/// relu has no second derivative at 0 and none but 0 elsewhere; the others are smooth.
enum class Activation { gelu, silu, tanh, relu };

/// "gelu", "silu", "tanh" or "relu", and back. `activation_from_string` throws InputError naming the field
/// `activation`.
std::string to_string(Activation activation);
Activation activation_from_string(const std::string& name);

struct MlpOptions {
  InputKind input = InputKind::dense;  ///< dense or sparse
  int64_t width = 0;                   ///< columns of the input
  int64_t hidden = 128;                ///< width of every layer
  int64_t layers = 2;                  ///< number of hidden layers, each followed by the activation
  Activation activation = Activation::gelu;
  double dropout = 0.0;  ///< in [0,1): after every hidden layer
};

/// `layers` times: affine map, activation, dropout. Affine maps are initialised uniformly in
/// +-1/sqrt(inputs).
class MlpEncoder : public Encoder {
 public:
  /// Throws InputError naming the field for sizes below 1, dropout outside of [0,1), or token inputs.
  explicit MlpEncoder(const MlpOptions& options);

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override { return options_.hidden; }
  std::string twice_differentiable_note() const override;

 private:
  MlpOptions options_;
  std::shared_ptr<LinearEncoder> first_;
  std::vector<torch::nn::Linear> rest_;
};

}  // namespace bilevel
