// The training of a job: one or several runs of a solver, one after the other, with evaluations, the choice of a
// step, a trace and a checkpoint.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/report/trace.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/job/phases.h"

namespace bilevel {

/// How good the present variables are, on rows that choose the step.
struct Evaluation {
  double score = 0;                  ///< higher is better
  double standard_error = 0;         ///< of the score; 0: not known
  std::vector<double> of_unit = {};  ///< the score in each of the units whose like is met in use (classes)
  nlohmann::ordered_json fields = nullptr;  ///< what the trace's row gets, as an object
};

/// Chooses a step, online, so that one snapshot is enough: the latest evaluation that is within one standard
/// error of the best so far, itself included. The error is that of the best score or, with two units or more, of the
/// difference to it over the units.
struct StepRule {
  double best_score = -std::numeric_limits<double>::infinity();
  double best_error = 0;
  torch::Tensor best_of_unit;

  /// Takes the next evaluation; true when it is the chosen one from now on.
  bool consider(const Evaluation& evaluation);
  void state(State& state);
};

/// One run of a solver.
struct PassPlan {
  std::string name;   ///< unique within the job, without '/'
  std::string shown;  ///< for a person; empty: the name
  int64_t steps = 1000;
  int64_t schedule_steps = 0;  ///< see RunOptions
  int64_t evaluations = 10;    ///< spread evenly, the last step included
  double max_seconds = std::numeric_limits<double>::infinity();
  uint64_t seed = 0;
};

/// What a pass came to.
struct PassOutcome {
  StopReason reason = StopReason::max_steps;
  int64_t steps = 0;
  int64_t chosen_step = 0;     ///< the last one when no evaluation chose it
  double score = 0;            ///< at the chosen step; NaN without evaluations
  torch::Tensor upper, lower;  ///< x and y there, flat, on the CPU
};

/// Where the passes keep their files, and who watches.
struct PassFiles {
  std::filesystem::path checkpoint = {};  ///< empty: none
  std::filesystem::path trace = {};       ///< empty: none; rows as JSON Lines
  bool resume = false;                    ///< continue from the checkpoint
  const std::atomic<bool>* interrupt = nullptr;
  std::shared_ptr<Phases> phases = nullptr;   ///< whose phase at hand the steps advance
  std::shared_ptr<RunClock> clock = nullptr;  ///< kept in the checkpoint
};

/// Runs passes one after the other and remembers their outcomes, in the checkpoint too: a job that is resumed asks
/// for the same passes in the same order; those that had finished return at once, the one that was cut
/// continues bit for bit. Trace rows: {"phase": name, "step", "seconds", "upper_loss", "hypergradient_norm",
/// "linear_residual", "oracle_calls", "samples", and the evaluation's fields}.
class Passes {
 public:
  /// Throws InputError and FileError for a checkpoint that cannot be read.
  explicit Passes(PassFiles files);

  /// The outcome of a pass that has finished; null when it has not.
  const PassOutcome* finished(const std::string& name) const;

  /// Runs a pass, unless it has finished already. `evaluate` measures the parameters' present values, without
  /// changing them or drawing from the run's random streams; without it the last step is the chosen one. Null
  /// when there is no outcome: a number was not finite, or the run was interrupted; `reason` and `message` say
  /// so. The parameters are left at the last step, not at the chosen one.
  const PassOutcome* run(const PassPlan& plan, const Problem& problem, Solver& solver,
                         const std::function<Evaluation()>& evaluate = nullptr);

  /// The passes so far and their trace, for `adopt` of a job that had them made elsewhere; in binary forms of JSON only.
  nlohmann::ordered_json to_json();
  /// Takes passes over, as if they had been made here after those before. The outcome of the named one; null when it
  /// has none. Throws nlohmann::json::exception and FileError for what `to_json` has not written.
  const PassOutcome* adopt(const std::string& name, const nlohmann::ordered_json& passes);

  /// How the latest pass ended.
  StopReason reason() const { return reason_; }
  const std::string& message() const { return message_; }
  /// All passes together.
  int64_t steps() const { return total_.steps; }
  double seconds() const { return total_.seconds; }
  const OracleLedger& oracle_calls() const { return total_.calls; }
  /// Of the latest pass that ran.
  const nlohmann::ordered_json& solver_options() const { return solver_options_; }
  const nlohmann::ordered_json& chosen_step_sizes() const { return chosen_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Total {
    int64_t steps = 0;
    double seconds = 0;
    OracleLedger calls;
  };
  /// The pass at hand.
  struct Current {
    std::string name;
    StepRule rule;
    int64_t chosen_step = 0;
    double score = 0;
    torch::Tensor upper, lower;
  };

  void task_state(State& state);
  /// Outcomes and a total, as a checkpoint and `to_json` hold them.
  void record(State& state, Total& total);
  void warn(const std::vector<std::string>& warnings);
  void count(const PassPlan& plan, const Result& result);
  /// Where an interrupted pass stopped, by its own step and among all passes.
  std::string interruption(const PassPlan& plan, int64_t step) const;
  void advance(const PassPlan& plan, const MadeStep& made, bool read_loss);
  void take(const Evaluation& evaluation, int64_t step, const Problem& problem);
  void snapshot(int64_t step, double score, const Problem& problem);
  void write(const TraceRow& row, const std::optional<Evaluation>& evaluation);
  void open_trace();

  PassFiles files_;
  std::map<std::string, PassOutcome> finished_;
  Current current_;
  Total earlier_, total_;
  bool resuming_ = false;
  bool resumed_ = false;  // the pass at hand, and no step has been made since
  double shown_loss_ = 0;
  std::optional<TraceWriter> trace_;
  int64_t trace_bytes_ = 0;
  StopReason reason_ = StopReason::max_steps;
  std::string message_;
  nlohmann::ordered_json solver_options_ = nlohmann::ordered_json::object();
  nlohmann::ordered_json chosen_ = nlohmann::ordered_json::object();
  std::vector<std::string> warnings_;
};

/// Sets tensors, in place, to the parts of a flat vector.
void set_from_flat(const std::vector<torch::Tensor>& parameters, const torch::Tensor& flat);

}  // namespace bilevel
