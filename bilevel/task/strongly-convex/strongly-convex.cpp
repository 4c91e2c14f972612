// Quadratics with a strongly convex lower level (the sl-BAMM paper's second numerical problem).
//
// g = y'Ay/2 - x'By,  f = y'Ay/2 + (x - e)'D(x - e)/2 with e all ones (float64). y* = A^-1 B'x,
// grad Phi = B A^-1 B'x + D(x - e), x* = (B A^-1 B' + D)^-1 D e. Form `identity`: A = B = D = I, so x* = y*
// = e/2 and Phi* = n/4. Form `general`: A with eigenvalues U(1, 2) and D with U(0, 1), each in random
// directions, B with entries U(0, 1), all drawn from the seed. x and y start at 2.
#include <ATen/CPUGeneratorImpl.h>

#include "bilevel/core/streams.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {
namespace {

class StronglyConvex : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.integer("dim", dim_, kAtLeastOne, "dimension of x and y");
    f.choice("form", form_, {"identity", "general"}, "whether A, B, D are the identity or random matrices");
  }
  void make(uint64_t seed) override {
    a_ = b_ = d_ = torch::eye(dim_, torch::kFloat64);
    if (form_ == "general") {
      at::Generator random = at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, "strongly-convex"));
      const auto with_eigenvalues = [&](const torch::Tensor& eigenvalues) {
        const torch::Tensor q =
            std::get<0>(at::linalg_qr(torch::randn({dim_, dim_}, random, torch::kFloat64)));
        return q.mm(torch::diag(eigenvalues)).mm(q.t());
      };
      a_ = with_eigenvalues(1 + torch::rand({dim_}, random, torch::kFloat64));
      b_ = torch::rand({dim_, dim_}, random, torch::kFloat64);
      d_ = with_eigenvalues(torch::rand({dim_}, random, torch::kFloat64));
    }
    x_ = torch::full({dim_}, 2.0, torch::kFloat64).requires_grad_();
    y_ = torch::full({dim_}, 2.0, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const auto f = [x = x_, y = y_, a = a_, d = d_](const Batch&) {
      return 0.5 * y.dot(a.mv(y)) + 0.5 * (x - 1).dot(d.mv(x - 1));
    };
    const auto g = [x = x_, y = y_, a = a_, b = b_](const Batch&) {
      return 0.5 * y.dot(a.mv(y)) - x.dot(b.mv(y));
    };
    return {.upper = {.parameters = {{"x", x_}}, .loss = f, .batches = no_data()},
            .lower = {.parameters = {{"y", y_}}, .loss = g, .batches = no_data()}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override {
    return at::linalg_solve(a_, b_.t().mv(x));
  }
  torch::Tensor gradient(const torch::Tensor& x) const override {
    return b_.mv(best_lower(x)) + d_.mv(x - 1);
  }
  torch::Tensor solution() const override {
    const torch::Tensor one = torch::ones({dim_}, torch::kFloat64);
    return at::linalg_solve(b_.mm(at::linalg_solve(a_, b_.t())) + d_, d_.mv(one));
  }
  ProblemTraits traits() const override {
    return {.upper_curvature_min = 1,
            .upper_curvature_max = form_ == "general" ? 2.0 : 1.0,
            .lower_curvature_min = 1};
  }

 private:
  int64_t dim_ = 100;
  std::string form_ = "identity";
  torch::Tensor a_, b_, d_;
};

}  // namespace

KnownProblemEntry strongly_convex_entry() {
  return {"strongly-convex", "quadratics in the identity or general form: x* = 1/2, or in closed form",
          [] { return std::make_unique<StronglyConvex>(); }};
}

}  // namespace bilevel
