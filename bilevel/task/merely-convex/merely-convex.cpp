// A lower level that is convex but not strongly convex (the sl-BAMM paper's first numerical problem).
//
// With y = (u, v), e all ones:  g = ||u||^2/2 - x'u,  f = ||x - v||^2/2 + ||u - e||^2/2 (float64). v is free
// in g: every (x, v) minimizes it, and the upper level likes v = x best. Then Phi = ||x - e||^2/2, x* = u* =
// v* = e, f* = 0, g* = -n/2. x and y start at 0.01.
#include "bilevel/task/known_problem.h"

namespace bilevel {
namespace {

class MerelyConvex : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.integer("dim", dim_, kAtLeastOne, "dimension of x; y has twice as many");
  }
  void make(uint64_t) override {
    x_ = torch::full({dim_}, 0.01, torch::kFloat64).requires_grad_();
    y_ = torch::full({2 * dim_}, 0.01, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const auto f = [x = x_, y = y_, n = dim_](const Batch&) {
      return 0.5 * (x - y.narrow(0, n, n)).square().sum() + 0.5 * (y.narrow(0, 0, n) - 1).square().sum();
    };
    const auto g = [x = x_, y = y_, n = dim_](const Batch&) {
      const torch::Tensor u = y.narrow(0, 0, n);
      return 0.5 * u.square().sum() - x.dot(u);
    };
    return {.upper = {.parameters = {{"x", x_}}, .loss = f, .batches = no_data()},
            .lower = {.parameters = {{"y", y_}}, .loss = g, .batches = no_data()}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override { return torch::cat({x, x}); }
  torch::Tensor gradient(const torch::Tensor& x) const override { return x - 1; }
  torch::Tensor solution() const override { return torch::ones({dim_}, torch::kFloat64); }
  ProblemTraits traits() const override {
    return {
        .convexity = Convexity::mere,
        .caveat = "g is convex in y but not strongly convex: it does not depend on half of y's coordinates",
        .upper_curvature_min = 1,
        .upper_curvature_max = 1,
        .lower_curvature_min = 0};
  }

 private:
  int64_t dim_ = 100;
};

}  // namespace

KnownProblemEntry merely_convex_entry() {
  return {"merely-convex", "a lower level that leaves half of y free: x* = 1 if the upper level may choose",
          [] { return std::make_unique<MerelyConvex>(); }};
}

}  // namespace bilevel
