#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/core/error.h"
#include "bilevel/model/encoder.h"

namespace bilevel {
namespace residual_test {

using torch::Tensor;

std::shared_ptr<Encoder> built(int64_t width) {
  const InputShape shape{InputKind::dense, width};
  std::shared_ptr<Encoder> encoder = prepared_encoder("residual", {}, shape);
  encoder->build(shape, 1);
  return encoder;
}

TEST(ResidualEncoderTest, BringsTheInputToLengthOneAtFirst) {
  const Tensor x = torch::tensor({{3.0F, 4.0F}, {0.0F, 0.0F}, {0.6F, -0.8F}});
  const Tensor expected = torch::tensor({{0.6F, 0.8F}, {0.0F, 0.0F}, {0.6F, -0.8F}});
  EXPECT_TRUE(torch::allclose(built(2)->forward({x}), expected));
}

TEST(ResidualEncoderTest, MovesItByAThirtiethOfTheMap) {
  const auto encoder = built(2);
  const torch::NoGradGuard no_grad;
  encoder->parameters()[0].copy_(torch::tensor({{0.0F, 30.0F}, {0.0F, 0.0F}}));
  // (3, 1) becomes (3, 1 + 3).
  EXPECT_TRUE(
      torch::allclose(encoder->forward({torch::tensor({{3.0F, 1.0F}})}), torch::tensor({{0.6F, 0.8F}})));
}

TEST(ResidualEncoderTest, RefusesWhatItCannotRead) {
  EXPECT_THROW(prepared_encoder("residual", {}, InputShape{InputKind::sparse, 3}), InputError);
  EXPECT_THROW(built(3)->forward({torch::zeros({2, 4})}), InputError);
}

}  // namespace residual_test
}  // namespace bilevel
