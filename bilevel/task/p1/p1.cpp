#include "bilevel/task/p1/p1.h"

#include <torch/types.h>

#include <cmath>

namespace bilevel {

P1::P1(int64_t size, double start) : P1(std::vector<double>(static_cast<size_t>(size), start)) {}

P1::P1(const std::vector<double>& start)
    : x(torch::tensor(start, torch::kFloat64).requires_grad_()),
      y(torch::zeros({static_cast<int64_t>(start.size())}, torch::kFloat64).requires_grad_()) {}

Problem P1::problem() const {
  const auto f = [*this](const Batch&) { return torch::cosh(c * x).sum() + b * torch::sin(y).sum(); };
  const auto g = [*this](const Batch&) { return 0.5 * mu * (y - a * x).square().sum(); };
  return {.upper = {.parameters = {{"x", x}}, .loss = f, .batches = no_data()},
          .lower = {.parameters = {{"y", y}}, .loss = g, .batches = no_data()}};
}

torch::Tensor P1::gradient(const torch::Tensor& at) const {
  return c * torch::sinh(c * at) + a * b * torch::cos(a * at);
}

torch::Tensor P1::solution() const {
  if (c * c < a * a * std::abs(b)) return {};
  // c sinh(c x) = -a b cos(a x) has one root, where |sinh(c x)| <= |a b|/c.
  const auto slope = [&](double at) { return c * std::sinh(c * at) + a * b * std::cos(a * at); };
  double high = std::asinh(std::abs(a * b) / c) / c, low = -high;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = 0.5 * (low + high);
    (slope(middle) < 0 ? low : high) = middle;
  }
  return torch::full_like(x.detach(), 0.5 * (low + high));
}

namespace {

class KnownP1 : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.number("c", c_, kPositive, "growth of the upper objective cosh(c x)");
    f.number("a", a_, kAny, "y* = a x");
    f.number("b", b_, kAny, "weight of sin(y) in the upper objective");
    f.number("mu", mu_, kPositive, "curvature of the lower objective");
    f.integer("dim", dim_, kAtLeastOne, "dimension of x and y");
  }
  void make(uint64_t) override {
    p1_ = P1(dim_);
    p1_.c = c_;
    p1_.a = a_;
    p1_.b = b_;
    p1_.mu = mu_;
    x_ = p1_.x;
    y_ = p1_.y;
  }
  Problem problem() const override { return p1_.problem(); }
  torch::Tensor best_lower(const torch::Tensor& x) const override { return a_ * x; }
  torch::Tensor gradient(const torch::Tensor& x) const override { return p1_.gradient(x); }
  torch::Tensor solution() const override { return p1_.solution(); }
  ProblemTraits traits() const override {
    return {.smoothness = Smoothness::unbounded,
            .steepness = "those of f grow without bound, like cosh(c x)",
            .upper_curvature_min = -std::abs(b_),
            .upper_curvature_max = std::abs(b_),
            .lower_curvature_min = mu_};
  }

 private:
  double c_ = 2, a_ = 1, b_ = 1, mu_ = 1;
  int64_t dim_ = 4;
  P1 p1_;
};

}  // namespace

KnownProblemEntry p1_entry() {
  return {"p1", "cosh upward, a parabola below: unbounded smoothness, known solution",
          [] { return std::make_unique<KnownP1>(); }};
}

}  // namespace bilevel
