#include "bilevel/core/parameters.h"

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace {

torch::Tensor leaf(at::IntArrayRef shape, double value, torch::ScalarType type = torch::kFloat64) {
  return torch::full(shape, value, type).requires_grad_();
}

TEST(Parameters, BecomeViewsOfOneBufferInTheGivenOrder) {
  const torch::Tensor a = torch::arange(6, torch::kFloat64).reshape({2, 3}).requires_grad_();
  const torch::Tensor b = torch::tensor({7.0, 8.0}, torch::kFloat64).requires_grad_();
  Parameters parameters({a, b}, {}, "upper");
  EXPECT_EQ(
      distance(parameters.flat(), torch::tensor({0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0}, torch::kFloat64)),
      0);
  EXPECT_TRUE(a.is_leaf() && a.requires_grad());
  parameters.assign(torch::arange(10, 18, torch::kFloat64));
  EXPECT_EQ(a[1][2].item<double>(), 15);
  EXPECT_EQ(b[0].item<double>(), 16);
  parameters.add(torch::ones({8}, torch::kFloat64), -0.5);
  EXPECT_EQ(a[0][0].item<double>(), 9.5);
  EXPECT_EQ(b[1].item<double>(), 16.5);
  (a.sum() * 2 + b.sum()).backward();
  EXPECT_EQ(a.grad().sum().item<double>(), 12) << "the tensors have gradients of their own";
}

TEST(Parameters, NonContiguousTensorsKeepTheirValues) {
  const torch::Tensor t = torch::arange(6, torch::kFloat64).reshape({2, 3}).t().requires_grad_();
  ASSERT_FALSE(t.is_contiguous());
  const torch::Tensor before = t.detach().clone();
  const Parameters parameters({t}, {}, "lower");
  EXPECT_EQ(distance(t, before), 0);
}

TEST(Parameters, AreGivenBackWithStorageOfTheirOwn) {
  const torch::Tensor a = torch::arange(6, torch::kFloat32).reshape({2, 3}).requires_grad_();
  const torch::Tensor b = torch::ones({2}).requires_grad_();
  {
    Parameters parameters({a, b}, {}, "upper");
    parameters.assign(torch::arange(10, 18, torch::kFloat32));
    {
      Parameters inner({b}, {}, "upper");  // bound once more, and given back before the outer one ends
      inner.assign(torch::tensor({5.0f, 6.0f}));
    }
    EXPECT_EQ(a.storage().nbytes(), 8 * sizeof(float));
  }
  EXPECT_EQ(a.storage().nbytes(), 6 * sizeof(float));
  EXPECT_EQ(b.storage().nbytes(), 2 * sizeof(float));
  EXPECT_TRUE(a.is_leaf() && a.requires_grad());
  EXPECT_TRUE(torch::equal(a, torch::arange(10, 16, torch::kFloat32).reshape({2, 3})));
  EXPECT_TRUE(torch::equal(b, torch::tensor({5.0f, 6.0f})));
}

TEST(Parameters, EveryChangeIsANewVersion) {
  Parameters parameters({leaf({2}, 1)}, {}, "lower");
  const uint64_t first = parameters.version();
  parameters.check();
  EXPECT_EQ(parameters.version(), first) << "checking changes nothing";
  parameters.assign(parameters.flat().clone());
  const uint64_t second = parameters.version();
  parameters.add(parameters.flat().clone(), 1);
  EXPECT_LT(first, second);
  EXPECT_LT(second, parameters.version());
}

TEST(Parameters, PackFillsAbsentGradientsWithZerosAndKeepsTheGraph) {
  const torch::Tensor a = leaf({2, 2}, 3);
  Parameters parameters({a, leaf({3}, 1)}, {}, "upper");
  const torch::Tensor packed = parameters.pack({a * a, torch::Tensor()});
  EXPECT_EQ(distance(packed, torch::tensor({9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0}, torch::kFloat64)), 0);
  EXPECT_TRUE(packed.requires_grad());
}

TEST(Parameters, DetachedValuesAreBoundAgain) {
  const torch::Tensor a = leaf({2}, 1);
  const torch::Tensor b = leaf({2}, 2);
  Parameters parameters({a, b}, {}, "upper");
  const uint64_t version = parameters.version();
  b.set_data(torch::full({2}, 5.0, torch::kFloat64));
  parameters.check();
  EXPECT_EQ(distance(parameters.flat(), torch::tensor({1.0, 1.0, 5.0, 5.0}, torch::kFloat64)), 0);
  EXPECT_GT(parameters.version(), version) << "points at the old values must notice";
  parameters.assign(torch::zeros({4}, torch::kFloat64));
  EXPECT_EQ(b.sum().item<double>(), 0) << "b is a view again";
}

TEST(Parameters, AMoveToAnotherTypeAndBackStaysBound) {
  const torch::Tensor a = torch::tensor({0.5, 1.0 / 3}, torch::kFloat64).requires_grad_();
  Parameters parameters({a, leaf({1}, 4)}, {}, "upper");
  a.set_data(a.detach().to(torch::kFloat32));  // what module.to(...) does
  a.set_data(a.detach().to(torch::kFloat64));
  parameters.check();
  EXPECT_EQ(parameters.flat()[0].item<double>(), 0.5);
  EXPECT_EQ(parameters.flat()[1].item<double>(), static_cast<double>(1.0f / 3));
  parameters.assign(torch::zeros({3}, torch::kFloat64));
  EXPECT_EQ(a.abs().sum().item<double>(), 0);
}

TEST(Parameters, ChangesThatCannotBeBoundAreRefusedByName) {
  const torch::Tensor a = leaf({2}, 1);
  const torch::Tensor b = leaf({2, 3}, 2);
  Parameters parameters({a, b}, {"a", "b"}, "lower");
  b.set_data(torch::zeros({2, 3}, torch::kFloat32));
  EXPECT_CONTAINS(message_of<InputError>([&] { parameters.check(); }),
                  "lower parameter 'b' changed its dtype");
  b.set_data(torch::zeros({3, 2}, torch::kFloat64));
  EXPECT_CONTAINS(message_of<InputError>([&] { parameters.check(); }),
                  "lower parameter 'b' had the shape 2x3");
  b.set_data(torch::zeros({7}, torch::kFloat64));
  EXPECT_CONTAINS(message_of<InputError>([&] { parameters.check(); }),
                  "lower parameter 'b' had the shape 2x3");
}

TEST(Parameters, RefusesWhatCannotBeAVariable) {
  const auto refusal = [](std::vector<torch::Tensor> tensors, std::vector<std::string> names = {}) {
    return message_of<InputError>([&] { Parameters(tensors, names, "upper"); });
  };
  const torch::Tensor good = leaf({2}, 1);
  EXPECT_CONTAINS(refusal({}), "the upper level has no parameters");
  EXPECT_CONTAINS(refusal({good}, {"a", "b"}), "1 parameters but 2 names");
  EXPECT_CONTAINS(refusal({good, torch::Tensor()}), "upper parameter 1 is undefined");
  EXPECT_CONTAINS(refusal({torch::zeros({2}, torch::kInt64)}),
                  "upper parameter 0 (shape 2) is not floating point");
  EXPECT_CONTAINS(refusal({good, leaf({2, 0}, 1)}, {"a", "b"}), "upper parameter 'b' is empty");
  EXPECT_CONTAINS(refusal({torch::zeros({2})}), "not a leaf that requires a gradient");
  EXPECT_CONTAINS(refusal({good * 2}), "not a leaf that requires a gradient");
  EXPECT_CONTAINS(refusal({good, good}), "upper parameter 1 (shape 2) is listed twice");
  EXPECT_CONTAINS(refusal({good, leaf({3}, 1, torch::kFloat32)}),
                  "has another dtype than the first parameter");
}

TEST(Parameters, AFrozenScopeEndsEvenWithAnException) {
  const torch::Tensor a = leaf({2}, 1);
  Parameters parameters({a}, {}, "upper");
  try {
    const FrozenScope frozen(parameters);
    EXPECT_FALSE(a.sum().requires_grad());
    throw 1;
  } catch (int) {
  }
  EXPECT_TRUE(a.sum().requires_grad());
}

TEST(SquaredNorm, SumsAllEntriesAndIsDifferentiable) {
  const torch::Tensor a = leaf({2, 2}, 3);
  const torch::Tensor norm = squared_norm({a, leaf({3}, 2)});
  EXPECT_EQ(norm.item<double>(), 4 * 9 + 3 * 4);
  norm.backward();
  EXPECT_EQ(distance(a.grad(), torch::full({2, 2}, 6.0, torch::kFloat64)), 0);
  EXPECT_EQ(squared_norm({}).item<double>(), 0);
}

}  // namespace
}  // namespace bilevel
