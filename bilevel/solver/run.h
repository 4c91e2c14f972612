// The only optimization loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/problem/problem.h"
#include "bilevel/solver/solver.h"

namespace bilevel {

/// Why a run ended.
enum class StopReason {
  converged,  ///< the hypergradient's norm fell below `hypergradient_tolerance`
  max_steps,
  max_seconds,
  stopped_by_callback,
  interrupted,  ///< `RunOptions::interrupt` was set
  nonfinite,    ///< a loss of either level, the hypergradient or an iterate was not finite
  linear_solve_failed,
};

template <>
struct NamesOf<StopReason> {
  static constexpr const char* value[] = {"converged",           "max_steps",   "max_seconds",
                                          "stopped_by_callback", "interrupted", "nonfinite",
                                          "linear_solve_failed"};
};

/// What is known after one step.
struct TraceRow {
  int64_t step = 0;               ///< from 1
  double seconds = 0;             ///< clock time of the run so far, earlier parts of a resumed run included
  double upper_loss = 0;          ///< F on the step's sample
  double hypergradient_norm = 0;  ///< Euclidean norm of the step's estimate
  double linear_residual = 0;     ///< residual norm of the linear system, as the method knows it
  OracleCounts oracle_calls;      ///< of the steps so far
};

/// A step that has just been made.
class MadeStep {
 public:
  MadeStep(int64_t number, double elapsed, const StepReport& report, const OracleCounts& calls)
      : step(number), seconds(elapsed), report_(report), calls_(calls) {}
  /// Reads its numbers off a device now and once for all.
  /// @param others 0-dim, of which some are not finite where a number of the step is not; @return whether all are
  bool read_with(const torch::Tensor& others);
  int64_t step;    ///< from 1
  double seconds;  ///< as in TraceRow
  /// F on the step's sample.
  double upper_loss() const { return read_ ? read_->upper_loss : report_.upper_loss.item<double>(); }
  /// The Euclidean norm of the hypergradient's estimate.
  double hypergradient_norm() const;
  /// All its numbers. Cost: two norms, which on a device every step has anyway.
  TraceRow row() const;

 private:
  struct Read {
    double upper_loss, hypergradient_norm, linear_residual;
  };
  std::optional<Read> read_;
  const StepReport& report_;
  const OracleCounts& calls_;
};

/// For callbacks that show a run to a person: lets through the first step, and then at most twenty a second.
class Pace {
 public:
  bool due(const MadeStep& step) {
    if (step.seconds < next_) return false;
    next_ = step.seconds + 0.05;
    return true;
  }

 private:
  double next_ = 0;
};

struct RunOptions {
  int64_t max_steps = 1000;
  int64_t schedule_steps = 0;  ///< length of step-size schedules, which the run may end before; 0: max_steps
  double max_seconds = std::numeric_limits<double>::infinity();
  uint64_t seed = 0;
  /// Stop when the norm of a step's hypergradient estimate is at most this; 0: never. Meant for deterministic
  /// problems.
  double hypergradient_tolerance = 0;
  UnusedParameters unused_parameters = UnusedParameters::error;
  /// Sees every step, the last included, after x and y have moved; false stops the run. The oracles are the
  /// run's own: an evaluation belongs under `Purpose::evaluation`.
  std::function<bool(const MadeStep&, Oracles&)> callback = nullptr;
  /// Rows kept in `Result::trace`: every this many steps, and the last.
  int64_t trace_every = 1;
  /// Set from a signal handler or another thread to stop after the step at hand.
  const std::atomic<bool>* interrupt = nullptr;

  /// Where to keep a checkpoint; empty: nowhere. Written before step 1, then at least every
  /// `checkpoint_seconds`, and at the end of the run, never after a number that is not finite.
  std::filesystem::path checkpoint = {};
  double checkpoint_seconds = 4;
  /// Variables of the caller that belong into the checkpoint; called for saving and loading.
  std::function<void(State&)> task_state = nullptr;
  /// Text kept with the checkpoint (names to values).
  std::map<std::string, std::string> checkpoint_metadata = {};
  /// Continue from `checkpoint`, bit for bit, instead of starting. Throws InputError when there is none,
  /// FileError when it cannot be read or belongs to another problem or solver.
  bool resume = false;
};

/// The values of both objectives on one fixed sample, a batch of each level with the same rows and the same
/// randomness inside the losses at every point. Where batches are all rows, f and g themselves.
struct Objectives {
  double upper = std::numeric_limits<double>::quiet_NaN();
  double lower = std::numeric_limits<double>::quiet_NaN();
};

/// What a run came to.
struct Result {
  StopReason reason = StopReason::max_steps;
  std::string message;  ///< a sentence for a person
  int64_t steps = 0;    ///< steps done, earlier parts of a resumed run included
  double seconds = 0;
  Objectives start;  ///< before step 1 (and before the warm start), of a resumed run that of its first part
  Objectives end;    ///< NaN where a number was not finite
  std::vector<TraceRow> trace;
  OracleLedger oracle_calls;
  nlohmann::ordered_json options;  ///< the solver's options as given
  nlohmann::ordered_json chosen;   ///< what its automatic options became
  std::vector<std::string> warnings;

  /// Whether x and y may be used: the run did not fail, and both objectives are finite at its end.
  bool usable() const;
  /// Everything but the trace.
  nlohmann::ordered_json json() const;
  /// "adambo: 2000 steps in 3.1 s, upper loss 0.123 (max_steps)".
  std::string brief() const;
  std::string solver;
};

/// A run whose steps its caller asks for; `run` is the loop over one. Its end gives every tensor storage of its own.
class SteppedRun {
 public:
  /// What comes before step 1, or the checkpoint to continue from. The solver must outlive the run. Throws as `run` does.
  SteppedRun(const Problem& problem, Solver& solver, const RunOptions& options = {});
  ~SteppedRun();
  SteppedRun(const SteppedRun&) = delete;
  SteppedRun& operator=(const SteppedRun&) = delete;

  /// Makes a step; false, without one, where the run has ended.
  bool step();
  /// Ends the run (as a callback does, if nothing else has ended it) and tells what it came to. Call it once.
  Result finish();

 private:
  class Progress;
  std::unique_ptr<Progress> progress_;
};

/// Minimizes the problem with the solver from the parameters' present values, which it changes in place; afterwards
/// every tensor has storage of its own (during the run it is a view of its level's buffer, see `Parameters`).
/// Deterministic for a seed, a machine, a device and a thread count. Throws InputError for a caller's mistake
/// before any step; numerical trouble is a reason, never an exception.
Result run(const Problem& problem, Solver& solver, const RunOptions& options = {});

}  // namespace bilevel
