#include "bilevel/check/derivative_tests.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "bilevel/hypergrad/finite_difference/finite_difference.h"
#include "bilevel/oracle/second_derivatives.h"

namespace bilevel {
namespace {

using torch::Tensor;

constexpr int64_t kSingleZeros = 4;  // numbers with zero gradient that are tried one by one, a parameter

}  // namespace

std::vector<TestPoint> test_points(Session& s, const Tensor& solution) {
  const Tensor away = s.random(solution);
  std::vector<TestPoint> points{
      {s.x, solution + 0.03 * (s.y_length + norm_of(solution)) * away / norm_of(away), /*at_start=*/true}};
  const auto& project = s.oracles.problem().upper.project;
  for (int64_t k = 0; k < s.options.points; ++k) {
    double size = k % 2 == 0 ? 0.5 : 0.1;
    for (int attempt = 0; attempt < 6; ++attempt, size /= 4) {
      Tensor x = s.displaced(true, s.x, size);
      if (project) x = project(x);
      const TestPoint point{x, s.displaced(false, solution, size), /*at_start=*/false};
      const PointScope moved(s.oracles, point.x, point.y);
      const JointGradient f = s.oracles.upper().gradient(s.upper), g = s.oracles.lower().gradient(s.lower);
      const double sum = f.value.item<double>() + g.value.item<double>() + norm_of(f.x) + norm_of(f.y) +
                         norm_of(g.x) + norm_of(g.y);
      if (!std::isfinite(sum)) continue;
      points.push_back(point);
      break;
    }
  }
  return points;
}

bool DerivativeTests::run(const std::vector<TestPoint>& points) {
  for (const TestPoint& point : points) {
    if (s_.oracles.has_derivatives()) own_derivatives(point);
    gradients(point);
  }
  s_.note_collected();
  {
    const PointScope moved(s_.oracles, points[0].x, points[0].y);
    influence();
    twice(points[0]);
  }
  bool agree = true;
  for (const TestPoint& point : points) agree = products(point) && agree;
  s_.note_collected();
  reach();
  return agree;
}

/// The derivative along d against differences. The whole of which it is a part is the gradient, or, where that
/// vanishes, a thousandth of the value.
Ruling DerivativeTests::derivative(Parameters& variable, const Tensor& at, const Tensor& d, bool upper,
                                   double found, double overall) {
  const auto value_of = [&] { return upper ? s_.upper_value() : s_.lower_value(); };
  variable.assign(at);
  overall = std::max(overall, 1e-3 * std::abs(value_of()));
  Differentiator differences([&](double t) {
    variable.assign(at + t * d);
    const double value = value_of();
    return NoisyValue{value, 4 * s_.unit * std::abs(value)};
  });
  const auto judged = [&](const Difference& expected) {
    return judge(
        {.gap = std::isfinite(expected.error) || !std::isfinite(found) ? std::abs(found - expected.value) : 0,
         .scale = std::max(std::abs(found), std::abs(expected.value)),
         .noise = expected.error,
         .overall = overall},
        s_.tolerance);
  };
  Difference expected = differences.best(s_.step_along(&variable == &s_.oracles.x(), at, d), s_.tolerance,
                                         (found == 0 ? 1 : 1e-2) * s_.tolerance * overall);
  Ruling judgement = judged(expected);
  if (judgement.verdict == Verdict::wrong && std::isfinite(found))
    judgement = judged(differences.confirmed(expected));
  variable.assign(at);
  return judgement;
}

void DerivativeTests::own_derivatives(const TestPoint& point) {
  const PointScope moved(s_.oracles, point.x, point.y);
  const Tensor v = s_.random(point.y);
  const auto all = [&] {
    const JointGradient f = s_.oracles.upper().gradient(s_.upper), g = s_.oracles.lower().gradient(s_.lower);
    const Products products = s_.oracles.lower().point(s_.lower).products(v);
    return std::vector{std::pair{"grad_x f", f.x}, {"grad_y f", f.y},     {"grad_x g", g.x},
                       {"grad_y g", g.y},          {"H v", products.hvp}, {"J v", products.cross_vjp}};
  };
  const auto own = all();
  const AutogradScope by_autograd(s_.oracles);
  const auto expected = all();
  for (size_t i = 0; i < own.size(); ++i) {
    const Tensor &one = own[i].second, &other = expected[i].second;
    const double scale = std::max(norm_of(one), norm_of(other));
    Ruling judgement =
        judge({.gap = norm_of(one - other), .scale = scale, .noise = 64 * s_.unit * scale, .overall = scale},
              s_.tolerance);
    if (judgement.verdict == Verdict::wrong) judgement.message = "differs from autograd's of the loss";
    s_.collect("gradients", fmt::format("the problem's own {}", own[i].first), judgement, point);
  }
}

void DerivativeTests::gradients(const TestPoint& point) {
  const PointScope moved(s_.oracles, point.x, point.y);
  const JointGradient f = s_.oracles.upper().gradient(s_.upper);
  const JointGradient g = s_.oracles.lower().gradient(s_.lower);
  for (const bool of_x : {true, false}) {
    for (const Block& block : of_x ? s_.x_blocks : s_.y_blocks) {
      for (const bool upper : {true, false}) {
        const Tensor& gradient = of_x ? (upper ? f.x : g.x) : (upper ? f.y : g.y);
        one_gradient(point, of_x, block, upper, gradient);
        if (point.at_start) zero_coordinates(point, of_x, block, upper, gradient);
      }
    }
  }
}

void DerivativeTests::one_gradient(const TestPoint& point, bool of_x, const Block& block, bool upper,
                                   const Tensor& gradient) {
  Parameters& variable = of_x ? s_.oracles.x() : s_.oracles.y();
  const Tensor d = s_.direction_in(block, gradient);
  Ruling judgement =
      derivative(variable, of_x ? point.x : point.y, d, upper, dot_of(gradient, d), norm_of(gradient));
  const bool absent = block.of(gradient).count_nonzero().item<int64_t>() == 0;
  if (judgement.verdict == Verdict::wrong && absent) {
    judgement.message = "the loss changes with it, but its gradient is zero: detached from the graph?";
    auto& names = s_.report.without_gradient;
    if (std::find(names.begin(), names.end(), block.name) == names.end()) names.push_back(block.name);
  } else if (judgement.verdict == Verdict::wrong && judgement.message.empty()) {
    judgement.message = "differs from the differences of the loss: a part of it is detached from the graph?";
  }
  s_.collect("gradients", fmt::format("{} of {}", upper ? "f" : "g", block.name), judgement, point);
}

/// Single numbers whose gradient is exactly zero while others of the parameter have one: too small a part of a
/// large parameter for random directions.
void DerivativeTests::zero_coordinates(const TestPoint& point, bool of_x, const Block& block, bool upper,
                                       const Tensor& gradient) {
  const Tensor zeros = (block.of(gradient) == 0).nonzero().squeeze(1);
  if (zeros.numel() == 0 || zeros.numel() == block.size) return;
  Parameters& variable = of_x ? s_.oracles.x() : s_.oracles.y();
  const Tensor order =
      torch::randperm(zeros.numel(), s_.oracles.streams().stream("check.zeros"), torch::kInt64);
  for (int64_t k = 0; k < std::min(kSingleZeros, zeros.numel()); ++k) {
    Tensor d = torch::zeros_like(gradient);
    const int64_t number = zeros[order[k].item<int64_t>()].item<int64_t>();
    d[block.offset + number] = 1;
    Ruling judgement = derivative(variable, of_x ? point.x : point.y, d, upper, 0, 0);
    if (judgement.verdict != Verdict::wrong) continue;
    judgement.message = fmt::format("the loss changes with number {} of it, whose gradient is zero", number);
    s_.collect("gradients", fmt::format("{} of single numbers of {}", upper ? "f" : "g", block.name),
               judgement, point);
    return;
  }
}

/// Which parameters change a loss at all when they move far (a derivative may vanish by symmetry).
void DerivativeTests::influence() {
  const auto moves = [&](bool of_x, const Block& block, bool upper) {
    Parameters& variable = of_x ? s_.oracles.x() : s_.oracles.y();
    const double length = of_x ? s_.x_length : s_.y_length;
    const Tensor at = variable.flat().clone();
    const auto value = [&] { return upper ? s_.upper_value() : s_.lower_value(); };
    const double before = value();
    bool moved = false;
    for (const double size : {1e-2, 1.0}) {
      Tensor shifted = at.clone();
      const Tensor r = s_.random(block.of(at));
      block.of(shifted).add_(r, size * (length + norm_of(block.of(at))) / norm_of(r));
      variable.assign(shifted);
      const double after = value();
      moved = moved || after != before;  // NaN is a change
    }
    variable.assign(at);
    return moved;
  };
  for (const bool of_x : {true, false}) {
    for (const Block& block : of_x ? s_.x_blocks : s_.y_blocks) {
      const bool f = moves(of_x, block, true), g = moves(of_x, block, false);
      if (!f && !g) {
        s_.report.without_influence.push_back(block.name);
        s_.note("parameters", block.name, Verdict::warning, kNoNumber, "influences neither loss");
      } else if (!of_x && !g) {
        s_.note("parameters", block.name, Verdict::warning, kNoNumber,
                "does not influence the lower loss, so the lower level does not determine it");
      }
    }
  }
}

/// What LibTorch cannot differentiate twice, parameter by parameter.
void DerivativeTests::twice(const TestPoint&) {
  std::string flat, apart;  // names
  for (const SecondDerivative& one : second_derivatives(s_.oracles, s_.lower)) {
    if (!one.failure.empty()) {
      s_.report.not_twice_differentiable.push_back(fmt::format("{}: {}", one.parameter, one.failure));
      s_.note("second derivatives", fmt::format("of g through {}", one.parameter), Verdict::wrong, kNoNumber,
              "cannot be differentiated twice: " + one.failure);
    } else if (one.vanishes) {
      std::string& names = one.parameter.starts_with("lower") ? flat : apart;
      names += (names.empty() ? "" : ", ") + one.parameter;
    }
  }
  if (!flat.empty()) {
    s_.report.remarks.push_back("grad_y g does not change with " + flat +
                                ": no curvature there (g piecewise linear in it?)");
  }
  if (!apart.empty()) {
    s_.report.remarks.push_back("grad_y g does not change with " + apart +
                                ": no cross derivative there, y*(x) does not move with it");
  }
}

/// Hessian and cross products against differences of gradients, symmetry and adjoint.
bool DerivativeTests::products(const TestPoint& at) {
  const PointScope moved(s_.oracles, at.x, at.y);
  const char* whose = s_.oracles.has_lower_hessian() ? "Problem::lower_hessian" : "H v of g";
  const double step = std::pow(s_.unit, 0.25);
  const Tensor v = s_.random(s_.y), w = s_.random(s_.y), u = s_.random(s_.x);
  try {
    LossPoint point = s_.oracles.lower().point(s_.lower, Graph::both);
    const Tensor hv = point.hvp(v), hw = point.hvp(w), jv = point.cross_vjp(v);
    const double left = dot_of(hv, w), right = dot_of(v, hw);
    const double product_scale =
        std::max({std::abs(left), std::abs(right),
                  norm_of(hv) * norm_of(w) / std::sqrt(static_cast<double>(s_.y.numel()))});
    const auto along_v = [&](auto* product) {
      return VectorDifferentiator([&, product](double t) { return product(s_.oracles, s_.lower, v, t); },
                                  s_.difference_step(step));
    };
    const bool agree = compare(at, std::string(whose) + " in ", s_.y_blocks, hv, along_v(difference_hvp));
    compare(at, "J v of g in ", s_.x_blocks, jv, along_v(difference_cross));
    Ruling symmetry = judge({.gap = std::abs(left - right), .scale = product_scale}, s_.tolerance);
    if (symmetry.verdict == Verdict::wrong) symmetry.message = "the lower Hessian must be symmetric";
    s_.collect("second derivatives", fmt::format("symmetry <Hu,w> = <u,Hw> of {}", whose), symmetry, at);
    adjoint(at, jv, v, u, step);
    return agree;
  } catch (const std::exception& error) {
    s_.collect("second derivatives", "products with them",
               {.verdict = Verdict::wrong, .message = first_line(error.what())}, at);
    return false;
  }
}

/// Block by block; true when nothing is wrong.
bool DerivativeTests::compare(const TestPoint& at, const std::string& what, const std::vector<Block>& blocks,
                              const Tensor& found, const VectorDifferentiator& differences) {
  bool agree = true;
  const VectorDifference once = differences.once();
  const double overall = std::max(norm_of(found), norm_of(once.value));
  for (const Block& block : blocks) {
    const auto judged = [&](const VectorDifference& expected) {
      return judge({.gap = norm_of(block.of(found) - block.of(expected.value)),
                    .scale = std::max(norm_of(block.of(found)), norm_of(block.of(expected.value))),
                    .noise = norm_of(block.of(expected.error)) + 1e-3 * s_.tolerance * overall,
                    .overall = overall},
                   s_.tolerance);
    };
    Ruling judgement = judged(once);
    if (judgement.verdict == Verdict::wrong) judgement = judged(differences.confirmed(once));
    if (judgement.verdict == Verdict::wrong && judgement.message.empty()) {
      judgement.message = s_.oracles.has_lower_hessian() && what.starts_with("Problem")
                              ? "differs from the differences of grad_y g"
                              : "differs from the differences of the gradient: a backward pass that is not "
                                "itself differentiable?";
    }
    agree = agree && judgement.verdict != Verdict::wrong;
    s_.collect("second derivatives", what + block.name, judgement, at);
  }
  return agree;
}

/// <Jz, u> = <z, J'u> with J'u a difference of grad_y g along u.
void DerivativeTests::adjoint(const TestPoint& at, const Tensor& jz, const Tensor& z, const Tensor& u,
                              double step) {
  const double h = step * (s_.x_length + norm_of(at.x)) / norm_of(u);
  const auto central = [&](double t) {
    const auto gradient = [&](double shift) {
      const PointScope moved(s_.oracles, at.x + shift * u, at.y);
      return s_.oracles.lower().gradient_in_y(s_.lower);
    };
    return (gradient(t) - gradient(-t)) / (2 * t);
  };
  const VectorDifferentiator differences(central, h);
  // The gradients' rounding beside what two steps show.
  const double size = norm_of(s_.oracles.lower().gradient_in_y(s_.lower));
  const auto judged = [&](const VectorDifference& ju) {
    const double left = dot_of(jz, u), right = dot_of(z, ju.value);
    const double scale = std::max({std::abs(left), std::abs(right),
                                   norm_of(jz) * norm_of(u) / std::sqrt(static_cast<double>(s_.x.numel()))});
    const double noise = dot_of(z.abs(), ju.error) + 4 * s_.unit * size / h * norm_of(z);
    return judge({.gap = std::abs(left - right), .scale = scale, .noise = noise, .overall = scale},
                 s_.tolerance);
  };
  const VectorDifference once = differences.once();
  Ruling judgement = judged(once);
  if (judgement.verdict == Verdict::wrong) judgement = judged(differences.confirmed(once));
  s_.collect("second derivatives", "adjoint <Jz,u> = <z,J'u> of g", judgement, at);
}

/// How small a fault random directions show.
void DerivativeTests::reach() {
  for (const auto* blocks : {&s_.x_blocks, &s_.y_blocks}) {
    const auto largest = std::max_element(blocks->begin(), blocks->end(),
                                          [](const Block& a, const Block& b) { return a.size < b.size; });
    const double unseen = s_.tolerance * static_cast<double>(largest->size);
    if (unseen <= 1) continue;
    s_.report.remarks.push_back(
        fmt::format("beyond reach: of the {} numbers of {}, a wrong derivative in fewer than about {:.0f} is "
                    "less than {:g} of the whole and need not show{}",
                    largest->size, largest->name, std::ceil(unseen), s_.tolerance,
                    s_.unit > 1e-12 ? "; in float64 a part of 1e-05 does" : ""));
  }
}

}  // namespace bilevel
