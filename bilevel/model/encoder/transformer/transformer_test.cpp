#include "bilevel/model/encoder/transformer/transformer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {
namespace transformer_test {
namespace {

using torch::Tensor;

std::vector<Tensor> one_row(const std::vector<int64_t>& ids) {
  return {torch::tensor(ids, torch::kLong).unsqueeze(0),
          torch::tensor({static_cast<int64_t>(ids.size())}, torch::kLong)};
}

std::shared_ptr<Encoder> make(const nlohmann::json& more = nlohmann::json::object()) {
  const InputShape input{.kind = InputKind::tokens, .width = 9};
  nlohmann::json set{{"embedding_size", 4}, {"hidden", 4},     {"heads", 2},
                     {"feed_forward", 2},   {"max_length", 5}, {"dropout", 0}};
  set.update(more);
  const std::shared_ptr<Encoder> encoder = prepared_encoder("transformer", set, input);
  encoder->build(input, 1);
  return encoder;
}

TEST(TransformerEncoder, KnowsTheOrderOfTokens) {
  for (const char* positions : {"learned", "sinusoidal"}) {
    torch::manual_seed(1);
    const auto encoder = make({{"positions", positions}});
    const Tensor one = encoder->forward(one_row({1, 2, 3})), other = encoder->forward(one_row({3, 2, 1}));
    EXPECT_GT((one - other).abs().max().item<double>(), 1e-5) << positions;
    const torch::NoGradGuard no_grad;
    for (auto& item : encoder->named_parameters()) {
      if (item.key() == "positions") item.value().zero_();
    }
    for (auto& item : encoder->named_buffers()) {
      if (item.key() == "positions") item.value().zero_();
    }
    const Tensor bag = encoder->forward(one_row({1, 2, 3})), same = encoder->forward(one_row({3, 2, 1}));
    EXPECT_LT((bag - same).abs().max().item<double>(), 1e-5) << "without positions order must not matter";
  }
}

TEST(TransformerEncoder, SinusoidalPositionsAreTheStandardOnes) {
  const auto encoder = make({{"positions", "sinusoidal"}});
  const Tensor table = encoder->named_buffers()["positions"];
  EXPECT_NEAR(table[3][0].item<double>(), std::sin(3.0), 1e-6);
  EXPECT_NEAR(table[3][1].item<double>(), std::cos(3.0), 1e-6);
  EXPECT_NEAR(table[3][2].item<double>(), std::sin(0.03), 1e-6);
  EXPECT_NEAR(table[3][3].item<double>(), std::cos(0.03), 1e-6);
}

TEST(TransformerEncoder, IgnoresTokensPastTheLargestLength) {
  const auto encoder = make();
  EXPECT_TRUE(torch::equal(encoder->forward(one_row({1, 2, 3, 4, 5})),
                           encoder->forward(one_row({1, 2, 3, 4, 5, 6, 7}))));
}

TEST(TransformerEncoder, DropoutActsInTrainingOnlyAndFollowsTheSeed) {
  const auto encoder = make({{"dropout", 0.5}});
  torch::manual_seed(4);
  const Tensor first = encoder->forward(one_row({1, 2, 3}));
  EXPECT_FALSE(torch::equal(first, encoder->forward(one_row({1, 2, 3}))));
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(first, encoder->forward(one_row({1, 2, 3}))));
  encoder->eval();
  EXPECT_TRUE(torch::equal(encoder->forward(one_row({1, 2})), encoder->forward(one_row({1, 2}))));
}

TEST(TransformerEncoder, RefusesImpossibleOptions) {
  const auto message = [](const nlohmann::json& set) -> std::string {
    try {
      make(set);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message({{"heads", 3}}), "heads = 3: must divide hidden = 4.");
  EXPECT_EQ(message({{"heads", 0}}), "heads = 0: must be >= 1");
  EXPECT_EQ(message({{"hidden", 3}, {"heads", 1}, {"positions", "sinusoidal"}}),
            "hidden = 3: must be even for sinusoidal positions.");
}

}  // namespace
}  // namespace transformer_test
}  // namespace bilevel
