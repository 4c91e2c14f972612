#include "bilevel/task/auc/auc_encoder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace bilevel {
namespace auc_encoder_test {

FittedInputs dense(int64_t rows, int64_t width) {
  return {Inputs::dense(torch::zeros({rows, width})), {InputKind::dense, width}};
}

std::vector<std::string> names(const std::vector<EncoderCandidate>& considered) {
  std::vector<std::string> found;
  for (const EncoderCandidate& one : considered) found.push_back(one.encoder);
  return found;
}

TEST(AucEncoder, TakesTheFirstWithinTheBudgetElseTheLast) {
  AucJobOptions options;
  options.text = "";
  const auto considered = [&](int64_t rows, int64_t width, int64_t passes) {
    return names(choose_encoder(options, dense(rows, width), rows, passes));
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(considered(400, 10, 7), Names({"tab"}));
  EXPECT_EQ(considered(5000, 300, 2), Names({"tab", "fourier"}));
  options.budget = 1e-3;
  EXPECT_EQ(considered(400, 10, 2), Names({"tab", "fourier", "linear"}));
}

TEST(AucEncoder, ExpectsTwiceTheTimeOfTwiceThePasses) {
  const AucJobOptions options;
  const FittedInputs read = dense(400, 10);
  EXPECT_DOUBLE_EQ(*choose_encoder(options, read, 300, 4)[0].seconds,
                   2 * *choose_encoder(options, read, 300, 2)[0].seconds);
}

TEST(AucEncoder, PassesOverWhatDoesNotReadSparseColumns) {
  const FittedInputs sparse{
      Inputs::sparse({torch::tensor({0, 3}), torch::ones({2}), torch::tensor({0, 1, 2}), 4}),
      {InputKind::sparse, 4}};
  const std::vector<EncoderCandidate> considered = choose_encoder({}, sparse, 2, 2);
  EXPECT_EQ(names(considered), std::vector<std::string>({"tab", "fourier", "linear"}));
  EXPECT_FALSE(considered[0].reads || considered[0].seconds);
  EXPECT_TRUE(considered[2].reads);
  EXPECT_EQ(considered[0].to_json(),
            nlohmann::ordered_json({{"encoder", "tab"}, {"reads", false}, {"expected_seconds", nullptr}}));
}

TEST(AucEncoder, AnEnsembleIsDisturbedLessTheMoreRowsThereAre) {
  const JobDefaults few = auc_defaults("tab", 500), many = auc_defaults("tab", 50'000);
  EXPECT_DOUBLE_EQ(few.network.at("dropout"), 0.3);
  EXPECT_DOUBLE_EQ(many.network.at("dropout"), 0.03);
  EXPECT_EQ(few.steps, 150);
  EXPECT_EQ(many.steps, 600);
  EXPECT_EQ(few.batch_size, 166);
  EXPECT_EQ(many.batch_size, 256);
}

}  // namespace auc_encoder_test
}  // namespace bilevel
