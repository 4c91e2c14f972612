// How far the present point of a known problem is from its answer.
#pragma once

#include <optional>

#include "bilevel/problem/sets.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {

struct KnownMetrics {
  double gradient_norm = 0;                       ///< ||grad Phi(x)||, the true hypergradient
  std::optional<double> projected_gradient_norm;  ///< ||x - P(x - grad Phi(x))||, where x has a feasible set
  std::optional<double> distance;                 ///< ||x - x*|| / sqrt(dim x), where x* is known
};

/// At the problem's present x. Cost: one `KnownProblem::gradient`.
/// @param project the problem's projection of x; empty: x is free.
/// @param solution its solution(), which may cost much and does not change; undefined: not known.
KnownMetrics known_metrics(const KnownProblem& problem, const Projection& project,
                           const torch::Tensor& solution);

}  // namespace bilevel
