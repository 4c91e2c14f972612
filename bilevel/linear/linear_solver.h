// Linear solvers by name.
#pragma once

#include <functional>
#include <string>

#include "bilevel/core/fields.h"
#include "bilevel/core/registry.h"
#include "bilevel/linear/linear.h"
#include "bilevel/linear/policy.h"

namespace bilevel {

/// A linear solver for a symmetric H, chosen by name, with what to do when it fails.
struct LinearSolverOptions {
  std::string linear_solver = "cg";  ///< a name of linear_solver_registry()
  /// of neumann, sgd and fixed-point; auto: 1/l, with l the largest eigenvalue that 20 products of Lanczos
  /// find
  StepSize linear_step_size = {};
  int64_t linear_steps = 100;  ///< neumann: summands; sgd: steps; the others but exact: iterations at most
  double linear_tolerance = 1e-10;  ///< of the relative residual: cg, cg-normal, fixed-point
  LinearPolicy policy = {};

  void fields(Fields& fields);
};

struct LinearSolverEntry {
  std::string name, summary;
  std::function<LinearMethod(const LinearSolverOptions& options)>
      make;            ///< the options must outlive the method
  bool dense = false;  ///< it forms H: about 24 dim(b)^2 bytes
};

/// neumann, sgd, cg, cg-normal, fixed-point, exact, and those that a program adds.
Registry<LinearSolverEntry>& linear_solver_registry();

/// Solves H z = b from z = 0 by the method named and treats a failure by the policy. A Neumann sum or SGD
/// whose residual ends larger than ||b|| has diverged and counts as failed here. Throws InputError for an
/// unknown name.
LinearSolution solve_linear(const LinearOperator& hessian, const torch::Tensor& b,
                            const LinearSolverOptions& options);

}  // namespace bilevel
