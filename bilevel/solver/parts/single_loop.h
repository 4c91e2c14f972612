// One iteration's derivatives for the methods that carry z along: SLIP, BO-REP, SOBA, MA-SOBA.
#pragma once

#include <optional>

#include "bilevel/core/fields.h"
#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/parts/choices.h"

namespace bilevel {

struct SingleLoopOptions {
  std::optional<double> lower_step_size;  ///< one step y <- y - eta_y grad_y G; none: y stays
  bool gauss_seidel = false;              ///< true: the other derivatives read y after its step
  /// false: the step of y, H z and J z each have a lower sample of their own, grad_y F and grad_x F each an
  /// upper one; true: one lower and one upper sample serve all.
  bool shared = false;
};

struct SingleLoopStep {
  torch::Tensor residual;       ///< H z - grad_y F
  torch::Tensor hypergradient;  ///< grad_x F - J z
  torch::Tensor upper_loss;     ///< F on the sample of grad_x F
};

/// Steps y and returns the directions of z and x at the given z. Calls: 1 lower_gradient (when y steps), 1
/// upper_gradient, 1 hvp, 1 cross_vjp. Shared and simultaneous, this is one forward and one gradient with
/// graph in each batch, and ONE backward pass for both directions.
SingleLoopStep single_loop_step(Oracles& oracles, const torch::Tensor& z, const SingleLoopOptions& options);

/// The field `samples` of these methods.
void single_loop_samples_field(Fields& f, Samples& value);

/// x <- x - step_size m / ||m||, one norm over all of x, then the projection; nothing where m = 0.
void normalized_step(Oracles& oracles, const torch::Tensor& m, double step_size);

}  // namespace bilevel
