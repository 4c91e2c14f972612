#include "bilevel/problem/problem.h"

#include <torch/nn/modules/linear.h>

#include "bilevel/core/error.h"
#include "bilevel/oracle/oracles.h"
#include "tests/support.h"

namespace bilevel {
namespace {

TEST(ParameterList, TakesTensorsWithNamesAndWithout) {
  const torch::Tensor a = torch::zeros({2}), b = torch::zeros({3});
  const ParameterList plain{a, b}, pairs{{"a", a}, {"b", b}}, vector(std::vector<torch::Tensor>{a, b});
  for (const ParameterList& list : {plain, pairs, vector}) {
    ASSERT_EQ(list.size(), 2u);
    EXPECT_TRUE(list[0].is_same(a) && list[1].is_same(b));
  }
  EXPECT_TRUE(plain.names.empty() && vector.names.empty());
  EXPECT_EQ(pairs.names, (std::vector<std::string>{"a", "b"}));
}

TEST(ParameterList, HoldsWhatAModuleTrainsByItsNames) {
  torch::nn::Linear linear(3, 2);
  EXPECT_EQ(named(*linear).names, (std::vector<std::string>{"weight", "bias"}));
  linear->weight.set_requires_grad(false);
  const ParameterList rest = named(*linear);
  ASSERT_EQ(rest.names, std::vector<std::string>{"bias"});
  EXPECT_TRUE(rest[0].is_same(linear->bias));
}

TEST(ParameterList, ItsNamesStandInMessages) {
  const torch::Tensor x = torch::zeros({2}).requires_grad_(),
                      y = torch::zeros({2});  // y is no leaf that learns
  const Problem problem{
      .upper = {.parameters = {{"weights", x}},
                .loss = [&](const Batch&) { return y.sum(); },
                .batches = no_data()},
      .lower = {
          .parameters = {{"bias", y}}, .loss = [&](const Batch&) { return y.sum(); }, .batches = no_data()}};
  EXPECT_CONTAINS(message_of<InputError>([&] { Oracles(problem, 1); }), "lower parameter 'bias'");
}

}  // namespace
}  // namespace bilevel
