// The input moved by a linear map, at first not at all: for vectors that tell much before anything is trained.
#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/model/encoder.h"

namespace bilevel {
namespace {

/// x [d] becomes z / |z|, z = x + W'x / 30. W [d,d] is zero at first, so that a head meets the vectors as they came.
class ResidualEncoder : public Encoder {
 public:
  void build(const InputShape& input, int64_t) override {
    weight_ = register_parameter("weight", torch::zeros({input.width, input.width}));
  }

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override {
    if (inputs.size() != 1 || inputs[0].dim() != 2 || inputs[0].size(1) != weight_.size(0))
      throw InputError(fmt::format("Dense inputs must be {{x [B,{}]}}.", weight_.size(0)));
    const torch::Tensor z = inputs[0] + kStep * inputs[0].mm(weight_);
    return z * (z.square().sum(1, /*keepdim=*/true) + kTiny).rsqrt();
  }

  int64_t features() const override { return weight_.size(0); }

 private:
  // Its d^2 numbers move by a thirtieth of the step that other parameters bear: they can learn any few classes by heart.
  static constexpr double kStep = 1.0 / 30, kTiny = 1e-12;
  torch::Tensor weight_;
};

}  // namespace

EncoderEntry residual_entry() {
  return {.name = "residual",
          .summary = "the columns moved by a linear map, zero at first, and brought to length 1",
          .inputs = {InputKind::dense},
          .starts_at_input = true,
          .make = [] { return std::make_shared<ResidualEncoder>(); }};
}

}  // namespace bilevel
