// The job behind `bilevel solve`: a solver on a problem whose answer is known.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/job/job.h"

namespace bilevel {

/// The options of `bilevel solve`.
struct SolveJobOptions {
  std::string problem;                                        ///< a name of `known_problem_registry`
  nlohmann::json problem_options = nlohmann::json::object();  ///< its fields; absent ones keep their defaults
  std::string solver = "adambo";                              ///< a name of `solver_registry`
  std::vector<std::string> set = {};                          ///< key=value for the solver
  int64_t steps = 1000;                                       ///< without the warm start
  double noise = 0;                                           ///< see `with_noise`
  std::string start = {};                  ///< x_0 as "V,...", see `set_start`; empty: the problem's own
  uint64_t seed = 0;                       ///< of the problem and the run
  std::optional<double> max_seconds = {};  ///< of the steps, without evaluations
  std::optional<double> tolerance = {};    ///< stop at this norm of the true (projected) hypergradient
  int64_t threads = 1;

  /// All but the problem and its options.
  void fields(Fields& fields);
  /// All of them, as options.json keeps them, and back. Throws nlohmann::json::exception and InputError.
  nlohmann::ordered_json to_json() const;
  static SolveJobOptions from_json(nlohmann::json json);
};

/// Runs the solver. The metrics are taken before step 1, then every so many steps that there are at most
/// `KnownProblem::evaluations` of them, and at the end; they call no oracle and their time is counted apart.
/// With `out` not empty, writes there options.json and a checkpoint before step 1, trace.jsonl, and at the
/// end distance.svg, gradient_norm.svg, objectives.svg, report.html and, last, summary.json; the folder is
/// made after all options have been checked and all files read; `force`: see `new_run_folder`. Throws InputError (also when `out` holds
/// anything) and FileError.
JobResult run_solve_job(const SolveJobOptions& options, const std::string& out,
                        const JobCallbacks& callbacks = {}, bool force = false);

/// Continues the run in `out`, bit for bit, or returns its summary when it had finished. Throws InputError
/// when there is no such run, an input file has changed, or another process works there.
JobResult resume_solve_job(const std::string& out, const JobCallbacks& callbacks = {});

}  // namespace bilevel
