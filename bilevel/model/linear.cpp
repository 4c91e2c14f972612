#include "bilevel/model/linear.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"
#include "bilevel/model/sparse.h"

namespace bilevel {

LinearEncoder::LinearEncoder(InputKind input, int64_t width, int64_t outputs, bool bias) : input_(input) {
  if (input == InputKind::tokens)
    throw InputError("kind = 'tokens': a linear model reads dense or sparse rows.");
  check_at_least("width", width, 1);
  check_at_least("outputs", outputs, 1);
  weight_ = register_parameter("weight", torch::zeros({width, outputs}));
  if (bias) bias_ = register_parameter("bias", torch::zeros({outputs}));
}

torch::Tensor LinearEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  if (input_ == InputKind::sparse) {
    const torch::Tensor product = sparse_matmul(inputs, weight_);
    return bias_.defined() ? product + bias_ : product;
  }
  if (inputs.size() != 1 || inputs[0].dim() != 2 || inputs[0].size(1) != weight_.size(0)) {
    throw InputError(fmt::format("Dense inputs must be {{x [B,{}]}}.", weight_.size(0)));
  }
  return bias_.defined() ? torch::addmm(bias_, inputs[0], weight_) : inputs[0].mm(weight_);
}

std::string LinearEncoder::twice_differentiable_note() const {
  return "Nothing changes: its only kernel can be differentiated any number of times.";
}

void LinearEncoder::reset_uniform(double bound) {
  const torch::NoGradGuard no_grad;
  weight_.uniform_(-bound, bound);
  if (bias_.defined()) bias_.uniform_(-bound, bound);
}

}  // namespace bilevel
