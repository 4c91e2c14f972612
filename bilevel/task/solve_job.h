// The job behind `bilevel solve`: a solver on a problem whose answer is known.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/solver/run.h"

namespace bilevel {

/// The options of `bilevel solve`.
struct SolveJobOptions {
  std::string problem;                  ///< a name of `known_problem_registry`
  nlohmann::json problem_options = {};  ///< its fields by name; those that are absent keep their defaults
  std::string solver = "adambo";        ///< a name of `solver_registry`
  std::vector<std::string> set = {};    ///< key=value for the solver
  int64_t steps = 1000;                 ///< without the warm start
  double noise = 0;                     ///< see `with_noise`
  std::vector<double> start = {};       ///< x_0, see `set_start`; empty: the problem's own
  uint64_t seed = 0;                    ///< of the problem and the run
  double max_seconds = 0;               ///< of the steps, without evaluations; 0: no limit
  double tolerance = 0;                 ///< stop at this norm of the true (projected) hypergradient; 0: never
  int64_t threads = 1;
};

/// Where the job stands, after every step.
struct SolveProgress {
  int64_t step = 0, steps = 0;
  double upper = std::numeric_limits<double>::quiet_NaN();  ///< f at the latest evaluation
};

struct SolveJobCallbacks {
  std::function<void(const std::string&)> message;  ///< a line for a person
  std::function<void(const SolveProgress&)> progress;
  const std::atomic<bool>* interrupt = nullptr;
};

struct SolveJobResult {
  nlohmann::ordered_json summary;  ///< the object of `--json`
  StopReason reason = StopReason::max_steps;
  std::string message;
  bool finished = false;  ///< the run ended as asked for
};

/// Runs the solver. The metrics are taken before step 1, then every so many steps that there are at most
/// `KnownProblem::evaluations` of them, and at the end; they call no oracle and their time is counted apart.
/// With `out` not empty, writes there options.json and a checkpoint before step 1, trace.jsonl, and at the
/// end distance.svg, gradient_norm.svg, objectives.svg, report.html and, last, summary.json; the folder is
/// made after all options have been checked and all files read. Throws InputError (also when `out` holds
/// anything) and FileError.
SolveJobResult run_solve_job(const SolveJobOptions& options, const std::string& out,
                             const SolveJobCallbacks& callbacks = {});

/// Continues the run in `out`, bit for bit, or returns its summary when it had finished. Throws InputError
/// when there is no such run, an input file has changed, or another process works there.
SolveJobResult resume_solve_job(const std::string& out, const SolveJobCallbacks& callbacks = {});

}  // namespace bilevel
