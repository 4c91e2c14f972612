// Random Fourier features of columns (A. Rahimi, B. Recht, NIPS 2007): with a linear head on them, kernel regression whose cost grows
// with the rows alone.
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "bilevel/core/error.h"
#include "bilevel/model/encoder.h"

namespace bilevel {
namespace {

/// [sqrt(2/D) cos(W'x + b), beta/sqrt(d) x] of x [d], W [d,D] and b [D] drawn once: the scalar product of two rows' features is about
/// k(x, x') + beta^2/d x'x. W has Cauchy entries of scale s/d and b is uniform in [0, 2 pi], so that k is the Laplace kernel
/// exp(-s/d |x - x'|_1), which heeds single columns and bends sharply, as trees do.
class FourierEncoder : public Encoder {
 public:
  void fields(Fields& f) override {
    f.integer("waves", waves_, kAtLeastOne, "random features, D");
    f.number("sharpness", sharpness_, kPositive, "of the kernel exp(-s/d |x - x'|_1)");
    f.number("linear", linear_, kNonNegative, "weight of the columns themselves, beta");
  }

  void build(const InputShape& input, int64_t) override {
    width_ = input.width;
    const double scale = sharpness_ / static_cast<double>(width_);
    const torch::Tensor uniform = torch::rand({width_, waves_}, torch::kFloat64);
    frequencies_ = register_buffer(
        "frequencies",
        (scale * torch::tan(std::numbers::pi * (uniform - 0.5))).to(torch::get_default_dtype()));
    phases_ = register_buffer("phases", 2 * std::numbers::pi * torch::rand({waves_}));
  }

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override {
    if (inputs.size() != 1 || inputs[0].dim() != 2 || inputs[0].size(1) != width_)
      throw InputError(fmt::format("Dense inputs must be {{x [B,{}]}}.", width_));
    // In few digits a wave of many periods would be another one.
    const c10::impl::ExcludeDispatchKeyGuard whole_precision(c10::autocast_dispatch_keyset);
    const torch::Tensor waves = torch::addmm(phases_, inputs[0], frequencies_).cos();
    return torch::cat({std::sqrt(2 / static_cast<double>(waves_)) * waves,
                       linear_ / std::sqrt(static_cast<double>(width_)) * inputs[0]},
                      1);
  }

  int64_t features() const override { return waves_ + width_; }
  torch::Tensor input_matrix() const override { return frequencies_; }

 private:
  int64_t waves_ = 1024, width_ = 0;
  double sharpness_ = 1, linear_ = 0.4;
  torch::Tensor frequencies_, phases_;
};

}  // namespace

EncoderEntry fourier_entry() {
  return {.name = "fourier",
          .summary = "random Fourier features of the Laplace kernel, and the columns themselves",
          .inputs = {InputKind::dense},
          .fixed = true,
          .make = [] { return std::make_shared<FourierEncoder>(); }};
}

}  // namespace bilevel
