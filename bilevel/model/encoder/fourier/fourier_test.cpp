#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/encoder.h"

namespace bilevel {
namespace fourier_test {

using torch::Tensor;

std::shared_ptr<Encoder> built(const nlohmann::json& set, int64_t width) {
  torch::manual_seed(4);
  const InputShape shape{InputKind::dense, width};
  std::shared_ptr<Encoder> encoder = prepared_encoder("fourier", set, shape);
  encoder->build(shape, 1);
  return encoder;
}

TEST(FourierEncoderTest, ProductsOfItsFeaturesAreTheLaplaceKernel) {
  constexpr int64_t kWidth = 3, kWaves = 40000;
  const auto encoder = built({{"waves", kWaves}, {"sharpness", 2.0}, {"linear", 0.0}}, kWidth);
  const Tensor x = torch::randn({6, kWidth});
  const Tensor features = encoder->forward({x}).to(torch::kFloat64);
  ASSERT_EQ(features.size(1), kWaves + kWidth);
  const Tensor products = features.mm(features.t());
  const Tensor distance = (x.unsqueeze(1) - x.unsqueeze(0)).abs().sum(2).to(torch::kFloat64);
  const Tensor kernel = torch::exp(-2.0 / kWidth * distance);
  // Each of the products is a mean of terms 2 cos cos in [-2, 2], of variance below 1.5.
  EXPECT_LT((products - kernel).abs().max().item<double>(), 5 * std::sqrt(1.5 / kWaves));
}

TEST(FourierEncoderTest, HoldsTheColumnsAtTheirWeight) {
  const auto encoder = built({{"waves", 8}, {"linear", 0.6}}, 4);
  const Tensor x = torch::randn({5, 4});
  EXPECT_TRUE(torch::allclose(encoder->forward({x}).narrow(1, 8, 4), 0.3 * x));
}

TEST(FourierEncoderTest, HasNoParametersAndKeepsWhatItDrew) {
  const auto encoder = built({{"waves", 8}}, 2);
  EXPECT_TRUE(encoder->parameters().empty());
  EXPECT_EQ(encoder->named_buffers().size(), 2U);
  EXPECT_TRUE(torch::equal(encoder->forward({torch::ones({1, 2})}),
                           built({{"waves", 8}}, 2)->forward({torch::ones({1, 2})})));
}

TEST(FourierEncoderTest, RefusesWhatItCannotRead) {
  EXPECT_THROW(prepared_encoder("fourier", {}, InputShape{InputKind::sparse, 3}), InputError);
  EXPECT_THROW(prepared_encoder("fourier", {{"sharpness", 0}}, InputShape{InputKind::dense, 3}), InputError);
  EXPECT_THROW(built({}, 3)->forward({torch::zeros({2, 4})}), InputError);
}

}  // namespace fourier_test
}  // namespace bilevel
