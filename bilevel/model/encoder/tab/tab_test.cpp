#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/core/error.h"
#include "bilevel/model/network.h"

namespace bilevel {
namespace tab_test {

using torch::Tensor;

std::shared_ptr<Network> network(const nlohmann::json& set, int64_t width, int64_t outputs = 1) {
  torch::manual_seed(4);
  const auto made =
      make_network({.encoder = "tab", .outputs = outputs, .set = set}, {InputKind::dense, width});
  made->eval();
  return made;
}

Tensor parameter(Network& network, const std::string& name) {
  return network.named_parameters()["encoder." + name];
}

// With four bins the inner edges are the quartiles of the normal distribution, +-0.6745 and 0; all bins are as wide.
TEST(TabEncoderTest, CodesAreTheSharesOfTheBinsBelowAValue) {
  const auto net = network({{"perceptrons", 1}, {"hidden", 4}, {"bins", 4}, {"waves", 1}}, 1);
  const torch::NoGradGuard no_grad;
  const auto set = [&](const char* name, const Tensor& value) { parameter(*net, name).copy_(value); };
  set("input_factors", torch::ones({1, 4}));
  set("weight0", torch::eye(4));  // the first layer holds max(code, 0)
  set("bias0", torch::zeros({1, 4}));
  set("weight1", torch::eye(4));
  set("bias1", torch::zeros({1, 4}));
  const Tensor x = torch::tensor({-1.0, 0.33725, 2.0}).unsqueeze(1);
  const double q = 0.67449;
  const double expected[3][4] = {{(-1 + 2 * q) / q, 0, 0, 0}, {1, 1, 0.33725 / q, 0}, {1, 1, 1, (2 - q) / q}};
  for (int64_t bin = 0; bin < 4; ++bin) {
    Tensor one = torch::zeros({1, 4, 1});
    one[0][bin][0] = 1;
    set("heads", one);
    const Tensor perceptron = net->members(net->encode({x})).select(1, 0).squeeze(1);
    for (int64_t i = 0; i < 3; ++i)
      EXPECT_NEAR(perceptron[i].item<double>(), expected[i][bin], 1e-4) << i << bin;
  }
}

// Of three columns only the second is a number: its four codes come first, then the others as they are.
TEST(TabEncoderTest, LeavesColumnsThatAreNoNumbersAsTheyAre) {
  torch::manual_seed(4);
  const InputShape shape{.kind = InputKind::dense, .width = 3, .numbers = std::vector<int64_t>{1}};
  const auto net = make_network(
      {.encoder = "tab", .set = {{"perceptrons", 1}, {"hidden", 6}, {"bins", 4}, {"waves", 1}}}, shape);
  net->eval();
  const torch::NoGradGuard no_grad;
  for (const char* name : {"weight0", "weight1"}) parameter(*net, name).copy_(torch::eye(6));
  for (const char* name : {"bias0", "bias1"}) parameter(*net, name).zero_();
  parameter(*net, "input_factors").fill_(1);
  const Tensor x = torch::tensor({0.25, 2.0, 0.75}).unsqueeze(0);
  const double q = 0.67449, expected[6] = {1, 1, 1, (2 - q) / q, 0.25, 0.75};
  for (int64_t unit = 0; unit < 6; ++unit) {
    parameter(*net, "heads").zero_()[0][unit][0] = 1;
    EXPECT_NEAR(net->members(net->encode({x}))[0][0].item<double>(), expected[unit], 1e-4) << unit;
  }
  const nlohmann::json saved = shape;
  EXPECT_EQ(saved.get<InputShape>().numbers, shape.numbers);
  EXPECT_FALSE(nlohmann::json(InputShape{InputKind::dense, 3}).get<InputShape>().numbers);
}

TEST(TabEncoderTest, GivesTheKernelMachineHalfOfTheOutputAndStartsItAtZero) {
  const auto net = network({{"perceptrons", 3}, {"hidden", 5}}, 2, 4);
  const Tensor x = torch::randn({6, 2});
  EXPECT_EQ(net->members(), 4);
  const torch::NoGradGuard no_grad;
  const Tensor start = net->members(net->encode({x}));
  ASSERT_EQ(start.sizes(), (std::vector<int64_t>{6, 4, 4}));
  EXPECT_TRUE(torch::equal(start.select(1, 3), torch::zeros({6, 4})));
  EXPECT_TRUE(torch::allclose(net->forward({x}), 0.5 * start.narrow(1, 0, 3).mean(1)));
  parameter(*net, "kernel_bias").copy_(torch::arange(4));
  EXPECT_TRUE(torch::allclose(net->forward({x}), 0.5 * start.narrow(1, 0, 3).mean(1) + 5 * torch::arange(4),
                              1e-4, 1e-5));
}

TEST(TabEncoderTest, ItsPerceptronsDifferThoughTheyShareMatrices) {
  const auto net = network({{"perceptrons", 2}, {"hidden", 8}}, 3);
  const Tensor members = net->members(net->encode({torch::randn({5, 3})}));
  EXPECT_GT((members.select(1, 0) - members.select(1, 1)).abs().max().item<double>(), 1e-3);
  EXPECT_EQ(parameter(*net, "weight0").sizes(), (std::vector<int64_t>{36, 8}));
}

TEST(TabEncoderTest, DropsOutInTrainingOnly) {
  const auto net = network({{"hidden", 8}}, 3);
  const Tensor x = torch::randn({5, 3});
  EXPECT_TRUE(torch::equal(net->forward({x}), net->forward({x})));
  net->train();
  EXPECT_FALSE(torch::equal(net->forward({x}), net->forward({x})));
  // Outputs of hidden units that are dropped at random have the mean of those that are not.
  const torch::NoGradGuard no_grad;
  const auto thin = network({{"perceptrons", 1}, {"hidden", 4}, {"input_dropout", 0.5}, {"dropout", 0.0}}, 1);
  parameter(*thin, "bias0").fill_(100);  // so that the layers are linear in the codes
  parameter(*thin, "bias1").fill_(1000);
  const Tensor one = torch::full({40000, 1}, 0.3);
  thin->eval();
  const double exact = thin->forward({one})[0].item<double>();
  thin->train();
  const Tensor drawn = thin->forward({one}).to(torch::kFloat64);
  EXPECT_NEAR(drawn.mean().item<double>(), exact, 5 * drawn.std().item<double>() / 200);
  EXPECT_GT(drawn.std().item<double>(), 0);
}

TEST(TabEncoderTest, RefusesWhatItCannotRead) {
  EXPECT_THROW(network({{"bins", 1}}, 3), InputError);
  EXPECT_THROW(prepared_encoder("tab", {}, InputShape{InputKind::sparse, 3}), InputError);
  EXPECT_THROW(network({}, 3)->forward({torch::zeros({2, 4})}), InputError);
}

}  // namespace tab_test
}  // namespace bilevel
