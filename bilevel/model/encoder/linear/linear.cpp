#include "bilevel/model/encoder/linear/linear.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/model/sparse.h"

namespace bilevel {

EncoderEntry linear_entry() {
  return {.name = "linear",
          .summary = "one weight per column",
          .inputs = {InputKind::dense, InputKind::sparse},
          .linear = true,
          .make = [] { return std::make_shared<LinearEncoder>(); }};
}

void LinearEncoder::build(const InputShape& input, int64_t outputs) {
  input_ = input.kind;
  weight_ = register_parameter("weight", torch::zeros({input.width, outputs}));
  if (has_bias_) bias_ = register_parameter("bias", torch::zeros({outputs}));
}

torch::Tensor LinearEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  if (input_ == InputKind::sparse) {
    const torch::Tensor product = sparse_matmul(inputs, weight_);
    return has_bias_ ? product + bias_ : product;
  }
  if (inputs.size() != 1 || inputs[0].dim() != 2 || inputs[0].size(1) != weight_.size(0)) {
    throw InputError(fmt::format("Dense inputs must be {{x [B,{}]}}.", weight_.size(0)));
  }
  return has_bias_ ? torch::addmm(bias_, inputs[0], weight_) : inputs[0].mm(weight_);
}

void LinearEncoder::reset_uniform(double bound) {
  const torch::NoGradGuard no_grad;
  weight_.uniform_(-bound, bound);
  if (has_bias_) bias_.uniform_(-bound, bound);
}

}  // namespace bilevel
