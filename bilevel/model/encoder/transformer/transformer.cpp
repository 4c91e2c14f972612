#include "bilevel/model/encoder/transformer/transformer.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"

namespace bilevel {

EncoderEntry transformer_entry() {
  return {.name = "transformer",
          .summary = "norm-first transformer over tokens, mean over time",
          .reads = Reads::words,
          .inputs = {InputKind::tokens},
          .delicate = true,
          .make = [] { return std::make_shared<TransformerEncoder>(); }};
}

/// One norm-first block on packed tokens [N, hidden].
class TransformerBlock : public torch::nn::Module {
 public:
  TransformerBlock(int64_t hidden, int64_t heads, int64_t feed_forward, double dropout)
      : hidden_(hidden),
        heads_(heads),
        dropout_(dropout),
        attention_norm_(
            register_module("attention_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden})))),
        attention_in_(register_module("attention_in", torch::nn::Linear(hidden, 3 * hidden))),
        attention_out_(register_module("attention_out", torch::nn::Linear(hidden, hidden))),
        feed_forward_norm_(register_module("feed_forward_norm",
                                           torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden})))),
        feed_forward_in_(
            register_module("feed_forward_in", torch::nn::Linear(hidden, feed_forward * hidden))),
        feed_forward_out_(
            register_module("feed_forward_out", torch::nn::Linear(feed_forward * hidden, hidden))) {}

  /// `keys` [B,1,1,steps] bool: the places that may be attended to; undefined if all may.
  torch::Tensor forward(const torch::Tensor& x, const PackedTokens& tokens, const torch::Tensor& keys,
                        bool twice_differentiable) {
    const auto drop = [this](const torch::Tensor& branch) {
      return torch::dropout(branch, dropout_, is_training());
    };
    const torch::Tensor attended =
        x + drop(attention_out_->forward(attention(attention_in_->forward(attention_norm_->forward(x)),
                                                   tokens, keys, twice_differentiable)));
    const torch::Tensor inner = torch::gelu(feed_forward_in_->forward(feed_forward_norm_->forward(attended)));
    return attended + drop(feed_forward_out_->forward(inner));
  }

 private:
  /// [N, hidden] from queries, keys and values side by side [N, 3 hidden].
  torch::Tensor attention(const torch::Tensor& projected, const PackedTokens& tokens,
                          const torch::Tensor& keys, bool twice_differentiable) const {
    const int64_t width = hidden_ / heads_;
    const std::vector<torch::Tensor> qkv = in_rows(projected, tokens)
                                               .view({tokens.rows, tokens.steps, 3, heads_, width})
                                               .permute({2, 0, 3, 1, 4})
                                               .unbind(0);  // 3 of [B, heads, steps, width]
    torch::Tensor mixed;
    if (twice_differentiable) {
      torch::Tensor scores = qkv[0].matmul(qkv[1].transpose(2, 3)) / std::sqrt(static_cast<double>(width));
      if (keys.defined())
        scores = scores.masked_fill(keys.logical_not(), -std::numeric_limits<double>::infinity());
      mixed = torch::softmax(scores, 3).matmul(qkv[2]);
    } else {
      mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2],
                                               keys.defined() ? std::make_optional(keys) : std::nullopt);
    }
    const torch::Tensor rows = mixed.transpose(1, 2).reshape({tokens.rows * tokens.steps, hidden_});
    return tokens.full() ? rows : rows.index_select(0, tokens.slots);
  }

  static torch::Tensor in_rows(const torch::Tensor& values, const PackedTokens& tokens) {
    return tokens.full() ? values.view({tokens.rows, tokens.steps, -1}) : tokens.padded(values, 0);
  }

  int64_t hidden_, heads_;
  double dropout_;
  torch::nn::LayerNorm attention_norm_;
  torch::nn::Linear attention_in_, attention_out_;
  torch::nn::LayerNorm feed_forward_norm_;
  torch::nn::Linear feed_forward_in_, feed_forward_out_;
};

namespace {

torch::Tensor sinusoidal_positions(int64_t length, int64_t width) {
  const torch::Tensor position = torch::arange(length, torch::kDouble).unsqueeze(1);
  const torch::Tensor frequency = torch::exp(torch::arange(0, width, 2, torch::kDouble) *
                                             (-std::log(10000.0) / static_cast<double>(width)));
  const torch::Tensor angle = position * frequency;
  return torch::stack({torch::sin(angle), torch::cos(angle)}, 2).flatten(1).to(torch::get_default_dtype());
}

}  // namespace

void TransformerEncoder::fields(Fields& f) {
  WordEncoder::fields(f);
  f.integer("heads", heads_, kAtLeastOne, "attention heads; must divide hidden");
  f.integer("feed_forward", feed_forward_, kAtLeastOne,
            "width of the feed-forward part, in multiples of hidden");
  f.choice("positions", positions_, {"learned", "sinusoidal"}, "where a token stands");
}

void TransformerEncoder::resolve(const InputShape& input) {
  WordEncoder::resolve(input);
  if (hidden_ % heads_ != 0)
    throw InputError(fmt::format("heads = {}: must divide hidden = {}.", heads_, hidden_));
  if (positions_ == "sinusoidal" && hidden_ % 2 != 0)
    throw InputError(fmt::format("hidden = {}: must be even for sinusoidal positions.", hidden_));
}

void TransformerEncoder::build(const InputShape& input, int64_t outputs) {
  WordEncoder::build(input, outputs);
  if (*embedding_size_ != hidden_)
    projection_ = register_module("projection", torch::nn::Linear(*embedding_size_, hidden_));
  places_ = positions_ == "learned"
                ? register_parameter("positions", torch::randn({max_length_, hidden_}) * 0.02)
                : register_buffer("positions", sinusoidal_positions(max_length_, hidden_));
  for (int64_t layer = 0; layer < layers_; ++layer) {
    blocks_.push_back(
        register_module(fmt::format("block{}", layer),
                        std::make_shared<TransformerBlock>(hidden_, heads_, feed_forward_, dropout_)));
  }
  norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden_})));
}

torch::Tensor TransformerEncoder::pooled(const PackedTokens& tokens, const torch::Tensor& vectors) {
  torch::Tensor x = projection_.is_empty() ? vectors : projection_->forward(vectors);
  x = drop(x + places_.index_select(0, tokens.positions));
  torch::Tensor keys;
  if (!tokens.full()) {
    // A row without tokens attends to its first place, so that no softmax is over nothing; its result is not
    // used.
    keys = torch::arange(tokens.steps, tokens.lengths.options()).lt(tokens.lengths.clamp_min(1).unsqueeze(1));
    keys = keys.unsqueeze(1).unsqueeze(1);
  }
  for (const auto& block : blocks_) x = block->forward(x, tokens, keys, twice_differentiable());
  return tokens.mean(norm_->forward(x));
}

}  // namespace bilevel
