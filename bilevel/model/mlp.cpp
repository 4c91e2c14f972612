#include "bilevel/model/mlp.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"

namespace bilevel {
namespace {

torch::Tensor activate(Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case Activation::gelu:
      return torch::gelu(x);
    case Activation::silu:
      return torch::silu(x);
    case Activation::tanh:
      return torch::tanh(x);
    case Activation::relu:
      break;
  }
  return torch::relu(x);
}

}  // namespace

std::string to_string(Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return "gelu";
    case Activation::silu:
      return "silu";
    case Activation::tanh:
      return "tanh";
    case Activation::relu:
      break;
  }
  return "relu";
}

Activation activation_from_string(const std::string& name) {
  for (const Activation activation :
       {Activation::gelu, Activation::silu, Activation::tanh, Activation::relu}) {
    if (to_string(activation) == name) return activation;
  }
  throw InputError(fmt::format("activation = '{}': must be gelu, silu, tanh or relu.", name));
}

MlpEncoder::MlpEncoder(const MlpOptions& options) : options_(options) {
  check_at_least("hidden", options.hidden, 1);
  check_at_least("layers", options.layers, 1);
  check_dropout(options.dropout);
  first_ = register_module("layer0",
                           std::make_shared<LinearEncoder>(options.input, options.width, options.hidden));
  first_->reset_uniform(1 / std::sqrt(static_cast<double>(options.width)));
  for (int64_t layer = 1; layer < options.layers; ++layer) {
    rest_.push_back(
        register_module(fmt::format("layer{}", layer), torch::nn::Linear(options.hidden, options.hidden)));
  }
}

torch::Tensor MlpEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  const auto finish = [this](const torch::Tensor& x) {
    return torch::dropout(activate(options_.activation, x), options_.dropout, is_training());
  };
  torch::Tensor x = finish(first_->forward(inputs));
  for (torch::nn::Linear& layer : rest_) x = finish(layer->forward(x));
  return x;
}

std::string MlpEncoder::twice_differentiable_note() const {
  return "Nothing changes: its kernels can be differentiated any number of times.";
}

}  // namespace bilevel
