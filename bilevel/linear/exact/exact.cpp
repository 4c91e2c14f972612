#include "bilevel/linear/exact/exact.h"

#include <torch/types.h>

#include <limits>

namespace bilevel {

LinearSolution exact_solve(const LinearOperator& hessian, const torch::Tensor& b) {
  const int64_t n = b.numel();
  const torch::Tensor identity = torch::eye(n, b.options());
  std::vector<torch::Tensor> columns;
  for (int64_t i = 0; i < n; ++i) columns.push_back(hessian(identity[i]));
  const torch::Tensor h = torch::stack(columns, 1).to(torch::kFloat64);
  const torch::Tensor rhs = b.to(torch::kFloat64);
  // Until there is a solution there are no numbers: a zero would pass for one.
  const torch::Tensor none = torch::full_like(b, std::numeric_limits<double>::quiet_NaN());
  LinearSolution solution{.z = none, .residual = b.norm(), .products = n};
  const auto [lu, pivots, info] = at::linalg_lu_factor_ex(h);
  const torch::Tensor z = at::linalg_lu_solve(lu, pivots, rhs.unsqueeze(1)).squeeze(1);
  const torch::Tensor u = lu.diagonal().abs();
  // A pivot that round-off alone explains: n units in the last place of the largest one.
  const double round_off = static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  const bool singular = info.item<int>() != 0 || (u.min() <= round_off * u.max()).item<bool>();
  if (singular || !z.isfinite().all().item<bool>()) {
    solution.failed = true;
    solution.message = "the lower Hessian is singular or not finite";
    return solution;
  }
  solution.z = z.to(b.scalar_type());
  solution.residual = (rhs - h.mv(z)).norm();
  return solution;
}

}  // namespace bilevel
