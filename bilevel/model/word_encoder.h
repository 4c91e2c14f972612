// What encoders of words share: their options, the token vectors, and what follows the pooling.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "bilevel/model/encoder.h"
#include "bilevel/model/tokens.h"

namespace bilevel {

/// Token vectors, what a derived class makes of them (one vector per row), and beside it the mean token vector
/// where that is asked for. Dropout on the result.
class WordEncoder : public Encoder {
 public:
  void fields(Fields& f) override;
  void resolve(const InputShape& input) override;
  /// Makes the token vectors.
  void build(const InputShape& input, int64_t outputs) override;
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) final;
  int64_t features() const final { return width() + (token_mean_ ? *embedding_size_ : 0); }
  torch::Tensor input_weight() const final {
    return *freeze_embedding_ ? torch::Tensor() : embedding_->vectors();
  }
  torch::Tensor input_matrix() const final { return embedding_->vectors(); }

 protected:
  WordEncoder(int64_t layers, PackOrder order) : layers_(layers), order_(order) {}

  /// [B, width()] from the tokens, at least one row, and their vectors [N, embedding_size].
  virtual torch::Tensor pooled(const PackedTokens& tokens, const torch::Tensor& vectors) = 0;
  virtual int64_t width() const { return hidden_; }
  torch::Tensor drop(const torch::Tensor& x) const { return torch::dropout(x, dropout_, is_training()); }

  int64_t hidden_ = 128, layers_, max_length_ = 256;
  std::optional<int64_t> embedding_size_;
  double dropout_ = 0.1;

 private:
  PackOrder order_;
  std::optional<bool> freeze_embedding_;
  bool token_mean_ = false;
  std::shared_ptr<TokenEmbedding> embedding_;
};

}  // namespace bilevel
