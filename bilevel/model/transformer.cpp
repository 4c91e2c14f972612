#include "bilevel/model/transformer.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"

namespace bilevel {

std::string to_string(Positions positions) {
  return positions == Positions::learned ? "learned" : "sinusoidal";
}

Positions positions_from_string(const std::string& name) {
  for (const Positions positions : {Positions::learned, Positions::sinusoidal}) {
    if (to_string(positions) == name) return positions;
  }
  throw InputError(fmt::format("positions = '{}': must be learned or sinusoidal.", name));
}

/// One norm-first block on packed tokens [N, hidden].
class TransformerBlock : public torch::nn::Module {
 public:
  explicit TransformerBlock(const TransformerOptions& options)
      : hidden_(options.hidden),
        heads_(options.heads),
        dropout_(options.dropout),
        attention_norm_(register_module("attention_norm",
                                        torch::nn::LayerNorm(torch::nn::LayerNormOptions({options.hidden})))),
        attention_in_(register_module("attention_in", torch::nn::Linear(options.hidden, 3 * options.hidden))),
        attention_out_(register_module("attention_out", torch::nn::Linear(options.hidden, options.hidden))),
        feed_forward_norm_(register_module(
            "feed_forward_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({options.hidden})))),
        feed_forward_in_(register_module(
            "feed_forward_in", torch::nn::Linear(options.hidden, options.feed_forward * options.hidden))),
        feed_forward_out_(register_module(
            "feed_forward_out", torch::nn::Linear(options.feed_forward * options.hidden, options.hidden))) {}

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

TransformerEncoder::TransformerEncoder(const TransformerOptions& options) : options_(options) {
  check_at_least("hidden", options.hidden, 1);
  check_at_least("layers", options.layers, 1);
  check_at_least("heads", options.heads, 1);
  check_at_least("feed_forward", options.feed_forward, 1);
  check_at_least("max_length", options.max_length, 1);
  check_dropout(options.dropout);
  if (options.hidden % options.heads != 0) {
    throw InputError(fmt::format("heads = {}: must divide hidden = {}.", options.heads, options.hidden));
  }
  if (options.positions == Positions::sinusoidal && options.hidden % 2 != 0) {
    throw InputError(fmt::format("hidden = {}: must be even for sinusoidal positions.", options.hidden));
  }
  embedding_ = register_module(
      "embedding", std::make_shared<TokenEmbedding>(options.vocabulary, options.embedding_size,
                                                    options.pretrained, options.freeze_embedding));
  options_.pretrained.reset();
  if (options.embedding_size != options.hidden) {
    projection_ = register_module("projection", torch::nn::Linear(options.embedding_size, options.hidden));
  }
  positions_ =
      options.positions == Positions::learned
          ? register_parameter("positions", torch::randn({options.max_length, options.hidden}) * 0.02)
          : register_buffer("positions", sinusoidal_positions(options.max_length, options.hidden));
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    blocks_.push_back(
        register_module(fmt::format("block{}", layer), std::make_shared<TransformerBlock>(options)));
  }
  norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({options.hidden})));
}

torch::Tensor TransformerEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  const PackedTokens tokens = pack_tokens(inputs, options_.max_length, PackOrder::by_row);
  torch::Tensor x = embedding_->forward(tokens.ids);
  if (tokens.rows == 0) return x.new_zeros({0, features()});
  const torch::Tensor vectors = x;
  const auto drop = [this](const torch::Tensor& y) {
    return torch::dropout(y, options_.dropout, is_training());
  };
  if (!projection_.is_empty()) x = projection_->forward(x);
  x = drop(x + positions_.index_select(0, tokens.positions));
  torch::Tensor keys;
  if (!tokens.full()) {
    // A row without tokens attends to its first place, so that no softmax is over nothing; its result is not
    // used.
    keys = torch::arange(tokens.steps, tokens.lengths.options()).lt(tokens.lengths.clamp_min(1).unsqueeze(1));
    keys = keys.unsqueeze(1).unsqueeze(1);
  }
  for (const auto& block : blocks_) x = block->forward(x, tokens, keys, twice_differentiable());
  const torch::Tensor pooled = tokens.mean(norm_->forward(x));
  return drop(options_.token_mean ? torch::cat({pooled, tokens.mean(vectors)}, 1) : pooled);
}

std::string TransformerEncoder::twice_differentiable_note() const {
  return "Attention is made of matrix products and a softmax instead of the fused kernel, which LibTorch "
         "cannot "
         "differentiate twice.";
}

}  // namespace bilevel
