// A lower level with a flat valley of minimizers across the coordinates.
//
// With y = (u, v), e all ones:  g = ||u + v - x||^2/2,  f = (||u + e||^2 + ||v - 2x||^2)/2 (float64). Every
// y with u + v = x minimizes g. The upper level likes u = -(x + e)/2, v = (3x + e)/2 best (the optimistic
// problem): Phi = ||x - e||^2/4, x* = v*/2 = -u* = e, Phi* = 0. The lower Hessian is singular and grad_y f
// has a part in its kernel at every other minimizer, so that H z = grad_y f has no solution there. A method
// that leaves u - v where it starts ends at x = -0.2 e. x and y start at 0.
#include "bilevel/task/known_problem.h"

namespace bilevel {
namespace {

class ManyMinimizers : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.integer("dim", dim_, kAtLeastOne, "dimension of x; y has twice as many");
  }
  void make(uint64_t) override {
    x_ = torch::zeros({dim_}, torch::kFloat64).requires_grad_();
    y_ = torch::zeros({2 * dim_}, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const auto f = [x = x_, y = y_, n = dim_](const Batch&) {
      return 0.5 * ((y.narrow(0, 0, n) + 1).square().sum() + (y.narrow(0, n, n) - 2 * x).square().sum());
    };
    const auto g = [x = x_, y = y_, n = dim_](const Batch&) {
      return 0.5 * (y.narrow(0, 0, n) + y.narrow(0, n, n) - x).square().sum();
    };
    return {.upper = {.parameters = {{"x", x_}}, .loss = f, .batches = no_data()},
            .lower = {.parameters = {{"y", y_}}, .loss = g, .batches = no_data()}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override {
    return torch::cat({-0.5 * (x + 1), 0.5 * (3 * x + 1)});
  }
  torch::Tensor gradient(const torch::Tensor& x) const override { return 0.5 * (x - 1); }
  torch::Tensor solution() const override { return torch::ones({dim_}, torch::kFloat64); }
  ProblemTraits traits() const override {
    return {.convexity = Convexity::mere,
            .caveat = "g is convex in y but not strongly convex: it has a flat valley of minimizers",
            .upper_curvature_min = 1,
            .upper_curvature_max = 1,
            .lower_curvature_min = 0};
  }

 private:
  int64_t dim_ = 10;
};

}  // namespace

KnownProblemEntry many_minimizers_entry() {
  return {"many-minimizers", "a lower level with a flat valley: x* = 1 if the upper level may choose in it",
          [] { return std::make_unique<ManyMinimizers>(); }};
}

}  // namespace bilevel
