// What every model that turns a batch of inputs into feature vectors looks like. Encoders know no solver, no
// task and no file.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// How a batch of B inputs is laid out in tensors:
/// - `tokens`: {ids [B,T] int64, padded at the end of a row with 0; lengths [B] int64, each in [0,T]};
/// - `dense`:  {x [B,d], floating point};
/// - `sparse`: {indices [nnz] int64 in [0,d); values [nnz], floating point; offsets [B+1] int64}: compressed
/// sparse rows,
///   row i holds the entries offsets[i] .. offsets[i+1]-1. Indices may repeat within a row (their values add
///   up).
enum class InputKind { tokens, dense, sparse };

/// "tokens", "dense" or "sparse".
std::string to_string(InputKind kind);

/// The kind with that name. Throws InputError naming `field`.
InputKind input_kind_from_string(const std::string& name, const std::string& field = "kind");

/// A module that maps a batch of inputs to one feature vector per row. Computes in the dtype of its
/// parameters (float32 or float64) on their device. No copy of a parameter outlives a call, so parameters may
/// be re-pointed at any time
/// (`set_data`), for instance to views of one flat buffer.
class Encoder : public torch::nn::Module {
 public:
  /// [B, features()] from the tensors of one input kind. A row's result does not depend on the other rows or
  /// on padding (dropout aside); a row without tokens or entries gives what zeros give, never NaN.
  virtual torch::Tensor forward(const std::vector<torch::Tensor>& inputs) = 0;

  /// Width of the result.
  virtual int64_t features() const = 0;

  /// Chooses between the fast kernels (false, the default) and kernels that are made for differentiating
  /// twice (true). The values are the same up to rounding.
  void set_twice_differentiable(bool on) { twice_differentiable_ = on; }
  bool twice_differentiable() const { return twice_differentiable_; }

  /// One sentence: what `set_twice_differentiable(true)` changes, and what a second derivative meets without
  /// it.
  virtual std::string twice_differentiable_note() const = 0;

 private:
  bool twice_differentiable_ = false;
};

}  // namespace bilevel
