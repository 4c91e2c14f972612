#include "bilevel/model/transformer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

std::vector<Tensor> one_row(const std::vector<int64_t>& ids) {
  return {torch::tensor(ids, torch::kLong).unsqueeze(0),
          torch::tensor({static_cast<int64_t>(ids.size())}, torch::kLong)};
}

TransformerOptions small() {
  return {.vocabulary = 9, .embedding_size = 4, .hidden = 4, .heads = 2, .feed_forward = 2, .max_length = 5};
}

TEST(TransformerEncoder, KnowsTheOrderOfTokens) {
  for (const Positions positions : {Positions::learned, Positions::sinusoidal}) {
    TransformerOptions options = small();
    options.positions = positions;
    torch::manual_seed(1);
    TransformerEncoder encoder(options);
    const Tensor one = encoder.forward(one_row({1, 2, 3})), other = encoder.forward(one_row({3, 2, 1}));
    EXPECT_GT((one - other).abs().max().item<double>(), 1e-5) << to_string(positions);
    const torch::NoGradGuard no_grad;
    for (auto& item : encoder.named_parameters()) {
      if (item.key() == "positions") item.value().zero_();
    }
    for (auto& item : encoder.named_buffers()) {
      if (item.key() == "positions") item.value().zero_();
    }
    const Tensor bag = encoder.forward(one_row({1, 2, 3})), same = encoder.forward(one_row({3, 2, 1}));
    EXPECT_LT((bag - same).abs().max().item<double>(), 1e-5) << "without positions order must not matter";
  }
}

TEST(TransformerEncoder, SinusoidalPositionsAreTheStandardOnes) {
  TransformerOptions options = small();
  options.positions = Positions::sinusoidal;
  TransformerEncoder encoder(options);
  const Tensor table = encoder.named_buffers()["positions"];
  EXPECT_NEAR(table[3][0].item<double>(), std::sin(3.0), 1e-6);
  EXPECT_NEAR(table[3][1].item<double>(), std::cos(3.0), 1e-6);
  EXPECT_NEAR(table[3][2].item<double>(), std::sin(0.03), 1e-6);
  EXPECT_NEAR(table[3][3].item<double>(), std::cos(0.03), 1e-6);
}

TEST(TransformerEncoder, IgnoresTokensPastTheLargestLength) {
  TransformerEncoder encoder(small());
  EXPECT_TRUE(torch::equal(encoder.forward(one_row({1, 2, 3, 4, 5})),
                           encoder.forward(one_row({1, 2, 3, 4, 5, 6, 7}))));
}

TEST(TransformerEncoder, DropoutActsInTrainingOnlyAndFollowsTheSeed) {
  TransformerOptions options = small();
  options.dropout = 0.5;
  TransformerEncoder encoder(options);
  torch::manual_seed(4);
  const Tensor first = encoder.forward(one_row({1, 2, 3}));
  EXPECT_FALSE(torch::equal(first, encoder.forward(one_row({1, 2, 3}))));
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(first, encoder.forward(one_row({1, 2, 3}))));
  encoder.eval();
  EXPECT_TRUE(torch::equal(encoder.forward(one_row({1, 2})), encoder.forward(one_row({1, 2}))));
}

TEST(TransformerEncoder, RefusesImpossibleOptions) {
  const auto message = [](auto change) {
    TransformerOptions bad = small();
    change(bad);
    try {
      TransformerEncoder{bad};
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message([](TransformerOptions& o) { o.heads = 3; }), "heads = 3: must divide hidden = 4.");
  EXPECT_EQ(message([](TransformerOptions& o) { o.heads = 0; }), "heads = 0: must be at least 1.");
  EXPECT_EQ(message([](TransformerOptions& o) { o.layers = 0; }), "layers = 0: must be at least 1.");
  EXPECT_EQ(message([](TransformerOptions& o) { o.feed_forward = 0; }),
            "feed_forward = 0: must be at least 1.");
  EXPECT_EQ(message([](TransformerOptions& o) { o.dropout = -0.5; }), "dropout = -0.5: must be in [0, 1).");
  EXPECT_EQ(message([](TransformerOptions& o) {
              o.hidden = 3;
              o.heads = 1;
              o.positions = Positions::sinusoidal;
            }),
            "hidden = 3: must be even for sinusoidal positions.");
  EXPECT_THROW(positions_from_string("none"), InputError);
}

}  // namespace
}  // namespace bilevel
