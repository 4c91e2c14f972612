// A bounded, smooth problem whose upper objective is concave in y: only the composed objective has a minimum.
//
// f = sum cos x_i + x'y - ||y||^2/2,  g = ||y - x||^2/2 (float64). y* = x, Phi = sum cos x_i + x_i^2/2,
// grad Phi_i = x_i - sin x_i, x* = 0, where the Hessian of Phi vanishes: near it, progress is slow. x starts
// at 2, y at 0.
#include "bilevel/task/known_problem.h"

namespace bilevel {
namespace {

class Cosine : public KnownProblem {
 public:
  void fields(Fields& f) override { f.integer("dim", dim_, kAtLeastOne, "dimension of x and y"); }
  void make(uint64_t) override {
    x_ = torch::full({dim_}, 2.0, torch::kFloat64).requires_grad_();
    y_ = torch::zeros({dim_}, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const auto f = [x = x_, y = y_](const Batch&) {
      return torch::cos(x).sum() + x.dot(y) - 0.5 * y.square().sum();
    };
    const auto g = [x = x_, y = y_](const Batch&) { return 0.5 * (y - x).square().sum(); };
    return {.upper = {.parameters = {{"x", x_}}, .loss = f, .batches = no_data()},
            .lower = {.parameters = {{"y", y_}}, .loss = g, .batches = no_data()}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override { return x; }
  torch::Tensor gradient(const torch::Tensor& x) const override { return x - torch::sin(x); }
  torch::Tensor solution() const override { return torch::zeros({dim_}, torch::kFloat64); }
  ProblemTraits traits() const override {
    return {.upper_curvature_min = -1, .upper_curvature_max = -1, .lower_curvature_min = 1};
  }

 private:
  int64_t dim_ = 1;
};

}  // namespace

KnownProblemEntry cosine_entry() {
  return {"cosine", "cos x + x y - y^2/2 over a parabola: x* = 0, where the curvature vanishes",
          [] { return std::make_unique<Cosine>(); }};
}

}  // namespace bilevel
