// The lower level of AccBO and VR-AdamBO: accelerated steps on y and the average that the upper level reads.
#pragma once

#include "bilevel/solver/parts/lower_rule.h"
#include "bilevel/solver/parts/step_sizes.h"

namespace bilevel {

/// I: one step every iteration; II: `lower_steps` steps every `period` iterations.
enum class AveragedVariant { I, II };
template <>
struct NamesOf<AveragedVariant> {
  static constexpr const char* value[] = {"I", "II"};
};

struct AveragedLowerOptions {
  AveragedVariant option = AveragedVariant::I;
  int64_t period = 2;              ///< I in option II
  int64_t lower_steps = 3;         ///< N in option II
  double nesterov_momentum = 0.5;  ///< gamma
  double averaging_weight = 0.5;   ///< tau
};

/// One accelerated step is w = y + gamma (y - y_before), y <- w - eta_y grad_y G(x, w; zeta), with a sample
/// of its own from "lower_batches". Iteration t = 0, 1, ... takes one of them (option I), or `lower_steps`
/// when t is a multiple of `period` and none otherwise (option II: y stays, and its momentum waits); then
/// yhat <- (1-tau) yhat + tau y.
class AveragedLower {
 public:
  AveragedLower() = default;
  /// Starts at y: no momentum, yhat = y.
  AveragedLower(const AveragedLowerOptions& options, const torch::Tensor& y);

  /// `steps` accelerated steps at fixed x with samples from "warm_start"; then momentum and average start
  /// anew at the y reached.
  void warm_start(Oracles& oracles, int64_t steps, double step_size);

  /// The steps of iteration t and the average: y_{t+1} and yhat_{t+1}.
  void advance(Oracles& oracles, int64_t t, double step_size);

  /// yhat.
  const torch::Tensor& averaged() const { return nesterov_.averaged(); }
  /// Lower gradients in the first `iterations` iterations.
  static int64_t gradients(const AveragedLowerOptions& options, int64_t iterations);
  /// All calls in the first `iterations` of a method that evaluates a Neumann estimate of `neumann_terms` summands at
  /// two points an iteration, in the first one at one.
  static OracleCounts calls(const AveragedLowerOptions& options, int64_t neumann_terms, int64_t iterations);
  void state(State& state) { nesterov_.state(state); }

 private:
  AveragedLowerOptions options_;
  AveragedNesterov nesterov_;
};

/// The fields of AveragedLowerOptions, for option structs that hold the same members.
template <typename Options>
void averaged_lower_fields(Fields& f, Options& o) {
  f.choice("option", o.option,
           "I: one accelerated step on y every iteration; II: lower_steps of them every `period` iterations, "
           "none between");
  f.integer("period", o.period, kAtLeastOne,
            "iterations from one group of steps on y to the next (option II)");
  f.integer("lower_steps", o.lower_steps, kAtLeastOne, "accelerated steps on y in a group (option II)");
  f.number("nesterov_momentum", o.nesterov_momentum, {.low = 0, .high = 1, .high_open = true},
           "momentum of the accelerated steps on y (gamma)")
      .search(0.1, 0.95);
  f.number("averaging_weight", o.averaging_weight, kWeight,
           "weight of the new y in the average that the upper level reads (tau)")
      .search(0.05, 1);
}

template <typename Options>
AveragedLowerOptions averaged_lower_options(const Options& o) {
  return {.option = o.option,
          .period = o.period,
          .lower_steps = o.lower_steps,
          .nesterov_momentum = o.nesterov_momentum,
          .averaging_weight = o.averaging_weight};
}

}  // namespace bilevel
