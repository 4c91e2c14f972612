#include "bilevel/model/word_encoder.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"

namespace bilevel {

void WordEncoder::fields(Fields& f) {
  f.integer("hidden", hidden_, kAtLeastOne, "width of every layer");
  f.integer("layers", layers_, kAtLeastOne, "number of layers");
  f.integer("embedding_size", embedding_size_, kAtLeastOne, "width of the token vectors")
      .or_else("that of pretrained vectors, else 128");
  f.flag("freeze_embedding", freeze_embedding_, "token vectors stay as they are (no parameters)")
      .or_else("true with pretrained vectors");
  f.integer("max_length", max_length_, kAtLeastOne, "tokens of a row after this many are ignored");
  f.number("dropout", dropout_, {.low = 0, .high = 1, .high_open = true},
           "on the token vectors, between layers, on the result");
  f.flag("token_mean", token_mean_, "the mean token vector is part of the features");
}

void WordEncoder::resolve(const InputShape& input) {
  const bool given = input.pretrained.defined();
  if (!freeze_embedding_) freeze_embedding_ = given;
  if (!embedding_size_) embedding_size_ = given ? input.pretrained.size(1) : 128;
  if (given && *embedding_size_ != input.pretrained.size(1)) {
    throw InputError(fmt::format("embedding_size = {}: the pretrained vectors have width {}.",
                                 *embedding_size_, input.pretrained.size(1)));
  }
}

void WordEncoder::build(const InputShape& input, int64_t) {
  embedding_ = register_module(
      "embedding",
      std::make_shared<TokenEmbedding>(input.width, *embedding_size_, input.pretrained, *freeze_embedding_));
}

torch::Tensor WordEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  const PackedTokens tokens = pack_tokens(inputs, max_length_, order_);
  const torch::Tensor vectors = embedding_->forward(tokens.ids);
  if (tokens.rows == 0) return vectors.new_zeros({0, features()});
  const torch::Tensor result = pooled(tokens, vectors);
  return drop(token_mean_ ? torch::cat({result, tokens.mean(vectors)}, 1) : result);
}

}  // namespace bilevel
