#include "bilevel/model/tokens.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

Tensor integers(const std::vector<int64_t>& values) { return torch::tensor(values, torch::kLong); }

std::vector<Tensor> three_rows() {
  return {integers({1, 0, 0, 0, 2, 3, 4, 0, 5, 6, 0, 0}).view({3, 4}), integers({1, 3, 2})};
}

TEST(PackTokens, GoesRowByRow) {
  const PackedTokens packed = pack_tokens(three_rows(), 10, PackOrder::by_row);
  EXPECT_EQ(packed.rows, 3);
  EXPECT_EQ(packed.steps, 3);
  EXPECT_FALSE(packed.full());
  EXPECT_TRUE(torch::equal(packed.ids, integers({1, 2, 3, 4, 5, 6})));
  EXPECT_TRUE(torch::equal(packed.positions, integers({0, 0, 1, 2, 0, 1})));
  EXPECT_TRUE(torch::equal(packed.slots, integers({0, 3, 4, 5, 6, 7})));
}

TEST(PackTokens, GoesStepByStepWithTheLongestRowFirst) {
  const PackedTokens packed = pack_tokens(three_rows(), 10, PackOrder::by_step);
  EXPECT_TRUE(torch::equal(packed.ids, integers({2, 5, 1, 3, 6, 4})));
  EXPECT_EQ(packed.step_sizes, (std::vector<int64_t>{3, 2, 1}));
}

TEST(PackTokens, LeavesOutWhatIsPastTheLargestLength) {
  const PackedTokens packed = pack_tokens(three_rows(), 2, PackOrder::by_row);
  EXPECT_TRUE(torch::equal(packed.ids, integers({1, 2, 3, 5, 6})));
  EXPECT_TRUE(torch::equal(packed.lengths, integers({1, 2, 2})));
  EXPECT_EQ(packed.steps, 2);
}

TEST(PackTokens, PoolsOverTheTokensOfEachRow) {
  std::vector<Tensor> inputs = three_rows();
  inputs[1][0] = 0;  // the first row is empty
  for (const PackOrder order : {PackOrder::by_row, PackOrder::by_step}) {
    const PackedTokens packed = pack_tokens(inputs, 10, order);
    const Tensor values = -packed.ids.to(torch::kDouble).unsqueeze(1);
    EXPECT_TRUE(
        torch::equal(packed.max(values), torch::tensor({0.0, -2.0, -5.0}, torch::kDouble).view({3, 1})));
    EXPECT_TRUE(
        torch::equal(packed.mean(values), torch::tensor({0.0, -3.0, -5.5}, torch::kDouble).view({3, 1})));
    EXPECT_TRUE(
        torch::equal(packed.first(values), torch::tensor({0.0, -2.0, -5.0}, torch::kDouble).view({3, 1})));
    EXPECT_TRUE(
        torch::equal(packed.last(values), torch::tensor({0.0, -4.0, -6.0}, torch::kDouble).view({3, 1})));
  }
}

TEST(PackTokens, RefusesWhatDoesNotFit) {
  const std::vector<Tensor> good = three_rows();
  EXPECT_THROW(pack_tokens({good[0]}, 9, PackOrder::by_row), InputError);
  EXPECT_THROW(pack_tokens({good[0], good[1].slice(0, 0, 2)}, 9, PackOrder::by_row), InputError);
  EXPECT_THROW(pack_tokens({good[0].to(torch::kFloat), good[1]}, 9, PackOrder::by_row), InputError);
  EXPECT_THROW(pack_tokens({good[0], integers({1, -1, 2})}, 9, PackOrder::by_row), InputError);
  try {
    pack_tokens({good[0], integers({1, 5, 2})}, 9, PackOrder::by_row);
    FAIL() << "a length past the width was accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()), "lengths[1] = 5: must be in [0, 4], the width of ids.");
  }
}

TEST(TokenEmbedding, CopiesPretrainedVectorsAndClearsPadding) {
  const Tensor matrix = torch::arange(8, torch::kFloat).view({4, 2}) + 1;
  TokenEmbedding trained(4, 2, matrix, /*frozen=*/false), frozen(4, 2, matrix, /*frozen=*/true);
  for (TokenEmbedding* embedding : {&trained, &frozen}) {
    const Tensor vectors = embedding->forward(integers({0, 3}));
    EXPECT_TRUE(torch::equal(vectors, torch::tensor({0.0f, 0.0f, 7.0f, 8.0f}).view({2, 2})));
  }
  EXPECT_EQ(matrix[0][0].item<float>(), 1);  // the caller's matrix is not touched
  EXPECT_EQ(trained.parameters().size(), 1);
  EXPECT_TRUE(frozen.parameters().empty());
  EXPECT_EQ(frozen.buffers().size(), 1);
  EXPECT_FALSE(frozen.forward(integers({1})).requires_grad());
  EXPECT_TRUE(trained.forward(integers({1})).requires_grad());
}

TEST(TokenEmbedding, RefusesWhatDoesNotFit) {
  EXPECT_THROW(TokenEmbedding(0, 2, {}, false), InputError);
  EXPECT_THROW(TokenEmbedding(3, 0, {}, false), InputError);
  EXPECT_THROW(TokenEmbedding(3, 2, torch::zeros({4, 2}), false), InputError);
  TokenEmbedding embedding(3, 2, {}, false);
  EXPECT_THROW(embedding.forward(integers({3})), c10::Error);
}

}  // namespace
}  // namespace bilevel
