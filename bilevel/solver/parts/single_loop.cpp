#include "bilevel/solver/parts/single_loop.h"

#include "bilevel/core/flat.h"

namespace bilevel {
namespace {

/// H z - grad_y F on samples of their own.
torch::Tensor independent_residual(Oracles& oracles, const torch::Tensor& z) {
  const torch::Tensor b =
      oracles.upper().gradient_in_y(oracles.upper().draw("linear_batches"), Counted::with_the_other_half);
  if (oracles.has_lower_hessian()) return oracles.lower_hessian(z) - b;
  return oracles.lower().point(oracles.lower().draw("linear_batches"), Graph::lower_only).hvp(z) - b;
}

}  // namespace

SingleLoopStep single_loop_step(Oracles& oracles, const torch::Tensor& z, const SingleLoopOptions& options) {
  const Sample xi = oracles.upper().draw("upper_batches");
  const bool moves_y = options.lower_step_size.has_value();
  const Sample zeta =
      options.shared || moves_y ? oracles.lower().draw("lower_batches") : Sample{};  // of y, or of everything
  const Sample cross = options.shared ? zeta : oracles.lower().draw("cross_batches");

  torch::Tensor lower_gradient;
  const auto step_y = [&] {
    if (!moves_y) return;
    if (!lower_gradient.defined()) lower_gradient = oracles.lower().gradient_in_y(zeta);
    oracles.y().add(lower_gradient, -*options.lower_step_size);
  };

  if (options.gauss_seidel) step_y();
  SingleLoopStep result;
  if (!options.shared) result.residual = independent_residual(oracles, z);
  {
    auto [upper, lower] = oracles.points(xi, cross);
    result.upper_loss = upper.value();
    if (options.shared) {
      if (moves_y && !options.gauss_seidel) lower_gradient = lower.grad_y();
      const LinearStep step = oracles.hypergradient_and_residual(upper, lower, z);
      result.hypergradient = step.hypergradient;
      result.residual = step.residual;
    } else {
      result.hypergradient = oracles.hypergradient(upper, lower, z);
    }
  }
  if (!options.gauss_seidel) step_y();
  return result;
}

void single_loop_samples_field(Fields& f, Samples& value) {
  f.choice(
      "samples", value,
      "whether every derivative has a sample of its own, or one lower and one upper sample serve the step");
}

void normalized_step(Oracles& oracles, const torch::Tensor& m, double step_size) {
  if (!m.is_cpu()) {  // reading the norm would wait for the device
    const torch::Tensor norm = m.norm();
    oracles.upper().move(m / torch::where(norm == 0, 1, norm), -step_size);
    return;
  }
  const double norm = flat_norm(m).item<double>();
  if (norm != 0) oracles.upper().move(m, -step_size / norm);  // a norm that is not finite shows in x
}

}  // namespace bilevel
