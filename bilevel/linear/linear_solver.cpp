#include "bilevel/linear/linear_solver.h"

#include <fmt/format.h>

#include "bilevel/linear/cg/cg.h"
#include "bilevel/linear/exact/exact.h"
#include "bilevel/linear/fixed_point/fixed_point.h"
#include "bilevel/linear/lanczos/lanczos.h"
#include "bilevel/linear/neumann/neumann.h"
#include "bilevel/linear/sgd/sgd.h"

namespace bilevel {
namespace {

/// Methods that look at nothing themselves: their last residual tells whether they went anywhere.
LinearSolution noticing_divergence(LinearSolution solution, const torch::Tensor& b, const char* name,
                                   double step_size) {
  const double residual = solution.residual.item<double>();
  const double norm_b = b.norm().item<double>();
  if (residual > norm_b * (1 + 1e-6)) {
    solution.failed = true;
    solution.message = fmt::format(
        "{} diverges: its residual {:.3g} is larger than ||b|| = {:.3g}. The step size {:g} is too large for "
        "the lower Hessian, or it has negative curvature",
        name, residual, norm_b, step_size);
  }
  return solution;
}

/// The given step size, or 1/l; adds the products it took.
double step_size_for(const LinearOperator& hessian, const torch::Tensor& b, const StepSize& given,
                     int64_t& products, std::string& failure) {
  if (!given.automatic()) return *given.value;
  if (!(b.norm().item<double>() > 0)) return 1;  // zero needs no step; NaN is the method's to report
  // b has a part in every direction that matters to z.
  const ExtremeEigenvalues found = lanczos(hessian, b, {.max_products = 20, .tolerance = 1e-3});
  products += found.products;
  if (!found.failed && found.largest > 0) return 1 / found.largest;
  failure = found.failed
                ? found.message
                : fmt::format("no step size follows from the largest curvature, {:.3g}", found.largest);
  return 0;
}

/// A method that steps, with the step size of the options.
using Stepping = LinearSolution (*)(const LinearOperator&, const torch::Tensor& b, double step,
                                    const LinearSolverOptions&);

LinearSolverEntry stepping(const std::string& name, const std::string& summary, Stepping method) {
  return {.name = name, .summary = summary, .make = [name, method](const LinearSolverOptions& options) {
            return [name, method, &options](const LinearOperator& h, const torch::Tensor& b) {
              int64_t products = 0;
              std::string failure;
              const double step = step_size_for(h, b, options.linear_step_size, products, failure);
              if (!failure.empty()) {
                return LinearSolution{.z = torch::zeros_like(b),
                                      .residual = b.norm(),
                                      .products = products,
                                      .failed = true,
                                      .message = name + ": " + failure};
              }
              LinearSolution solution = method(h, b, step, options);
              solution.products += products;
              return solution;
            };
          }};
}

LinearSolverEntry krylov(const std::string& name, const std::string& summary,
                         LinearSolution (*method)(const LinearOperator&, const torch::Tensor&,
                                                  const CgOptions&)) {
  return {.name = name, .summary = summary, .make = [method](const LinearSolverOptions& options) {
            const CgOptions cg{.max_iterations = options.linear_steps, .tolerance = options.linear_tolerance};
            return [method, cg](const LinearOperator& h, const torch::Tensor& b) { return method(h, b, cg); };
          }};
}

}  // namespace

Registry<LinearSolverEntry>& linear_solver_registry() {
  static Registry<LinearSolverEntry> registry(
      "linear solver",
      {stepping(
           "neumann", "a truncated Neumann sum",
           [](const LinearOperator& h, const torch::Tensor& b, double step, const LinearSolverOptions& o) {
             return noticing_divergence(neumann(h, b, step, o.linear_steps), b, "the Neumann sum", step);
           }),
       stepping(
           "sgd", "gradient descent steps of a given number",
           [](const LinearOperator& h, const torch::Tensor& b, double step, const LinearSolverOptions& o) {
             return noticing_divergence(linear_sgd(h, b, torch::zeros_like(b), step, o.linear_steps), b,
                                        "SGD on the linear system", step);
           }),
       krylov("cg", "conjugate gradients", conjugate_gradients),
       krylov("cg-normal", "conjugate gradients on the normal equations", conjugate_gradients_normal),
       stepping(
           "fixed-point", "the fixed-point iteration, until it has converged",
           [](const LinearOperator& h, const torch::Tensor& b, double step, const LinearSolverOptions& o) {
             return fixed_point(
                 h, b,
                 {.step_size = step, .max_iterations = o.linear_steps, .tolerance = o.linear_tolerance});
           }),
       {.name = "exact",
        .summary = "a dense factorization",
        .make = [](const LinearSolverOptions&) { return exact_solve; },
        .dense = true}});
  return registry;
}

void LinearSolverOptions::fields(Fields& f) {
  f.choice("linear_solver", linear_solver, linear_solver_registry().names(), "method for H z = b");
  f.step_size("linear_step_size", linear_step_size, "step of neumann, sgd and fixed-point; auto: 1/l");
  f.integer("linear_steps", linear_steps, kAtLeastOne,
            "terms of neumann, steps of sgd, most iterations of others");
  f.number("linear_tolerance", linear_tolerance, kNonNegative,
           "relative residual at which cg, cg-normal and fixed-point stop");
  policy.fields(f);
}

LinearSolution solve_linear(const LinearOperator& hessian, const torch::Tensor& b,
                            const LinearSolverOptions& options) {
  return solve_with_policy(linear_solver_registry().at(options.linear_solver).make(options), hessian, b,
                           options.policy);
}

}  // namespace bilevel
