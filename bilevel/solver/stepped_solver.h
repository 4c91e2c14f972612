// What every method with step sizes keeps, so that its folder holds only its paper's variables and step.
#pragma once

#include "bilevel/solver/parts/step_sizes.h"
#include "bilevel/solver/registry.h"

namespace bilevel {

/// A solver whose options call their step sizes as `step_size_options` reads them. Holds these, the iteration k and their
/// part of the checkpoint; the method adds its variables and its step.
template <typename Options>
class SteppedSolver : public SolverWith<Options> {
 public:
  using SolverWith<Options>::SolverWith;

  void start(Oracles& oracles, int64_t max_steps) final {
    fields_of(this->options_).validate();
    steps_ = StepSizes(oracles, step_sizes(), max_steps);
    k_ = 0;
    begin(oracles);
  }
  StepReport step(Oracles& oracles) final {
    StepReport report = iterate(oracles);
    ++k_;
    return report;
  }
  void state(State& state) final {
    state.value("k", k_);
    state.part("step_sizes", steps_);
    variables(state);
  }
  nlohmann::ordered_json chosen() const override { return steps_.chosen(); }

 protected:
  /// What the step sizes are made from; a method whose paper gives them exponents says so here.
  virtual StepSizeOptions step_sizes() const { return step_size_options(this->options_); }
  /// Gives the method's variables their initial values; `steps_` is known.
  virtual void begin(Oracles&) {}
  /// Iteration k.
  virtual StepReport iterate(Oracles& oracles) = 0;
  /// Saves or restores the method's variables (see `Solver::state`).
  virtual void variables(State&) {}

  StepSizes steps_;
  int64_t k_ = 0;  ///< iterations done
};

/// A function of a `SolverEntry` from one that takes the options of `Method` in place of the solver.
template <typename Method, typename Function>
auto by_options(Function function) {
  return [function](Solver& solver, auto&&... others) {
    return function(dynamic_cast<Method&>(solver).options(), others...);
  };
}

/// The entry of `Method`: `given` with its name and how it is made.
template <typename Method>
SolverEntry solver_entry(const SolverEntry& given) {
  SolverEntry entry = given;
  entry.name = Method().name();
  entry.make = [] { return std::make_unique<Method>(); };
  return entry;
}

}  // namespace bilevel
