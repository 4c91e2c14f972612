#include "bilevel/task/job/costs.h"

#include <algorithm>

#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

// Measured on texts and tables of a few thousand rows.
constexpr double kDenseWeight = 0.25;  // a weight of a dense layer, for one row
constexpr double kWideWeight = 0.2;    // of layers so wide that LibTorch multiplies at full speed
constexpr double kSparseEntry = 10;    // an entry of a sparse row, which is fetched
constexpr double kNetworkCall = 2e5;   // of a network, whatever the size of the batch
constexpr double kLinearCall = 3e4;
constexpr double kRow = 40;           // losses and their derivatives
constexpr double kProducts = 200;     // of a fit, there and back
constexpr double kWideProducts = 40;  // with more columns than rows: the penalty rules
constexpr double kNgramsAToken = 8;   // with the n-grams of its characters
constexpr double kText = 3e3;         // hashing those
constexpr double kRounds = 300;       // of boosting, and of its refit
constexpr double kBoostRound = 1e6;   // whatever the rows are
constexpr double kBoosted = 4;        // an entry in a round

double entries_a_row(const Inputs& inputs) {
  return static_cast<double>(inputs.entries()) / static_cast<double>(std::max<int64_t>(1, inputs.rows()));
}

}  // namespace

int64_t rows_derived(const OracleCounts& calls, int64_t lower_batch, int64_t upper_batch) {
  const int64_t lower = calls.lower_gradient + calls.lower_joint_gradient + calls.hvp + calls.cross_vjp;
  const int64_t upper = calls.upper_gradient + calls.upper_hvp + calls.upper_cross_vjp;
  return lower * lower_batch + upper * upper_batch;
}

double row_cost(const Network& network, const Inputs& inputs) {
  if (network.multiplications() > 0) return kRow + kWideWeight * network.multiplications();
  const double entries = entries_a_row(inputs);
  double weights = 0;                                    // that every row, or every token, meets
  for (const torch::Tensor& buffer : network.buffers())  // read once, where a parameter is in three products
    weights += static_cast<double>(buffer.numel()) / 3;
  for (const torch::Tensor& parameter : network.parameters()) {
    const bool by_entry = inputs.kind() != InputKind::dense && parameter.dim() == 2 &&
                          parameter.size(0) == network.input().width;
    if (!by_entry) weights += static_cast<double>(parameter.numel());
  }
  if (inputs.kind() == InputKind::tokens) return kRow + entries * (kSparseEntry + kDenseWeight * weights);
  return kRow + (inputs.kind() == InputKind::sparse ? kSparseEntry * entries : 0) + kDenseWeight * weights;
}

double derivatives_cost(double calls, int64_t batch, const Network& network, const Inputs& inputs) {
  const double of_call = network.is_linear_map() ? kLinearCall : kNetworkCall;
  return calls * (of_call + static_cast<double>(batch) * row_cost(network, inputs));
}

double training_cost(Solver& solver, int64_t steps, int64_t lower_batch, int64_t upper_batch,
                     const Network& network, const Inputs& inputs) {
  const SolverEntry& entry = solver_registry().at(solver.name());
  if (!entry.documented_calls) return static_cast<double>(steps);
  const OracleCounts calls = entry.documented_calls(solver, steps);
  const auto count = static_cast<double>(std::max<int64_t>(1, calls.calls()));
  return count * derivatives_cost(1, 0, network, inputs) +
         static_cast<double>(rows_derived(calls, lower_batch, upper_batch)) * row_cost(network, inputs);
}

double ngrams_cost(const Inputs& tokens) { return kText * static_cast<double>(tokens.entries()); }

double linear_fit_cost(const FittedInputs& fitted, int64_t rows) {
  const Inputs& inputs = fitted.inputs;
  const bool wide = inputs.kind() == InputKind::tokens || fitted.shape.width > rows;
  const double of_entry = inputs.kind() == InputKind::dense    ? 1
                          : inputs.kind() == InputKind::sparse ? kSparseEntry
                                                               : kSparseEntry * kNgramsAToken;
  return (wide ? kWideProducts : kProducts) *
         (kLinearCall + (kRow + 2 * of_entry * entries_a_row(inputs)) * static_cast<double>(rows));
}

double boosting_cost(const FittedInputs& fitted, int64_t rows, int64_t classes) {
  const auto trees = static_cast<double>(classes > 2 ? classes : 1);
  return kRounds * trees *
         (kBoostRound + kBoosted * entries_a_row(fitted.inputs) * static_cast<double>(rows));
}

}  // namespace bilevel
