#include "bilevel/model/tokens.h"

#include <fmt/format.h>
#include <torch/nn/functional/embedding.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// [B, 1] mask of the rows that have no token.
torch::Tensor empty_rows(const PackedTokens& tokens) { return tokens.lengths.eq(0).unsqueeze(1); }

torch::Tensor pick(const PackedTokens& tokens, const torch::Tensor& values, const torch::Tensor& position) {
  const torch::Tensor row_starts = torch::arange(tokens.rows, tokens.lengths.options()) * tokens.steps;
  const torch::Tensor picked = tokens.padded(values, 0).flatten(0, 1).index_select(0, row_starts + position);
  return picked.masked_fill(empty_rows(tokens), 0);
}

}  // namespace

torch::Tensor PackedTokens::padded(const torch::Tensor& values, double fill) const {
  return torch::full({rows * steps, values.size(1)}, fill, values.options())
      .index_copy(0, slots, values)
      .view({rows, steps, values.size(1)});
}

torch::Tensor PackedTokens::max(const torch::Tensor& values) const {
  const torch::Tensor largest = std::get<0>(padded(values, -std::numeric_limits<double>::infinity()).max(1));
  return largest.masked_fill(empty_rows(*this), 0);
}

torch::Tensor PackedTokens::mean(const torch::Tensor& values) const {
  const torch::Tensor count = lengths.clamp_min(1).to(values.dtype()).unsqueeze(1);
  return (padded(values, 0).sum(1) / count).masked_fill(empty_rows(*this), 0);
}

torch::Tensor PackedTokens::first(const torch::Tensor& values) const {
  return pick(*this, values, torch::zeros_like(lengths));
}

torch::Tensor PackedTokens::last(const torch::Tensor& values) const {
  return pick(*this, values, (lengths - 1).clamp_min(0));
}

PackedTokens pack_tokens(const std::vector<torch::Tensor>& inputs, int64_t max_length, PackOrder order) {
  if (inputs.size() != 2 || inputs[0].dim() != 2 || inputs[1].dim() != 1 ||
      inputs[0].size(0) != inputs[1].size(0) || inputs[0].dtype() != torch::kLong ||
      inputs[1].dtype() != torch::kLong) {
    throw InputError("Token inputs must be {ids [B,T] int64, lengths [B] int64}.");
  }
  const torch::Tensor given = inputs[1].cpu().contiguous();
  const int64_t rows = given.size(0), width = inputs[0].size(1);
  const int64_t* given_lengths = given.data_ptr<int64_t>();
  std::vector<int64_t> lengths(rows);
  for (int64_t row = 0; row < rows; ++row) {
    if (given_lengths[row] < 0 || given_lengths[row] > width) {
      throw InputError(fmt::format("lengths[{}] = {}: must be in [0, {}], the width of ids.", row,
                                   given_lengths[row], width));
    }
    lengths[row] = std::min(given_lengths[row], max_length);
  }

  PackedTokens packed;
  packed.rows = rows;
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  packed.lengths = index_on(inputs[0].device(), lengths);
  const bool keep_one = tokens == 0 && rows > 0;
  if (keep_one) lengths[0] = 1;
  packed.steps = std::max<int64_t>(1, rows == 0 ? 0 : *std::max_element(lengths.begin(), lengths.end()));

  const int64_t count = keep_one ? 1 : tokens;
  const torch::Tensor index = torch::empty({3, count}, torch::kLong);  // positions, slots, places in `ids`
  int64_t* positions = index.data_ptr<int64_t>();
  int64_t* slots = positions + count;
  int64_t* places = slots + count;
  int64_t at = 0;
  const auto add = [&](int64_t row, int64_t position) {
    positions[at] = position;
    slots[at] = row * packed.steps + position;
    places[at] = row * width + position;
    ++at;
  };
  if (order == PackOrder::by_row) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t position = 0; position < lengths[row]; ++position) add(row, position);
    }
  } else {
    std::vector<int64_t> longest_first(rows);
    std::iota(longest_first.begin(), longest_first.end(), int64_t{0});
    std::stable_sort(longest_first.begin(), longest_first.end(),
                     [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    int64_t reached = rows;
    for (int64_t step = 0; step < packed.steps; ++step) {
      while (reached > 0 && lengths[longest_first[reached - 1]] <= step) --reached;
      for (int64_t i = 0; i < reached; ++i) add(longest_first[i], step);
      packed.step_sizes.push_back(reached);
    }
  }

  const torch::Tensor moved = to_device(index, inputs[0].device());
  packed.positions = moved[0];
  packed.slots = moved[1];
  packed.ids =
      width == 0 ? torch::zeros({count}, inputs[0].options()) : inputs[0].flatten().index_select(0, moved[2]);
  if (keep_one) packed.ids = torch::zeros_like(packed.ids);
  return packed;
}

TokenEmbedding::TokenEmbedding(int64_t vocabulary, int64_t width, const torch::Tensor& pretrained,
                               bool frozen) {
  if (vocabulary < 1) throw InputError(fmt::format("vocabulary = {}: must be at least 1.", vocabulary));
  if (width < 1) throw InputError(fmt::format("embedding_size = {}: must be at least 1.", width));
  torch::Tensor weight;
  if (pretrained.defined()) {
    if (pretrained.dim() != 2 || pretrained.size(0) != vocabulary || pretrained.size(1) != width) {
      throw InputError(
          fmt::format("pretrained embedding: has shape {}, but must be [{}, {}] = [vocabulary, width].",
                      c10::str(pretrained.sizes()), vocabulary, width));
    }
    weight = pretrained.detach().to(torch::get_default_dtype()).clone();
  } else {
    weight = torch::randn({vocabulary, width}) * 0.1;
  }
  weight[0].zero_();
  weight_ = frozen ? register_buffer("weight", weight) : register_parameter("weight", weight);
}

torch::Tensor TokenEmbedding::forward(const torch::Tensor& ids) {
  return torch::embedding(weight_, ids, /*padding_idx=*/0);
}

}  // namespace bilevel
