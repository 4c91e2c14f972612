#include "bilevel/model/encoder/fourier/fourier.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "bilevel/core/error.h"

namespace bilevel {

EncoderEntry fourier_entry() {
  return {.name = "fourier",
          .summary = "random Fourier features of the Laplace kernel, and the columns themselves",
          .inputs = {InputKind::dense},
          .fixed = true,
          .make = [] { return std::make_shared<FourierEncoder>(); }};
}

void FourierEncoder::fields(Fields& f) {
  f.integer("waves", waves_, kAtLeastOne, "random features, D");
  f.number("sharpness", sharpness_, kPositive, "of the kernel exp(-s/d |x - x'|_1)");
  f.number("linear", linear_, kNonNegative, "weight of the columns themselves, beta");
}

void FourierEncoder::build(const InputShape& input, int64_t) {
  width_ = input.width;
  const double scale = sharpness_ / static_cast<double>(width_);
  const torch::Tensor uniform = torch::rand({width_, waves_}, torch::kFloat64);
  frequencies_ = register_buffer(
      "frequencies", (scale * torch::tan(std::numbers::pi * (uniform - 0.5))).to(torch::get_default_dtype()));
  phases_ = register_buffer("phases", 2 * std::numbers::pi * torch::rand({waves_}));
}

torch::Tensor FourierEncoder::forward(const std::vector<torch::Tensor>& inputs) {
  if (inputs.size() != 1 || inputs[0].dim() != 2 || inputs[0].size(1) != width_)
    throw InputError(fmt::format("Dense inputs must be {{x [B,{}]}}.", width_));
  // In few digits a wave of many periods would be another one.
  const c10::impl::ExcludeDispatchKeyGuard whole_precision(c10::autocast_dispatch_keyset);
  const torch::Tensor waves = torch::addmm(phases_, inputs[0], frequencies_).cos();
  return torch::cat({std::sqrt(2 / static_cast<double>(waves_)) * waves,
                     linear_ / std::sqrt(static_cast<double>(width_)) * inputs[0]},
                    1);
}

}  // namespace bilevel
