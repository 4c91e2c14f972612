#include "bilevel/model/recurrent.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"

namespace bilevel {

std::string to_string(Pooling pooling) {
  return pooling == Pooling::max ? "max" : pooling == Pooling::mean ? "mean" : "last";
}

Pooling pooling_from_string(const std::string& name) {
  for (const Pooling pooling : {Pooling::max, Pooling::mean, Pooling::last}) {
    if (to_string(pooling) == name) return pooling;
  }
  throw InputError(fmt::format("pooling = '{}': must be max, mean or last.", name));
}

RecurrentEncoder::RecurrentEncoder(const RecurrentOptions& options) : options_(options) {
  check_at_least("hidden", options.hidden, 1);
  check_at_least("layers", options.layers, 1);
  check_at_least("max_length", options.max_length, 1);
  check_dropout(options.dropout);
  embedding_ = register_module(
      "embedding", std::make_shared<TokenEmbedding>(options.vocabulary, options.embedding_size,
                                                    options.pretrained, options.freeze_embedding));
  options_.pretrained.reset();
  const int64_t directions = options.bidirectional ? 2 : 1;
  const int64_t gates = gate_count(options.cell) * options.hidden;
  const double bound = 1 / std::sqrt(static_cast<double>(options.hidden));
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    const int64_t width = layer == 0 ? options.embedding_size : options.hidden * directions;
    layers_.emplace_back();
    for (int64_t direction = 0; direction < directions; ++direction) {
      const std::string suffix = fmt::format("_l{}{}", layer, direction == 1 ? "_reverse" : "");
      const auto uniform = [&](const char* name, at::IntArrayRef shape) {
        return register_parameter(name + suffix, torch::empty(shape).uniform_(-bound, bound));
      };
      RecurrentWeights& weights = layers_.back().emplace_back();
      weights.input = uniform("weight_ih", {gates, width});
      weights.hidden = uniform("weight_hh", {gates, options.hidden});
      weights.input_bias = uniform("bias_ih", {gates});
      weights.hidden_bias = uniform("bias_hh", {gates});
    }
  }
}

int64_t RecurrentEncoder::features() const {
  return options_.hidden * (options_.bidirectional ? 2 : 1) +
         (options_.token_mean ? options_.embedding_size : 0);
}

torch::Tensor RecurrentEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  const PackedTokens tokens = pack_tokens(inputs, options_.max_length, PackOrder::by_step);
  const auto drop = [this](const torch::Tensor& x) {
    return torch::dropout(x, options_.dropout, is_training());
  };
  torch::Tensor x = embedding_->forward(tokens.ids);
  if (tokens.rows == 0) return x.new_zeros({0, features()});
  const torch::Tensor vectors = x;
  const auto result = [&](const torch::Tensor& pooled) {
    return drop(options_.token_mean ? torch::cat({pooled, tokens.mean(vectors)}, 1) : pooled);
  };
  for (const std::vector<RecurrentWeights>& layer : layers_) {
    x = recurrent_layer(options_.cell, drop(x), tokens.step_sizes, layer, twice_differentiable());
  }
  if (options_.pooling == Pooling::max) return result(tokens.max(x));
  if (options_.pooling == Pooling::mean) return result(tokens.mean(x));
  if (!options_.bidirectional) return result(tokens.last(x));
  return result(torch::cat({tokens.last(x.narrow(1, 0, options_.hidden)),
                            tokens.first(x.narrow(1, options_.hidden, options_.hidden))},
                           1));
}

std::string RecurrentEncoder::twice_differentiable_note() const {
  return "Steps through time are made of elementary operations instead of the fused kernel; without it a "
         "second "
         "derivative recomputes the layer on the CPU and fails on CUDA (cuDNN has none).";
}

}  // namespace bilevel
