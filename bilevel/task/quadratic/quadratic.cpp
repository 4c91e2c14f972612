#include "bilevel/task/quadratic/quadratic.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr double kUpperCurvatureMin = 0.1, kUpperCurvatureMax = 0.5;  // of R

/// A symmetric matrix with the given eigenvalues and random eigenvectors.
torch::Tensor with_spectrum(const torch::Tensor& eigenvalues, at::Generator& generator) {
  const int64_t n = eigenvalues.numel();
  const torch::Tensor q = std::get<0>(at::linalg_qr(torch::randn({n, n}, generator, torch::kFloat64)));
  return q.mm(torch::diag(eigenvalues)).mm(q.t());
}

}  // namespace

Quadratic::Quadratic(const QuadraticOptions& options) : noise_(options.noise) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  const int64_t n = options.upper_size;
  const int64_t m = options.lower_size;
  const auto random = [&](at::IntArrayRef shape) { return torch::randn(shape, generator, torch::kFloat64); };
  const torch::Tensor exponents = torch::linspace(0, 1, m, torch::kFloat64);
  A = with_spectrum(options.lower_curvature_min *
                        torch::pow(options.lower_curvature_max / options.lower_curvature_min, exponents),
                    generator);
  C = random({n, m}) * (0.3 * options.lower_curvature_max);
  a = random({m}) * options.lower_curvature_max;
  P = with_spectrum(torch::linspace(1, 2, n, torch::kFloat64), generator);
  R = with_spectrum(torch::linspace(kUpperCurvatureMin, kUpperCurvatureMax, m, torch::kFloat64), generator);
  S = random({n, m}) * 0.1;
  p = random({n});
  r = random({m});
  x = torch::ones({n}, torch::kFloat64).requires_grad_();
  y = torch::ones({m}, torch::kFloat64).requires_grad_();
}

Problem Quadratic::problem() const {
  // Captures tensor handles, not this object.
  const auto f = [x = x, y = y, P = P, R = R, S = S, p = p, r = r](const Batch&) {
    return 0.5 * x.dot(P.mv(x)) + 0.5 * y.dot(R.mv(y)) + x.dot(S.mv(y)) + p.dot(x) + r.dot(y);
  };
  const auto g = [x = x, y = y, A = A, C = C, a = a, noise = noise_](const Batch&) {
    torch::Tensor value = 0.5 * y.dot(A.mv(y)) + x.dot(C.mv(y)) + a.dot(y);
    if (noise > 0) value = value + noise * torch::randn_like(a).dot(y);
    return value;
  };
  return {.upper = {.parameters = {{"x", x}}, .loss = f, .batches = no_data()},
          .lower = {.parameters = {{"y", y}}, .loss = g, .batches = no_data()}};
}

torch::Tensor Quadratic::best_lower(const torch::Tensor& at) const {
  return -at::linalg_solve(A, C.t().mv(at) + a);
}

torch::Tensor Quadratic::linear_variable(const torch::Tensor& at, const torch::Tensor& y_at) const {
  return at::linalg_solve(A, R.mv(y_at) + S.t().mv(at) + r);
}

torch::Tensor Quadratic::hypergradient(const torch::Tensor& at, const torch::Tensor& y_at) const {
  return P.mv(at) + S.mv(y_at) + p - C.mv(linear_variable(at, y_at));
}

torch::Tensor Quadratic::gradient(const torch::Tensor& at) const { return hypergradient(at, best_lower(at)); }

torch::Tensor Quadratic::value(const torch::Tensor& at) const {
  const torch::Tensor y_at = best_lower(at);
  return 0.5 * at.dot(P.mv(at)) + 0.5 * y_at.dot(R.mv(y_at)) + at.dot(S.mv(y_at)) + p.dot(at) + r.dot(y_at);
}

torch::Tensor Quadratic::curvature() const {
  const torch::Tensor w = at::linalg_solve(A, C.t());  // -dy*/dx
  const torch::Tensor coupling = S.mm(w);
  return P - coupling - coupling.t() + w.t().mm(R).mm(w);
}

void Quadratic::make_convex() {
  while (at::linalg_eigvalsh(curvature()).min().item<double>() < 0.1) S = 0.5 * S;
}

ProblemTraits quadratic_traits(const QuadraticOptions& options) {
  return {.upper_curvature_min = kUpperCurvatureMin,
          .upper_curvature_max = kUpperCurvatureMax,
          .lower_curvature_min = options.lower_curvature_min};
}

namespace {

class KnownQuadratic : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.integer("upper_size", options_.upper_size, kAtLeastOne, "dimension of x");
    f.integer("lower_size", options_.lower_size, kAtLeastOne, "dimension of y");
    f.number("lower_curvature_min", options_.lower_curvature_min, kPositive,
             "smallest eigenvalue of d2g/dy2");
    f.number("lower_curvature_max", options_.lower_curvature_max, kPositive, "largest eigenvalue of d2g/dy2");
  }
  void make(uint64_t seed) override {
    if (options_.lower_curvature_min > options_.lower_curvature_max) {
      throw InputError(fmt::format("lower_curvature_min = {:g}: must be at most lower_curvature_max = {:g}",
                                   options_.lower_curvature_min, options_.lower_curvature_max));
    }
    options_.seed = seed;
    quadratic_ = std::make_unique<Quadratic>(options_);
    quadratic_->make_convex();
    x_ = quadratic_->x;
    y_ = quadratic_->y;
  }
  Problem problem() const override { return quadratic_->problem(); }
  torch::Tensor best_lower(const torch::Tensor& x) const override { return quadratic_->best_lower(x); }
  torch::Tensor gradient(const torch::Tensor& x) const override { return quadratic_->gradient(x); }
  torch::Tensor solution() const override {  // Phi is quadratic
    return -at::linalg_solve(quadratic_->curvature(), gradient(torch::zeros_like(x()).detach()));
  }
  ProblemTraits traits() const override { return quadratic_traits(options_); }

 private:
  QuadraticOptions options_;
  std::unique_ptr<Quadratic> quadratic_;
};

}  // namespace

KnownProblemEntry quadratic_entry() {
  return {"quadratic", "random quadratics of chosen spectrum; closed-form solution",
          [] { return std::make_unique<KnownQuadratic>(); }};
}

}  // namespace bilevel
