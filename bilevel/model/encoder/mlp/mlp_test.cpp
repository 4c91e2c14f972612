#include "bilevel/model/encoder/mlp/mlp.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {
namespace mlp_test {
namespace {

using torch::Tensor;

std::shared_ptr<Encoder> make(const nlohmann::json& set) {
  const InputShape input{.kind = InputKind::dense, .width = 6};
  const std::shared_ptr<Encoder> mlp = prepared_encoder("mlp", set, input);
  mlp->build(input, 1);
  return mlp;
}

TEST(Mlp, ComputesItsFormula) {
  torch::manual_seed(2);
  const Tensor x = torch::linspace(-1, 1, 12).view({2, 6});
  for (const std::string activation : {"gelu", "silu", "tanh", "relu"}) {
    const auto mlp = make({{"hidden", 3}, {"activation", activation}, {"dropout", 0}});
    const auto p = mlp->named_parameters();
    const auto act = [&](const Tensor& z) {
      if (activation == "gelu") return 0.5 * z * (1 + torch::erf(z / std::sqrt(2.0)));
      if (activation == "silu") return z / (1 + torch::exp(-z));
      return activation == "tanh" ? torch::tanh(z) : z.clamp_min(0);
    };
    const Tensor inner = act(x.mm(p["layer0.weight"]) + p["layer0.bias"]);
    const Tensor expected = act(inner.mm(p["layer1.weight"].t()) + p["layer1.bias"]);
    EXPECT_TRUE(torch::allclose(mlp->forward({x}), expected, 1e-5, 1e-6)) << activation;
  }
  const auto dropping = make({{"dropout", 0.5}});
  EXPECT_FALSE(torch::equal(dropping->forward({x}), dropping->forward({x})));
  dropping->eval();
  EXPECT_TRUE(torch::equal(dropping->forward({x}), dropping->forward({x})));
  EXPECT_THROW(dropping->forward({torch::zeros({2, 5})}), InputError);
}

}  // namespace
}  // namespace mlp_test
}  // namespace bilevel
