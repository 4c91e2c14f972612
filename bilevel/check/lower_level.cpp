#include "bilevel/check/lower_level.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/hypergrad/finite_difference/finite_difference.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/lanczos/lanczos.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// Every column a product.
Tensor dense_matrix(const LinearOperator& product, const Tensor& like) {
  const int64_t n = like.numel();
  Tensor h = torch::empty({n, n}, like.options().dtype(torch::kFloat64));
  for (int64_t k = 0; k < n; ++k) {
    Tensor unit = torch::zeros_like(like);
    unit[k] = 1;
    h.select(1, k).copy_(product(unit));
  }
  return 0.5 * (h + h.t());
}

}  // namespace

LowerLevel::Curvature LowerLevel::curvature_here(bool exact_products) const {
  Curvature found;
  const bool is_double = s_.unit < 1e-12;
  std::optional<LossPoint> point;
  if (exact_products) point.emplace(s_.oracles.lower().point(s_.lower, Graph::lower_only));
  const LinearOperator product = [&](const Tensor& v) {
    return exact_products ? point->hvp(v)
                          : difference_hvp(s_.oracles, s_.lower, v, s_.difference_step(std::cbrt(s_.unit)));
  };
  const double accuracy = exact_products ? s_.unit : std::pow(s_.unit, 2 / 3.0);  // of a product
  if (s_.y.numel() <= s_.options.dense_limit) {
    found.dense = dense_matrix(product, s_.y);
    if (!found.dense.isfinite().all().item<bool>()) {
      found.failure = "second derivatives of g are not finite";
      found.dense = Tensor();
      return found;
    }
    const Tensor values = at::linalg_eigvalsh(found.dense);
    found.smallest = values[0].item<double>();
    found.largest = values[-1].item<double>();
    found.flat = 4 * std::sqrt(static_cast<double>(s_.y.numel())) * accuracy *
                 std::max(std::abs(found.smallest), std::abs(found.largest));
    return found;
  }
  const ExtremeEigenvalues ends =
      lanczos(product, s_.random(s_.y), {.max_products = 100, .tolerance = is_double ? 1e-8 : 1e-6});
  found.smallest = ends.smallest;
  found.largest = ends.largest;
  if (ends.failed) found.failure = ends.message;
  if (!ends.message.empty()) found.remark = "; more products might find a smaller one";
  found.flat = std::max(10 * accuracy, 1e-9) * std::max(std::abs(ends.smallest), std::abs(ends.largest));
  return found;
}

double LowerLevel::condition() const {
  const LowerLevelCheck& level = s_.report.lower_level;
  return level.strongly_convex ? level.largest_curvature / level.smallest_curvature : 1 / std::sqrt(s_.unit);
}

double LowerLevel::distance_of(const Minimum& found) const {
  if (!(at_solution_.smallest > at_solution_.flat)) return found.distance;
  const double rounding = s_.unit * at_solution_.largest * norm_of(found.y);
  return (found.gradient_norm + rounding) / at_solution_.smallest;
}

Minimum LowerLevel::minimize() const {
  Minimum found =
      solve_lower(s_.oracles, s_.lower,
                  {.max_gradients = s_.options.max_gradients, .length = s_.y_length, .inverse = inverse_});
  found.distance = distance_of(found);
  return found;
}

bool LowerLevel::solve() {
  LowerLevelCheck& level = s_.report.lower_level;
  s_.oracles.y().assign(s_.y);
  Minimum found = minimize();
  level.gradients = found.gradients;
  const bool usable = found.y.isfinite().all().item<bool>() && std::isfinite(found.gradient_norm);
  if (usable) {
    // Products with the Hessian may be missing or wrong: an inverse that does not help is dropped, and what is
    // said of the curvature comes after their test.
    try {
      at_solution_ = curvature_here(true);
    } catch (const std::exception&) {
    }
    if (!(at_solution_.smallest > at_solution_.flat)) at_solution_ = curvature_here(false);
    if (at_solution_.dense.defined() && at_solution_.smallest > at_solution_.flat) {
      const auto [values, vectors] = at::linalg_eigh(at_solution_.dense);
      inverse_ = [values = values, vectors = vectors](const Tensor& v) {
        return vectors.mv(vectors.t().mv(v.to(torch::kFloat64)) / values).to(v.scalar_type());
      };
      found = minimize();
      level.gradients += found.gradients;
    } else {
      found.distance = distance_of(found);
    }
  }
  level.gradient_norm = found.gradient_norm;
  level.distance = found.distance;
  value_ = found.value;
  const double relative = found.distance / (s_.y_length + norm_of(found.y));
  const bool near = usable && relative <= 0.1 * s_.tolerance;
  // Good enough to go on with; every later reference counts the distance among its errors.
  level.solved = near || (usable && found.converged && relative <= std::sqrt(s_.tolerance));
  solution_ = level.solved ? found.y : s_.y;
  if (near) {
    s_.note("lower level", "y*(x) was found", Verdict::ok, relative);
  } else if (!usable || (!found.converged && found.gradients < s_.options.max_gradients)) {
    s_.note("lower level", "y*(x) was found", Verdict::wrong, kNoNumber,
            fmt::format("{}; |grad_y g| = {:.2g}", found.message, found.gradient_norm));
  } else {
    s_.note(
        "lower level", "y*(x) was found", Verdict::unsure, relative,
        fmt::format("{}|grad_y g| = {:.2g} is not small against the curvature: y*(x) may be {:.2g} away",
                    found.message.empty() ? "" : found.message + "; ", found.gradient_norm, found.distance));
  }
  return level.solved;
}

std::vector<Tensor> LowerLevel::valleys() const {
  // Along every axis of a small y and along random lines, at distances that grow by sqrt(2).
  std::vector<Tensor> lines;
  const Tensor nothing = torch::zeros_like(solution_);
  if (s_.y.numel() <= 16) {
    for (int64_t i = 0; i < s_.y.numel(); ++i) {
      Tensor d = nothing.clone();
      d[i] = std::max(s_.y_length, std::abs(solution_[i].item<double>()));
      lines.push_back(d);
    }
  }
  for (int64_t k = 0; k < s_.options.starts; ++k)
    lines.push_back(s_.displaced(false, solution_, 1) - solution_);
  const Tensor given = s_.y - solution_;
  if (norm_of(given) > 0) lines.push_back(given);

  std::vector<Tensor> found;
  const auto value_at = [&](const Tensor& y) {
    s_.oracles.y().assign(y);
    return s_.lower_value();
  };
  for (const Tensor& d : lines) {
    for (const double sign : {1.0, -1.0}) {
      std::vector<double> values{value_};
      std::vector<double> at{0};
      for (double t = 0.25; t < 20; t *= std::sqrt(2.0)) {
        at.push_back(sign * t);
        values.push_back(value_at(solution_ + sign * t * d));
      }
      for (size_t i = 2; i < values.size(); ++i) {
        const bool valley =
            values[i] < values[i - 1] && (i + 1 == values.size() || values[i] <= values[i + 1]);
        if (valley || values[i] < value_) found.push_back(solution_ + at[i] * d);
      }
    }
  }
  return found;
}

void LowerLevel::other_starts() {
  const LowerLevelCheck& level = s_.report.lower_level;
  if (s_.options.starts == 0) return;
  const PointScope restore(s_.oracles, s_.x, solution_);
  std::vector<Tensor> starts = valleys();
  // The lowest ones first: few minimizations then find what there is.
  std::vector<std::pair<double, Tensor>> ordered;
  for (const Tensor& y : starts) {
    s_.oracles.y().assign(y);
    ordered.emplace_back(s_.lower_value(), y);
  }
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  starts.clear();
  for (const auto& [value, y] : ordered) {
    if (static_cast<int64_t>(starts.size()) < s_.options.starts) starts.push_back(y);
  }
  for (int64_t k = 0; k < s_.options.starts / 2; ++k) {  // pairs, far and farther
    const Tensor move = s_.displaced(false, solution_, k % 2 == 0 ? 2 : 6) - solution_;
    starts.push_back(solution_ + move);
    starts.push_back(solution_ - move);
  }

  Minimum lowest{.y = solution_, .value = value_};
  int64_t spent = 0;
  const int64_t most = std::max<int64_t>(2000, 4 * level.gradients);
  int64_t tried = 0;
  for (const Tensor& start : starts) {
    if (spent > most) break;
    s_.oracles.y().assign(start);
    const Minimum found =
        solve_lower(s_.oracles, s_.lower,
                    {.max_gradients = std::min(s_.options.max_gradients, most), .length = s_.y_length});
    spent += found.gradients;
    ++tried;
    if (!(found.value < lowest.value)) continue;
    // What rounding and the distance from the minimum can make of two values of one minimum.
    const double size = std::abs(at_solution_.largest) * std::pow(norm_of(solution_) + norm_of(found.y), 2);
    const double away = norm_of(found.y - solution_);
    const double margin = 100 * s_.unit * (std::abs(value_) + std::abs(found.value)) + 10 * s_.unit * size +
                          10 * level.gradient_norm * away;
    const bool elsewhere =
        !(away <= 10 * (level.distance + s_.tolerance * (s_.y_length + norm_of(solution_))));
    if (elsewhere && found.value < value_ - margin) lowest = found;
  }
  s_.report.lower_level.starts = tried;
  s_.report.lower_level.lowest_value = lowest.value;
  s_.report.lower_level.value = value_;
  const std::string name = "no other start of y ends lower";
  if (lowest.value >= value_) {
    s_.note("lower level", name, Verdict::ok);
    return;
  }
  const double away = norm_of(lowest.y - solution_);
  // A network has many minima, and none of them is its solution.
  const bool network = s_.y.numel() > s_.options.dense_limit;
  s_.note("lower level", name, network ? Verdict::warning : Verdict::wrong, kNoNumber,
          fmt::format("g = {:.6g} at the y found, but {:.6g} at a distance of {:.2g}: the y given leads to a "
                      "{}, not to y*(x)",
                      value_, lowest.value, away, "minimum that is not the lowest"));
}

void LowerLevel::curvature(bool products_agree) {
  LowerLevelCheck& level = s_.report.lower_level;
  s_.oracles.y().assign(s_.y);
  const Curvature start = curvature_here(products_agree);
  level.start_smallest_curvature = start.smallest;
  level.start_largest_curvature = start.largest;
  s_.oracles.y().assign(solution_);
  const Curvature found = level.solved ? curvature_here(products_agree) : start;
  level.smallest_curvature = found.smallest;
  level.largest_curvature = found.largest;
  level.strongly_convex = level.solved && found.failure.empty() && found.smallest > found.flat;
  if (level.solved) {
    at_solution_ = found;
    if (products_agree) hessian_ = found.dense;
  }
  const auto add = [&](Verdict v, const std::string& message) {
    s_.note("lower level", "g is strongly convex in y here", v, kNoNumber, message);
  };
  if (!found.failure.empty()) {
    add(Verdict::wrong, found.failure);
  } else if (!level.solved) {
    add(found.smallest < -found.flat ? Verdict::wrong : Verdict::warning,
        fmt::format("the smallest curvature at the given y is {:.3g}, the largest {:.3g}", found.smallest,
                    found.largest));
  } else if (found.smallest < -found.flat) {
    add(Verdict::wrong,
        fmt::format("the smallest curvature is {:.3g}: the y found is no minimum", found.smallest));
  } else if (!level.strongly_convex) {
    add(Verdict::warning,
        fmt::format(
            "the smallest curvature is {:.2g} (largest {:.3g}): y*(x) is not unique, or not smooth in x",
            found.smallest, found.largest));
  } else if (start.smallest < -start.flat) {
    add(Verdict::warning,
        fmt::format("curvature from {:.3g} to {:.3g} at y*, but {:.3g} at the given y: g is not convex",
                    found.smallest, found.largest, start.smallest));
  } else {
    add(Verdict::ok,
        fmt::format("curvature from {:.3g} to {:.3g}{}", found.smallest, found.largest, found.remark));
  }
}

}  // namespace bilevel
