// One level's variable as one flat tensor, of which the modules' parameters are views.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// The parameters of a level, bound to one contiguous 1-D buffer: each given tensor becomes a view of its
/// part, so a step is tensor algebra on `flat()` and the modules see the new values at once. The given
/// tensors stay leaves with gradients of their own. Binding copies the present values; order is the given
/// order.
///
/// Some operations replace a parameter's storage in silence (`module.to(...)`, loading weights). `check()`
/// notices: a tensor of unchanged dtype, device and shape is bound again with its new values; otherwise
/// InputError.
///
/// The end of the object gives the tensors back: each then has storage of its own, as large as itself, with the last
/// values. One that has been bound elsewhere in the meantime is left alone. Cost: one copy.
class Parameters {
 public:
  /// Binds `tensors`. `names` is empty or has one name per tensor, `level` ("upper", "lower") is used in
  /// messages. Throws InputError when the list is empty, when a tensor is undefined, empty, not floating
  /// point, not a leaf that requires a gradient, or stands there twice, or when dtypes or devices differ.
  Parameters(std::vector<torch::Tensor> tensors, std::vector<std::string> names, std::string level);
  ~Parameters();
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// The 1-D buffer. Change it only through `assign`, `add` and `change`.
  const torch::Tensor& flat() const { return flat_; }
  const std::vector<torch::Tensor>& tensors() const { return tensors_; }
  /// Name of the i-th tensor for messages: the given one, or "upper parameter 3 (64x300)".
  std::string name(size_t i) const;
  int64_t size() const { return flat_.numel(); }
  torch::TensorOptions options() const { return flat_.options(); }

  /// Grows with every change of the values; a point remembers it, because autograd does not see changes
  /// through views.
  uint64_t version() const { return version_; }

  /// flat <- values (1-D, same size).
  void assign(const torch::Tensor& values);
  /// flat <- flat + scale * direction.
  void add(const torch::Tensor& direction, double scale);
  /// Lets `f` change the buffer's numbers in place.
  template <typename F>
  void change(const F& f) {
    f(flat_);
    ++version_;
  }

  /// One flat tensor from one tensor per parameter; an undefined one becomes zeros. Keeps the autograd graph,
  /// if any.
  torch::Tensor pack(const std::vector<torch::Tensor>& parts) const;

  /// Binds detached parameters again, or throws InputError (see above). Costs one pointer comparison per
  /// tensor.
  void check();

  /// Turns gradient recording of all tensors on or off (for forward passes that must not build a graph
  /// through them).
  void set_requires_grad(bool value);

 private:
  void bind();
  /// Whether the tensor lies where its part of the buffer does, `offset` numbers from the beginning.
  bool bound(const torch::Tensor& tensor, int64_t offset) const;

  std::vector<torch::Tensor> tensors_;
  std::vector<std::vector<int64_t>> shapes_;  // when bound
  std::vector<std::string> names_;
  std::string level_;
  torch::Tensor flat_;
  uint64_t version_ = 0;
};

/// While it lives, nothing records a graph through `parameters`.
class FrozenScope {
 public:
  explicit FrozenScope(Parameters& parameters) : parameters_(parameters) {
    parameters_.set_requires_grad(false);
  }
  ~FrozenScope() { parameters_.set_requires_grad(true); }
  FrozenScope(const FrozenScope&) = delete;
  FrozenScope& operator=(const FrozenScope&) = delete;

 private:
  Parameters& parameters_;
};

/// Sum of the squares of all entries of all tensors: `c * squared_norm(head->parameters())` is the usual
/// regularizer.
torch::Tensor squared_norm(const std::vector<torch::Tensor>& tensors);

}  // namespace bilevel
