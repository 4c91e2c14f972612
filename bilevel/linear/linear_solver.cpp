#include "bilevel/linear/linear_solver.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "bilevel/core/error.h"
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
        "the "
        "lower Hessian, or it has negative curvature",
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

}  // namespace

void LinearSolverOptions::fields(Fields& f) {
  f.choice("linear_solver", linear_solver, linear_solver_names(), "method for H z = b");
  f.step_size("linear_step_size", linear_step_size, "step of neumann, sgd and fixed-point; auto: 1/l");
  f.integer("linear_steps", linear_steps, kAtLeastOne,
            "terms of neumann, steps of sgd, most iterations of others");
  f.number("linear_tolerance", linear_tolerance, kNonNegative,
           "relative residual at which cg, cg-normal and fixed-point stop");
  policy.fields(f);
}

const std::vector<std::string>& linear_solver_names() {
  static const std::vector<std::string> names{"neumann", "sgd", "cg", "cg-normal", "fixed-point", "exact"};
  return names;
}

LinearSolution solve_linear(const LinearOperator& hessian, const torch::Tensor& b,
                            const LinearSolverOptions& options) {
  const std::string& name = options.linear_solver;
  const auto stepping = [&](const std::function<LinearSolution(const LinearOperator&, double)>& method) {
    return [&, method](const LinearOperator& h, const torch::Tensor& rhs) {
      int64_t products = 0;
      std::string failure;
      const double step = step_size_for(h, rhs, options.linear_step_size, products, failure);
      if (!failure.empty()) {
        return LinearSolution{.z = torch::zeros_like(rhs),
                              .residual = rhs.norm(),
                              .products = products,
                              .failed = true,
                              .message = name + ": " + failure};
      }
      LinearSolution solution = method(h, step);
      solution.products += products;
      return solution;
    };
  };
  const CgOptions krylov{.max_iterations = options.linear_steps, .tolerance = options.linear_tolerance};
  LinearMethod method;
  if (name == "neumann") {
    method = stepping([&](const LinearOperator& h, double step) {
      return noticing_divergence(neumann(h, b, step, options.linear_steps), b, "the Neumann sum", step);
    });
  } else if (name == "sgd") {
    method = stepping([&](const LinearOperator& h, double step) {
      return noticing_divergence(linear_sgd(h, b, torch::zeros_like(b), step, options.linear_steps), b,
                                 "SGD on the linear system", step);
    });
  } else if (name == "fixed-point") {
    method = stepping([&](const LinearOperator& h, double step) {
      return fixed_point(
          h, b,
          {.step_size = step, .max_iterations = options.linear_steps, .tolerance = options.linear_tolerance});
    });
  } else if (name == "cg") {
    method = [&](const LinearOperator& h, const torch::Tensor& rhs) {
      return conjugate_gradients(h, rhs, krylov);
    };
  } else if (name == "cg-normal") {
    method = [&](const LinearOperator& h, const torch::Tensor& rhs) {
      return conjugate_gradients_normal(h, rhs, krylov);
    };
  } else if (name == "exact") {
    method = exact_solve;
  } else {
    throw InputError(fmt::format("there is no linear solver '{}'; known: {}", name,
                                 fmt::join(linear_solver_names(), ", ")));
  }
  return solve_with_policy(method, hessian, b, options.policy);
}

}  // namespace bilevel
