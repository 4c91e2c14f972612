// Random Fourier features of columns (A. Rahimi, B. Recht, NIPS 2007): with a linear head on them, kernel regression whose cost grows
// with the rows alone.
#pragma once

#include "bilevel/model/encoder.h"

namespace bilevel {

/// [sqrt(2/D) cos(W'x + b), beta/sqrt(d) x] of x [d], W [d,D] and b [D] drawn once: the scalar product of two rows' features is about
/// k(x, x') + beta^2/d x'x. W has Cauchy entries of scale s/d and b is uniform in [0, 2 pi], so that k is the Laplace kernel
/// exp(-s/d |x - x'|_1), which heeds single columns and bends sharply, as trees do.
class FourierEncoder : public Encoder {
 public:
  FourierEncoder() = default;
  FourierEncoder(int64_t waves, double sharpness) : waves_(waves), sharpness_(sharpness) {}

  void fields(Fields& f) override;
  void build(const InputShape& input, int64_t outputs) override;
  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override;
  int64_t features() const override { return waves_ + width_; }
  torch::Tensor input_matrix() const override { return frequencies_; }

 private:
  int64_t waves_ = 1024, width_ = 0;
  double sharpness_ = 1, linear_ = 0.4;
  torch::Tensor frequencies_, phases_;
};

}  // namespace bilevel
