// The lower level of a check: y*(x), the curvature there, whether another start ends lower.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "bilevel/check/session.h"
#include "bilevel/hypergrad/minimize.h"

namespace bilevel {

class LowerLevel {
 public:
  explicit LowerLevel(Session& session) : s_(session) {}

  /// Finds y*(x) near the given y and notes how well. False: there is none that could be used.
  bool solve();
  /// Whether other starts of y end lower. Needs `solve`.
  void other_starts();
  /// Notes smallest and largest curvature. @param products_agree whether products with the Hessian are those of the
  /// differences; else differences serve
  void curvature(bool products_agree);

  /// y*(x), or the y given where there is none.
  const torch::Tensor& solution() const { return solution_; }
  /// H at the solution, float64, where dim y <= `dense_limit`; else undefined.
  const torch::Tensor& hessian() const { return hessian_; }
  bool strongly_convex() const { return s_.report.lower_level.strongly_convex; }
  /// l / mu; without strong convexity what rounding leaves.
  double condition() const;

  /// A minimum of g at the present x from the present y. Its `distance` is |grad_y g| / mu where mu is known, the
  /// gradient counted with its rounding.
  Minimum minimize() const;

 private:
  double distance_of(const Minimum& found) const;
  /// Eigenvalues' ends by the dense Hessian up to `dense_limit`, else by Lanczos, at the present point. `flat`: below
  /// this size a curvature is zero as far as one can tell.
  struct Curvature {
    double smallest = 0, largest = 0, flat = 0;
    torch::Tensor dense = {};
    std::string failure = {}, remark = {};
  };
  Curvature curvature_here(bool exact_products) const;
  /// Candidates for starts: where g along lines through the solution has another minimum.
  std::vector<torch::Tensor> valleys() const;

  Session& s_;
  torch::Tensor solution_, hessian_;
  Curvature at_solution_;
  std::function<torch::Tensor(const torch::Tensor&)> inverse_;
  double value_ = 0;
};

}  // namespace bilevel
