// How far the present point of a known problem is from its answer.
#pragma once

#include <nlohmann/json.hpp>

#include "bilevel/problem/sets.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {

/// Of a problem's present point, by exact computation without noise.
class KnownMetrics {
 public:
  /// The problem must outlive it. Asks for its solution(), which may cost much.
  explicit KnownMetrics(const KnownProblem& known);

  /// "gradient_norm", ||grad Phi(x)||, the true hypergradient; where x has a feasible set "projected_gradient_norm",
  /// ||x - P(x - grad Phi(x))||; where x* is known "distance", ||x - x*|| / sqrt(dim x). Cost: one
  /// `KnownProblem::gradient`.
  nlohmann::ordered_json at_present() const;

  /// The same, "distance" in any case (null), and the values of both objectives on all rows: "upper", "lower".
  nlohmann::ordered_json with_objectives() const;

  /// Of such an object the norm that vanishes at a solution.
  static double stationarity(const nlohmann::ordered_json& metrics);

  /// x*, detached; undefined where it is not known.
  const torch::Tensor& solution() const { return solution_; }

 private:
  const KnownProblem& known_;
  Problem problem_;
  Batch upper_, lower_;  // all rows
  torch::Tensor solution_;
};

}  // namespace bilevel
