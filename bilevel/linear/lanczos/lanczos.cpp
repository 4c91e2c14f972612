#include "bilevel/linear/lanczos/lanczos.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

ExtremeEigenvalues lanczos(const LinearOperator& hessian, const torch::Tensor& start,
                           const LanczosOptions& options) {
  const int64_t n = start.numel();
  const int64_t most = std::min(n, options.max_products);
  const torch::Tensor wide = start.to(torch::kFloat64);
  const double length = wide.norm().item<double>();
  if (!(length > 0) || !std::isfinite(length) || most < 1) {
    throw InputError("lanczos needs a start that is finite and not zero, and at least one product");
  }
  ExtremeEigenvalues found;
  torch::Tensor basis = torch::empty({most, n}, wide.options());
  std::vector<double> diagonal, beside;
  torch::Tensor q = wide / length;
  const auto ritz_vector = [&](const torch::Tensor& coefficients, int64_t k) {
    return basis.narrow(0, 0, k).t().mv(coefficients.to(basis.device())).to(start.scalar_type());
  };
  for (int64_t k = 1;; ++k) {
    basis[k - 1].copy_(q);
    torch::Tensor w = hessian(q.to(start.scalar_type())).to(torch::kFloat64);
    ++found.products;
    diagonal.push_back(q.dot(w).item<double>());
    if (!std::isfinite(diagonal.back()) || !std::isfinite(w.norm().item<double>())) {
      const double nan = std::numeric_limits<double>::quiet_NaN();
      found.smallest = found.largest = found.smallest_error = found.largest_error = nan;
      found.failed = true;
      found.message = "lanczos met a number that is not finite";
      return found;
    }
    const torch::Tensor known = basis.narrow(0, 0, k);
    for (int pass = 0; pass < 2; ++pass) w = w - known.t().mv(known.mv(w));  // twice is enough
    const double next = w.norm().item<double>();

    torch::Tensor t = torch::zeros({k, k}, torch::kFloat64);
    auto cell = t.accessor<double, 2>();
    for (int64_t i = 0; i < k; ++i) {
      cell[i][i] = diagonal[static_cast<size_t>(i)];
      if (i + 1 < k) cell[i][i + 1] = cell[i + 1][i] = beside[static_cast<size_t>(i)];
    }
    const auto [values, vectors] = at::linalg_eigh(t);
    found.smallest = values[0].item<double>();
    found.largest = values[k - 1].item<double>();
    found.smallest_error = next * std::abs(vectors[k - 1][0].item<double>());
    found.largest_error = next * std::abs(vectors[k - 1][k - 1].item<double>());
    const double size = std::max(std::abs(found.smallest), std::abs(found.largest));
    const bool exhausted = k == n || next <= 1e-13 * size;
    const bool accurate = std::max(found.smallest_error, found.largest_error) <= options.tolerance * size;
    if (exhausted || accurate || k == most) {
      found.smallest_vector = ritz_vector(vectors.select(1, 0), k);
      found.largest_vector = ritz_vector(vectors.select(1, k - 1), k);
      if (!exhausted && !accurate) {
        found.message = fmt::format(
            "lanczos stopped after {} products with errors of at most {:.2g} (smallest) and {:.2g} (largest)",
            found.products, found.smallest_error, found.largest_error);
      }
      return found;
    }
    beside.push_back(next);
    q = w / next;
  }
}

}  // namespace bilevel
