#include "bilevel/problem/sets.h"

#include <ATen/CPUGeneratorImpl.h>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace sets_test {

torch::Tensor vector(const std::vector<double>& values) { return torch::tensor(values, torch::kFloat64); }

TEST(Sets, KnownProjections) {
  EXPECT_EQ(distance(box(-1, 0.5)(vector({-3, 0.2, 0.7})), vector({-1, 0.2, 0.5})), 0);
  EXPECT_LT(distance(ball(5)(vector({6, 8})), vector({3, 4})), 1e-15);
  EXPECT_EQ(distance(ball(5)(vector({3, -4})), vector({3, -4})), 0);
  EXPECT_EQ(distance(ball(0)(vector({0, 0})), vector({0, 0})), 0);
  EXPECT_LT(distance(ball(1, vector({1, 1}))(vector({1, 4})), vector({1, 2})), 1e-15);
  EXPECT_LT(distance(simplex()(vector({0.5, 0.5})), vector({0.5, 0.5})), 1e-15);
  EXPECT_LT(distance(simplex()(vector({2, 0, -1})), vector({1, 0, 0})), 1e-15);
  EXPECT_LT(distance(simplex(3)(vector({1, 1, 1, -5})), vector({1, 1, 1, 0})), 1e-15);
}

// The projection p of v on a closed convex set is the one point with <v - p, q - p> <= 0 for all q of the set.
TEST(Sets, ProjectionsAreTheNearestPoints) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto random = [&] { return 2 * torch::randn({6}, generator, torch::kFloat64); };
  const torch::Tensor centre = random();
  for (const Projection& project : {box(-0.3, 1.2), ball(1.5), ball(0.7, centre), simplex(), simplex(4)}) {
    for (int i = 0; i < 50; ++i) {
      const torch::Tensor v = random();
      const torch::Tensor p = project(v);
      EXPECT_LT(distance(project(p), p), 1e-14);
      for (int j = 0; j < 20; ++j) {
        const torch::Tensor q = project(random());
        EXPECT_LT((v - p).dot(q - p).item<double>(), 1e-12);
      }
    }
  }
}

TEST(Sets, RefuseEmptySets) {
  EXPECT_THROW(box(1, 0), InputError);
  EXPECT_THROW(ball(-1), InputError);
  EXPECT_THROW(simplex(0), InputError);
}

TEST(Each, ProjectsTheNamedParametersAndLeavesTheOthers) {
  const ParameterList parameters{
      {"w", torch::zeros({2, 2})}, {"free", torch::zeros({2})}, {"p", torch::zeros({3})}};
  const Projection project = each(parameters, {{"p", simplex()}, {"w", box(-1, 1)}});
  const torch::Tensor flat = torch::tensor({-3.0, 0.5, 2.0, 1.0, 9.0, -9.0, 1.0, 1.0, 0.0}, torch::kFloat64);
  const torch::Tensor expected =
      torch::tensor({-1.0, 0.5, 1.0, 1.0, 9.0, -9.0, 0.5, 0.5, 0.0}, torch::kFloat64);
  EXPECT_TRUE(project(flat).equal(expected));
  EXPECT_EQ(flat[0].item<double>(), -3) << "the argument stays";
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    each(parameters, {{"q", box(0, 1)}});
                  }),
                  "0 parameters are called 'q'");
}

}  // namespace sets_test
}  // namespace bilevel
