// F2SA: first derivatives only; two copies of the lower variable and a penalty that grows (arXiv 2301.10945,
// Algorithm 1).
//
// y follows argmin_y f + lambda_k g, w follows argmin_y g. Iteration k = 0, 1, ..., with w_0 = y_0 and N =
// lower_steps:
//   N times, at x_k:  w <- w - eta_y grad_y G(x_k, w; zeta)
//                     y <- y - eta_y/(1 + lambda_k) (grad_y F(x_k, y; xi) + lambda_k grad_y G(x_k, y; zeta'))
//   x_{k+1} = x_k - eta_x (grad_x F(x_k, y; xi'')
//                          + lambda_k (grad_x G(x_k, y; zeta'') - grad_x G(x_k, w; zeta'')))
//   lambda_{k+1} = lambda_k + multiplier_growth,  lambda_0 = multiplier
// At fixed lambda the direction of x is the gradient of f(x,y) + lambda (g(x,y) - min_w g(x,w)) at its
// minimizer y; it differs from the hypergradient by O(1/lambda).
//
// `schedule = paper`: eta_x (k+1)^(-5/7), eta_y (k+1)^(-4/7) for both y and w,
// lambda_k = multiplier (k+1)^(1/7).
//
// The theory asks for lambda_0 >= 2 l_f/mu, with l_f the largest absolute curvature of f in y and mu the smallest one of
// g: from there on f + lambda g is strongly convex in y. `multiplier = auto` finds both at the start by Lanczos iterations
// on differences of gradients, of one batch of either level, and takes 1 where 2 l_f/mu is less, or where g is not
// strongly convex there and no number follows.
//
// Differs from the paper:
// - The paper's step on y along grad_y F + lambda_k grad_y G is alpha_k, with alpha_k lambda_k of the order
//   of w's step gamma_k. Here alpha_k = eta_y/(1 + lambda_k): a step eta_y on the weighted mean (f + lambda g)/(1 +
//   lambda), whose curvature stays bounded by the larger one of f's and g's however small or large lambda is.
// - The paper's step on x is xi alpha_k, which shrinks as lambda grows; here eta_x is an option of its own.
// - One lower sample serves grad_x G at y and at w: their difference is multiplied by lambda_k, and the noise
//   that they have in common cancels. The paper draws one for each.
// - `samples = shared` is a variant that does the same for the steps on y and w.
// - `order = simultaneous` is a variant in which x reads y and w as they were before the N steps. With it, a constant multiplier
//   and N = 1 this is the saddle form min over x, y of max over w of f(x, y) + lambda (g(x, y) - g(x, w)), one step of each an
//   iteration (ScaleBiO, 2024, whose x weighs sources of data). There y and w must follow a moving x equally fast: a y that
//   lags (`penalized_rate` far from 1) makes x swing in a cycle that ends nowhere.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct F2SAOptions {
  double upper_step_size = 1e-2;   ///< eta_x
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize multiplier = {};        ///< lambda_0; auto: 2 l_f/mu as seen at the start, see above
  double multiplier_growth = 0.1;  ///< added to lambda after each iteration; not used with schedule = paper
  int64_t lower_steps = 10;        ///< N, steps on y and on w an iteration
  double penalized_rate =
      1;  ///< y's step is this times eta_y/(1 + lambda); at 1 y follows x as fast as w does
  Order order = Order::gauss_seidel;       ///< simultaneous: x reads y and w before their steps
  Samples samples = Samples::independent;  ///< whether y and w step with one lower batch
  std::string schedule = "constant";    ///< course of eta_x and, unless it has its own, of eta_y: see Course
  std::string lower_schedule = "same";  ///< course of eta_y

  void fields(Fields& fields);
};

/// The algorithm. During the run and at its end `Oracles::y()` holds y, which minimizes f + lambda g: it is
/// O(1/lambda) away from y*(x), towards what the upper level likes. `w()` is the estimate of y*(x) itself.
///
/// Calls a step: 2N lower_gradient, N + 1 upper_gradient, 2 lower_joint_gradient. Samples a step: N + 1 upper
/// and 2N + 1 lower batches (N + 1 when shared). Memory beside the variables: w, of the size of y, and the
/// graph of one batch; no second derivative is taken.
class F2SA : public SteppedSolver<F2SAOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "f2sa"; }
  nlohmann::ordered_json chosen() const override;

  /// w, flat [dim y]: the estimate of argmin_y g.
  const torch::Tensor& w() const { return w_; }
  /// lambda of the next step.
  double multiplier() const;

 private:
  StepSizeOptions step_sizes() const override {
    return step_size_options(options_, {.upper = 5.0 / 7, .lower = 4.0 / 7});
  }
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  /// One step on w and one on y.
  void lower_step(Oracles& oracles, double lambda);
  /// That of x at the present x, y and w.
  StepReport direction(Oracles& oracles, double lambda);

  double first_multiplier_ = 1;  // lambda_0
  torch::Tensor w_;
};

}  // namespace bilevel
