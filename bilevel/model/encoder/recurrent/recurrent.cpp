#include "bilevel/model/encoder/recurrent/recurrent.h"

#include <fmt/format.h>

#include <cmath>

namespace bilevel {

EncoderEntry recurrent_entry(const std::string& name, RecurrentCell cell, const std::string& summary) {
  return {.name = name,
          .summary = summary + " over tokens, pooled over time",
          .reads = Reads::words,
          .inputs = {InputKind::tokens},
          .make = [cell] { return std::make_shared<RecurrentEncoder>(cell); }};
}

void RecurrentEncoder::fields(Fields& f) {
  WordEncoder::fields(f);
  f.flag("bidirectional", bidirectional_, "read backward as well");
  f.choice("pooling", pooling_, {"max", "mean", "last"}, "how the states of a row become one vector");
}

void RecurrentEncoder::build(const InputShape& input, int64_t outputs) {
  WordEncoder::build(input, outputs);
  const int64_t directions = bidirectional_ ? 2 : 1;
  const int64_t gates = gate_count(cell_) * hidden_;
  const double bound = 1 / std::sqrt(static_cast<double>(hidden_));
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const int64_t inputs = layer == 0 ? *embedding_size_ : hidden_ * directions;
    weights_.emplace_back();
    for (int64_t direction = 0; direction < directions; ++direction) {
      const std::string suffix = fmt::format("_l{}{}", layer, direction == 1 ? "_reverse" : "");
      const auto uniform = [&](const char* name, at::IntArrayRef shape) {
        return register_parameter(name + suffix, torch::empty(shape).uniform_(-bound, bound));
      };
      RecurrentWeights& weights = weights_.back().emplace_back();
      weights.input = uniform("weight_ih", {gates, inputs});
      weights.hidden = uniform("weight_hh", {gates, hidden_});
      weights.input_bias = uniform("bias_ih", {gates});
      weights.hidden_bias = uniform("bias_hh", {gates});
    }
  }
}

torch::Tensor RecurrentEncoder::pooled(const PackedTokens& tokens, const torch::Tensor& vectors) {
  torch::Tensor x = vectors;
  for (const std::vector<RecurrentWeights>& layer : weights_)
    x = recurrent_layer(cell_, drop(x), tokens.step_sizes, layer, twice_differentiable());
  if (pooling_ == "max") return tokens.max(x);
  if (pooling_ == "mean") return tokens.mean(x);
  if (!bidirectional_) return tokens.last(x);
  return torch::cat({tokens.last(x.narrow(1, 0, hidden_)), tokens.first(x.narrow(1, hidden_, hidden_))}, 1);
}

}  // namespace bilevel
