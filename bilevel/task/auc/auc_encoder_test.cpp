#include "bilevel/task/auc/auc_encoder.h"

#include <fmt/format.h>
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

TEST(AucEncoder, AnEnsembleTakesFewerStepsWhereThatKeepsTheBudgetAndNoneAreGiven) {
  AucJobOptions options;
  const FittedInputs read = dense(20'000, 20);
  options.budget = 1e6;
  const EncoderCandidate whole = choose_encoder(options, read, 15'000, 2).back();
  EXPECT_EQ(whole.encoder, "tab");
  EXPECT_FALSE(whole.steps);
  options.budget = *whole.seconds / 2;
  const EncoderCandidate half = choose_encoder(options, read, 15'000, 2).back();
  EXPECT_EQ(half.encoder, "tab");
  ASSERT_TRUE(half.steps);
  // A pass scores 20,000 rows, as many as 78.1 batches, beside its steps, 1,200 by default.
  EXPECT_EQ(*half.steps, static_cast<int64_t>((1200 + 20'000 / 256.0) / 2 - 20'000 / 256.0));
  EXPECT_LE(*half.seconds, options.budget);
  EXPECT_EQ(EncoderCandidate::from_json(half.to_json()).steps, half.steps);
  EXPECT_EQ(kept_by_budget({half}, 7),
            std::vector<std::string>(
                {fmt::format("encoder tab: trained for {} steps, fewer than by default, to keep "
                             "within the budget of 7 s",
                             *half.steps)}));
  options.steps = 1200;
  EXPECT_EQ(names(choose_encoder(options, read, 15'000, 2)), std::vector<std::string>({"tab", "fourier"}));
  options.steps.reset();
  options.budget = *whole.seconds / 10;  // not for 200 steps
  EXPECT_NE(choose_encoder(options, read, 15'000, 2).back().encoder, "tab");
}

TEST(AucEncoder, PassesOverWhatDoesNotReadSparseColumns) {
  const FittedInputs sparse{
      Inputs::sparse({torch::tensor({0, 3}), torch::ones({2}), torch::tensor({0, 1, 2}), 4}),
      {InputKind::sparse, 4}};
  const std::vector<EncoderCandidate> considered = choose_encoder({}, sparse, 2, 2);
  EXPECT_EQ(names(considered), std::vector<std::string>({"tab", "fourier", "linear"}));
  EXPECT_FALSE(considered[0].reads || considered[0].seconds);
  EXPECT_TRUE(considered[2].reads);
  EXPECT_EQ(
      considered[0].to_json(),
      nlohmann::ordered_json(
          {{"encoder", "tab"}, {"reads", false}, {"expected_seconds", nullptr}, {"fewer_steps", nullptr}}));
}

TEST(AucEncoder, AnEnsembleIsDisturbedLessTheMoreRowsThereAre) {
  const JobDefaults few = auc_defaults("tab", 500), many = auc_defaults("tab", 50'000);
  EXPECT_DOUBLE_EQ(few.network.at("dropout"), 0.3);
  EXPECT_DOUBLE_EQ(many.network.at("dropout"), 0.003);
  EXPECT_EQ(few.steps, 150);
  EXPECT_EQ(many.steps, 1200);
  EXPECT_EQ(few.batch_size, 166);
  EXPECT_EQ(many.batch_size, 256);
}

}  // namespace auc_encoder_test
}  // namespace bilevel
