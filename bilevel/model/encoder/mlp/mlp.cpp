#include "bilevel/model/encoder/mlp/mlp.h"

#include <fmt/format.h>

#include <cmath>

namespace bilevel {
namespace {

torch::Tensor activate(const std::string& activation, const torch::Tensor& x) {
  if (activation == "gelu") return torch::gelu(x);
  if (activation == "silu") return torch::silu(x);
  return activation == "tanh" ? torch::tanh(x) : torch::relu(x);
}

}  // namespace

EncoderEntry mlp_entry() {
  return {.name = "mlp",
          .summary = "multilayer perceptron, with a linear skip",
          .inputs = {InputKind::dense, InputKind::sparse},
          .make = [] { return std::make_shared<MlpEncoder>(); }};
}

void MlpEncoder::fields(Fields& f) {
  f.integer("hidden", hidden_, kAtLeastOne, "width of every layer");
  f.integer("layers", layers_, kAtLeastOne, "hidden layers, each followed by the activation");
  f.choice("activation", activation_, {"gelu", "silu", "tanh", "relu"}, "after every hidden layer");
  f.number("dropout", dropout_, {.low = 0, .high = 1, .high_open = true}, "after every hidden layer");
  f.flag("linear_skip", linear_skip_, "add a linear map of the input, zero at first, to the outputs");
}

void MlpEncoder::build(const InputShape& input, int64_t) {
  first_ = register_module("layer0", std::make_shared<LinearEncoder>());
  first_->build(input, hidden_);
  first_->reset_uniform(1 / std::sqrt(static_cast<double>(input.width)));
  for (int64_t layer = 1; layer < layers_; ++layer)
    rest_.push_back(register_module(fmt::format("layer{}", layer), torch::nn::Linear(hidden_, hidden_)));
}

torch::Tensor MlpEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  const auto finish = [this](const torch::Tensor& x) {
    return torch::dropout(activate(activation_, x), dropout_, is_training());
  };
  torch::Tensor x = finish(first_->forward(inputs));
  for (torch::nn::Linear& layer : rest_) x = finish(layer->forward(x));
  return x;
}

}  // namespace bilevel
