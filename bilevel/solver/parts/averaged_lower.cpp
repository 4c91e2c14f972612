#include "bilevel/solver/parts/averaged_lower.h"

namespace bilevel {

AveragedLower::AveragedLower(const AveragedLowerOptions& options, const torch::Tensor& y)
    : options_(options), nesterov_(y, options.nesterov_momentum, options.averaging_weight) {}

void AveragedLower::warm_start(Oracles& oracles, int64_t steps, double step_size) {
  for (int64_t k = 0; k < steps; ++k) {
    nesterov_.step(oracles.y(), step_size,
                   [&] { return oracles.lower().gradient_in_y(oracles.lower().draw("warm_start")); });
  }
  *this = AveragedLower(options_, oracles.y().flat());
}

void AveragedLower::advance(Oracles& oracles, int64_t t, double step_size) {
  const int64_t steps = options_.option == AveragedVariant::I ? 1
                        : t % options_.period == 0            ? options_.lower_steps
                                                              : 0;
  for (int64_t k = 0; k < steps; ++k) {
    nesterov_.step(oracles.y(), step_size,
                   [&] { return oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")); });
  }
  nesterov_.average(oracles.y().flat());
}

int64_t AveragedLower::gradients(const AveragedLowerOptions& options, int64_t iterations) {
  if (options.option == AveragedVariant::I) return iterations;
  const int64_t groups = (iterations + options.period - 1) / options.period;
  return groups * options.lower_steps;
}

OracleCounts AveragedLower::calls(const AveragedLowerOptions& options, int64_t neumann_terms,
                                  int64_t iterations) {
  const int64_t evaluations = iterations > 0 ? 2 * iterations - 1 : 0;
  return implicit_calls(gradients(options, iterations), evaluations, evaluations * (neumann_terms - 1));
}

}  // namespace bilevel
