// The derivatives that a problem brings, beside those of autograd.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

#include "bilevel/core/streams.h"
#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// Values, gradients and products with a vector of both levels at the present point, on a few batches each.
inline std::vector<torch::Tensor> all_derivatives(Oracles& oracles) {
  const DefaultGeneratorScope randomness(7);
  std::vector<torch::Tensor> found;
  for (LevelOracle* level : {&oracles.upper(), &oracles.lower()}) {
    for (int64_t k = 0; k < std::min<int64_t>(level->slots(), 3); ++k) {
      const Sample sample = level->slot(k);
      const JointGradient gradient = level->gradient(sample);
      const torch::Tensor v = torch::randn_like(oracles.y().flat());
      LossPoint point = level->point(sample);
      const Products products = point.products(v);
      const std::vector<torch::Tensor> here{gradient.value, gradient.x,
                                            gradient.y,     level->gradient_in_y(sample),
                                            products.hvp,   products.cross_vjp};
      for (const torch::Tensor& t : here) found.push_back(t.detach().clone());
    }
  }
  return found;
}

/// Float64 problems: to rounding.
inline void expect_own_derivatives(const Problem& problem) {
  Oracles oracles(problem, 1);
  ASSERT_TRUE(oracles.has_derivatives());
  const std::vector<torch::Tensor> own = all_derivatives(oracles);
  const AutogradScope by_autograd(oracles);
  const std::vector<torch::Tensor> reference = all_derivatives(oracles);
  ASSERT_EQ(own.size(), reference.size());
  for (size_t i = 0; i < own.size(); ++i) {
    const double size = reference[i].abs().max().item<double>();
    EXPECT_LT((own[i] - reference[i]).abs().max().item<double>(), 1e-12 * (1 + size)) << "derivative " << i;
  }
}

}  // namespace bilevel
