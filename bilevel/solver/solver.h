// What every algorithm implements; `run` holds the only loop.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/fields.h"
#include "bilevel/core/state.h"
#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// What a step tells about itself. Tensors are 0-dim and stay on the device, so that nobody waits for them in
/// vain.
struct StepReport {
  torch::Tensor upper_loss;     ///< F on the step's upper sample
  torch::Tensor hypergradient;  ///< the estimate, flat [dim x]
  torch::Tensor
      linear_residual;  ///< residual of the linear system, as its method knows it, or the residual's norm
  std::string failure = {};  ///< not empty: the linear solve failed, x was not updated
};

/// A bilevel algorithm. Between calls it may keep moments and linear-system variables, but no sample and no
/// graph.
class Solver {
 public:
  virtual ~Solver() = default;

  /// The name in the registry, such as "adambo".
  virtual std::string name() const = 0;

  /// Lists the options; they are read at `start`.
  virtual void fields(Fields& fields) = 0;

  /// Prepares a run of at most `max_steps` steps at the present (x, y): checks the options (InputError),
  /// derives automatic step sizes, allocates moments. Runs before `warm_start` and also before a state is
  /// loaded.
  virtual void start(Oracles& oracles, int64_t max_steps) = 0;

  /// Steps on y alone before step 1, where the paper has them.
  virtual void warm_start(Oracles&) {}

  /// One iteration of the algorithm.
  virtual StepReport step(Oracles& oracles) = 0;

  /// Saves or restores everything that `step` reads and changes, automatic step sizes included.
  virtual void state(State& state) = 0;

  /// What automatic options became: {"lower_step_size": 0.25, ...}.
  virtual nlohmann::ordered_json chosen() const { return nlohmann::ordered_json::object(); }
};

/// A solver with an option struct.
template <typename Options>
class SolverWith : public Solver {
 public:
  explicit SolverWith(const Options& options = {}) : options_(options) {}
  void fields(Fields& fields) override { options_.fields(fields); }
  const Options& options() const { return options_; }

 protected:
  Options options_;
};

}  // namespace bilevel
