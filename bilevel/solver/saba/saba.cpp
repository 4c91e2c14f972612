#include "bilevel/solver/saba/saba.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"

namespace bilevel {
namespace {

/// A slot, drawn as the slot of a uniformly drawn row.
int64_t draw_slot(Oracles& oracles, const std::string& stream, const std::vector<double>& weights) {
  const double u = std::ldexp(static_cast<double>(oracles.streams().draw(stream) >> 11), -53);  // in [0, 1)
  double reached = 0;
  const auto last = static_cast<int64_t>(weights.size()) - 1;
  for (int64_t slot = 0; slot < last; ++slot) {
    reached += weights[static_cast<size_t>(slot)];
    if (u < reached) return slot;
  }
  return last;
}

std::vector<double> slot_weights(int64_t slots, int64_t rows, const std::function<int64_t(int64_t)>& size) {
  std::vector<double> weights;
  for (int64_t slot = 0; slot < slots; ++slot) {
    weights.push_back(static_cast<double>(size(slot)) / static_cast<double>(rows));
  }
  return weights;
}

}  // namespace

SagaMemory::SagaMemory(std::vector<double> weights, const torch::Tensor& like)
    : weights_(std::move(weights)),
      rows_(torch::zeros({static_cast<int64_t>(weights_.size()), like.numel()}, like.options())),
      mean_(torch::zeros({like.numel()}, like.options())) {}

torch::Tensor SagaMemory::exchange(int64_t slot, const torch::Tensor& fresh) {
  const torch::Tensor remembered = rows_[slot], change = copy_of(fresh);
  axpy(-1, remembered, change);
  const torch::Tensor direction = copy_of(change);
  axpy(1, mean_, direction);
  axpy(weights_[static_cast<size_t>(slot)], change, mean_);
  copy_into(fresh, remembered);
  return direction;
}

void SagaMemory::state(State& state) {
  state.tensor("rows", rows_);
  state.tensor("mean", mean_);
}

void SABAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.choice("memory", memory, "the memory's first content: zero, or the gradients of a pass over all slots");
  f.number("memory_limit", memory_limit, kNonNegative,
           "bytes that the memory may take: about the size of y twice and of x for every lower batch of the "
           "data set, and of both once for every upper one");
  order_field(f, order);
  schedule_fields(f, *this);
}

void SABA::begin(Oracles& oracles) {
  const int64_t n = oracles.lower().slots(), m = oracles.upper().slots();
  const torch::Tensor &x = oracles.x().flat(), &y = oracles.y().flat();
  const double numbers = static_cast<double>(n + 1) * static_cast<double>(2 * y.numel() + x.numel()) +
                         static_cast<double>(m + 1) * static_cast<double>(y.numel() + x.numel());
  const double bytes = numbers * static_cast<double>(x.element_size());
  if (bytes > options_.memory_limit) {
    throw InputError(
        fmt::format("memory_limit = {:.0f}: the memory of {} lower and {} upper slots needs {:.0f} bytes",
                    options_.memory_limit, n, m, bytes));
  }
  lower_weights_ = slot_weights(n, oracles.lower().batches().size(),
                                [&](int64_t slot) { return oracles.lower().slot_size(slot); });
  upper_weights_ = slot_weights(m, oracles.upper().batches().size(),
                                [&](int64_t slot) { return oracles.upper().slot_size(slot); });
  lower_gradient_ = SagaMemory(lower_weights_, y);
  hvp_ = SagaMemory(lower_weights_, y);
  cross_vjp_ = SagaMemory(lower_weights_, x);
  upper_gradient_y_ = SagaMemory(upper_weights_, y);
  upper_gradient_x_ = SagaMemory(upper_weights_, x);
  z_ = torch::zeros_like(y);
}

void SABA::warm_start(Oracles& oracles) {
  if (options_.memory == SagaStart::zero) return;
  for (int64_t i = 0; i < oracles.lower().slots(); ++i) {
    lower_gradient_.exchange(i, oracles.lower().gradient_in_y(oracles.lower().slot(i)));
  }
  for (int64_t j = 0; j < oracles.upper().slots(); ++j) {
    const JointGradient f = oracles.upper().gradient(oracles.upper().slot(j));
    upper_gradient_y_.exchange(j, f.y);
    upper_gradient_x_.exchange(j, f.x);
  }
}

StepReport SABA::iterate(Oracles& oracles) {
  const int64_t i = draw_slot(oracles, "lower_slot", lower_weights_);
  const int64_t j = draw_slot(oracles, "upper_slot", upper_weights_);
  const Sample zeta = oracles.lower().slot(i);
  const bool gauss_seidel = options_.order == Order::gauss_seidel;
  const auto step_y = [&](const torch::Tensor& gradient) {  // y_{k+1}
    oracles.y().add(lower_gradient_.exchange(i, gradient), -steps_.lower(k_));
  };

  if (gauss_seidel) step_y(oracles.lower().gradient_in_y(zeta));
  const JointGradient f = oracles.upper().gradient(oracles.upper().slot(j));
  Products of_g;  // H z and J z
  torch::Tensor lower_gradient;
  {
    LossPoint lower = oracles.lower().point(zeta, Graph::both);
    if (!gauss_seidel) lower_gradient = lower.grad_y();
    of_g = lower.products(z_);
  }
  const torch::Tensor residual = hvp_.exchange(i, of_g.hvp),
                      hypergradient = upper_gradient_x_.exchange(j, f.x);
  axpy(-1, upper_gradient_y_.exchange(j, f.y), residual);
  axpy(-1, cross_vjp_.exchange(i, of_g.cross_vjp), hypergradient);
  if (!gauss_seidel) step_y(lower_gradient);
  axpy(-steps_.linear(k_), residual, z_);                  // z_{k+1}
  oracles.upper().move(hypergradient, -steps_.upper(k_));  // x_{k+1}
  return {.upper_loss = f.value, .hypergradient = hypergradient, .linear_residual = flat_norm(residual)};
}

void SABA::variables(State& state) {
  state.tensor("z", z_);
  state.part("lower_gradient", lower_gradient_);
  state.part("hvp", hvp_);
  state.part("cross_vjp", cross_vjp_);
  state.part("upper_gradient_y", upper_gradient_y_);
  state.part("upper_gradient_x", upper_gradient_x_);
}

SolverEntry saba_entry() {
  return solver_entry<SABA>(
      {.summary =
           "SOBA with SAGA's memory of every derivative: no noise left at the solution of a finite sum",
       .documented_calls = [](Solver&, int64_t steps) { return implicit_calls(steps, steps, steps); },
       .assumptions = {.noise = Noise::finite_sum}});
}

}  // namespace bilevel
