// SABA: SOBA with SAGA's memory of every derivative (Dagreou, Ablin, Vaiter and Moreau, NeurIPS 2022).
//
// The lower rows are dealt into n slots (batches fixed for the run), the upper rows into m. For each slot the
// memory keeps the derivatives that were last computed on it: grad_y G, H z and J z of lower slots, grad_y F
// and grad_x F of upper ones, where H = d2G/dy2, J = d2G/dxdy. With z_0 = 0, iteration k draws a lower slot i
// and an upper slot j, each with probability w = rows of the slot / rows of the level, computes the five at
// (x_k, y_k, z_k), and forms for each of them
//   d = new - memory[i] + sum_s w_s memory[s];   memory[i] <- new
// and then, all at once,
//   y_{k+1} = y_k - eta_y d(grad_y G)
//   z_{k+1} = z_k - eta_z (d(H z) - d(grad_y F))
//   x_{k+1} = x_k - eta_x (d(grad_x F) - d(J z))
//
// Differs from the paper:
// - Slots are batches instead of single rows, so that the memory is `batch size` times smaller; their weights
//   w keep d unbiased when their sizes differ by a row.
// - The paper writes v = -z, and one step size for y and v: here eta_z has an option of its own, and `auto`
//   makes the two equal.
// - `memory = full` fills the memory with one pass over all slots before the first iteration; `zero`, the
//   default, starts it at 0.
// - `order = gauss_seidel` (z and x read y_{k+1}) and the schedules are variants.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

/// The memory's first content: zero, or the gradients of a pass over all slots.
enum class SagaStart { zero, full };
template <>
struct NamesOf<SagaStart> {
  static constexpr const char* value[] = {"zero", "full"};
};

struct SABAOptions {
  double upper_step_size = 5e-4;   ///< eta_x; see soba.md
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};  ///< eta_z; auto: 1/(2l)
  SagaStart memory = SagaStart::zero;
  double memory_limit = 4294967296;  ///< bytes that the memory may take
  Order order = Order::simultaneous;
  std::string schedule = "constant";     ///< course of the step sizes: see Course; paper: constant
  std::string lower_schedule = "same";   ///< course of eta_y
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// What SAGA remembers of one derivative: its last value on every slot, and their weighted mean.
class SagaMemory {
 public:
  SagaMemory() = default;
  /// All zero. `weights`: one for each slot, of sum 1. `like`: the derivative's shape [dim], type and device.
  SagaMemory(std::vector<double> weights, const torch::Tensor& like);

  /// fresh - memory[slot] + mean; then memory[slot] <- fresh, and the mean with it.
  torch::Tensor exchange(int64_t slot, const torch::Tensor& fresh);
  void state(State& state);

 private:
  std::vector<double> weights_;
  torch::Tensor rows_;  // [slots, dim]
  torch::Tensor mean_;  // [dim]
};

/// The algorithm. Calls a step: 1 lower_gradient, 1 upper_gradient, 1 hvp, 1 cross_vjp; memory = full,
/// counted as warm start: n lower_gradient and m upper_gradient (the products are 0, as z is). Passes a step:
/// one forward pass of either batch, the upper and the lower one apart, one gradient of F in (x, y), one of G
/// in y with graph, one backward pass for both products. Memory: n (2 dim y + dim x) + m (dim y + dim x)
/// numbers, and five means.
class SABA : public SteppedSolver<SABAOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "saba"; }
  void warm_start(Oracles& oracles) override;

 private:
  /// Throws InputError, with the bytes needed, where the memory does not fit memory_limit.
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  std::vector<double> lower_weights_, upper_weights_;  // w of every slot
  SagaMemory lower_gradient_, hvp_, cross_vjp_;        // of lower slots
  SagaMemory upper_gradient_y_, upper_gradient_x_;     // of upper slots
  torch::Tensor z_;
};

}  // namespace bilevel
