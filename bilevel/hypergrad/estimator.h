// Estimators of the hypergradient by name.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bilevel/core/fields.h"
#include "bilevel/core/registry.h"
#include "bilevel/hypergrad/estimate.h"
#include "bilevel/linear/linear_solver.h"

namespace bilevel {

/// A way to estimate the hypergradient at the present (x, y) from one fixed sample a level; on samples of all
/// rows it is deterministic. (Solvers that draw a fresh sample for every product call the pieces themselves.)
class Estimator {
 public:
  virtual ~Estimator() = default;
  /// Its name in the registry.
  virtual std::string name() const = 0;
  /// Its options.
  virtual void fields(Fields& fields) = 0;
  /// Bytes that it keeps beside the graph of a point, for a lower variable of `lower_size` numbers.
  virtual int64_t memory_bytes(int64_t lower_size, int64_t element_size) const = 0;
  /// The estimate, with residual and cost. x and y stay what they are.
  virtual Estimate estimate(Oracles& oracles, const Sample& upper, const Sample& lower) const = 0;
};

/// What an estimator needs for a given accuracy, and where its own error shows: `check` gives it as much. Options that it
/// has among linear_steps, lower_steps, linear_ and lower_step_size, linear_tolerance, max_gradients, length are set.
struct Effort {
  enum class Steps {
    none,       ///< a fixed amount of work, or it ends by itself
    dimension,  ///< as a Krylov method: about dim y, until linear_tolerance
    condition,  ///< as a linear iteration: log(accuracy) / log(1 - mu/l)
  };
  Steps steps = Steps::none;
  double factor = 1;                 ///< on the steps that the condition asks for
  bool dense = false;                ///< it forms the matrix H
  bool keeps_iterates = false;       ///< it follows steps on y, which must move, and keeps each in memory
  bool squares_condition = false;    ///< rounding meets the square of the condition
  std::string difference_step = {};  ///< option: a length that trades rounding for curvature; none: empty
  std::string penalty = {};          ///< option: a factor that the bias falls with as 1/factor; none: empty
};

struct EstimatorEntry {
  std::string name, summary;
  std::function<std::unique_ptr<Estimator>()> make;  ///< with default options
  Effort effort = {};
};

/// neumann, sgd, cg, cg-normal, fixed-point, exact (implicit, over the linear solver of that name), unrolled,
/// finite-difference, value-function, and those that a program adds.
Registry<EstimatorEntry>& estimator_registry();

/// An estimator with default options. Throws InputError, naming the known ones, for an unknown name.
std::unique_ptr<Estimator> make_estimator(const std::string& name);

/// The implicit hypergradient grad_x F - J z with z from the linear solver of `options`, on one sample a
/// level, whose graph all products share. A failed linear solve is treated by `options.policy`. Cost: 1
/// upper_gradient, 1 cross_vjp, the solver's hvp.
Estimate implicit_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                           const LinearSolverOptions& options);

}  // namespace bilevel
