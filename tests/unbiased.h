// Batches whose losses average to that of all rows.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "bilevel/problem/problem.h"

namespace bilevel {

/// After how many batches every row of every class has been drawn the same whole number of times, and every class
/// its share of times: a class of less than one row a batch has one row a batch where there is room for all
/// classes, the others divide the rest. In whole numbers, apart from the sampler's own.
inline int64_t batches_of_a_cycle(const std::vector<int64_t>& sizes, int64_t batch_size) {
  std::vector<bool> rare(sizes.size(), false);
  int64_t left = batch_size, members = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const bool room = batch_size >= static_cast<int64_t>(sizes.size());
  for (bool changed = room; changed;) {
    changed = false;
    const int64_t rows = left, of = members;
    for (size_t k = 0; k < sizes.size(); ++k) {
      if (rare[k] || rows * sizes[k] >= of) continue;
      rare[k] = changed = true;
      --left;
      members -= sizes[k];
    }
  }
  int64_t cycle = members / std::gcd(members, left);
  for (size_t k = 0; k < sizes.size(); ++k) {
    if (rare[k]) cycle = std::lcm(cycle, sizes[k]);
  }
  return cycle;
}

/// The mean of a level's loss over `batches` batches is its loss on all rows, and so are the gradients in x and
/// in y; to `tolerance` of the largest entry, or of 1.
inline void expect_unbiased(const Problem& problem, const Level& level, int64_t batches,
                            double tolerance = 1e-12) {
  std::vector<torch::Tensor> variables = problem.upper.parameters;
  variables.insert(variables.end(), problem.lower.parameters.begin(), problem.lower.parameters.end());
  // Value and gradients, in one vector.
  const auto of = [&](const Batch& batch) {
    const torch::Tensor loss =
        level.feature_loss ? level.feature_loss(problem.encode(batch), batch) : level.loss(batch);
    std::vector<torch::Tensor> parts{loss.detach().reshape({1})};
    const auto gradients =
        torch::autograd::grad({loss.sum()}, variables, {}, false, false, /*allow_unused=*/true);
    for (size_t i = 0; i < variables.size(); ++i) {
      parts.push_back(gradients[i].defined() ? gradients[i].reshape({-1})
                                             : torch::zeros({variables[i].numel()}));
    }
    return torch::cat(parts).to(torch::kFloat64);
  };
  Sampler sampler(level.batches, at::make_generator<at::CPUGeneratorImpl>(7));
  torch::Tensor sum;
  for (int64_t t = 0; t < batches; ++t) {
    const torch::Tensor one = of(sampler.next());
    sum = t == 0 ? one : sum + one;
  }
  const torch::Tensor expected = of(level.batches.all());
  const double scale = std::max(1.0, expected.abs().max().item<double>());
  EXPECT_LT((sum / static_cast<double>(batches) - expected).abs().max().item<double>(), tolerance * scale);
}

}  // namespace bilevel
