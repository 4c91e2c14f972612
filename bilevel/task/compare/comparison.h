// `bilevel compare`: solvers on one task with the same data, the same starts and the same budgets.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/workers.h"
#include "bilevel/task/compare/competitors.h"
#include "bilevel/task/compare/play.h"

namespace bilevel {

struct CompareOptions {
  std::vector<Competitor> competitors;
  int64_t seeds = 5;  ///< runs of every competitor, with the seeds seed, seed + 1, ...
  uint64_t seed = 0;
  int64_t tune = 0;  ///< trials of every competitor; 0: everybody runs with the task's defaults
  Budget budget;     ///< of every run and of every trial; empty: the task's number of steps
};

/// Who called a comparison, and how it tells where it stands; all may be empty.
struct CompareCallbacks {
  std::function<void(const std::string&)> message;  ///< a line for a person
  /// A run begins: "adambo, seed 2 (run 7 of 30)". With workers neither this nor `progress` is called.
  std::function<void(const std::string& run)> begins;
  std::function<void(const PlayProgress&)> progress;
  /// It has ended: "test AUC 0.9123 after 1000 steps", or why there is no result.
  std::function<void(const std::string& run, const std::string& outcome)> ended;
  /// With workers, before the first run and after each: how many have ended, those that were there before included.
  std::function<void(int64_t done, int64_t total)> counts;
  const std::atomic<bool>* interrupt = nullptr;
  std::string command_line = {};  ///< for options.json and the report
};

/// How a comparison ended.
struct CompareResult {
  nlohmann::ordered_json summary;  ///< the object of `--json`; null when it was interrupted
  bool interrupted = false;
  bool any_finished = false;  ///< at least one run has a result
};

/// Processes for `jobs` runs at a time, at most as many as there are runs; null for one at a time. Without `jobs` as many as
/// there are cores, but one where the clock ends the runs, which would go more slowly beside others. Each makes the contest
/// again, by `make_contest`, with its first run. Call it before anything of LibTorch has run (see `Workers`). Throws
/// InputError for jobs below 1 or above 1000, Error.
std::unique_ptr<Workers> workers_for(const CompareOptions& options, const std::optional<int64_t>& jobs);

/// Leaves no more of them than there are cores for the threads of all; null where that is one.
void share_cores(std::unique_ptr<Workers>& workers, const Contest& contest);

/// Runs every trial and every run, in an order in which competitors alternate, and writes into `out`:
///   options.json                           before the first run
///   runs/NAME/{trial-T,seed-S}/trace.jsonl when that run has ended, whole or not at all
///   summary.json, table.tsv, *.svg, report.html
/// The folder is made after the options have been checked; `force`: see `new_run_folder`. With `workers` several runs are made at a time, which changes
/// nothing but times. Throws InputError (also when `out` is taken), FileError, and WorkerError when one of them is killed:
/// then what had ended is kept.
CompareResult run_comparison(Contest& contest, const CompareOptions& options, const std::string& out,
                             const CompareCallbacks& callbacks = {}, Workers* workers = nullptr,
                             bool force = false);

/// Does what is missing of the comparison in `out` and writes the results again, with `jobs` runs at a time
/// (see `workers_for`; nullopt: with its default, and `share_cores`). Throws InputError when there is no comparison, an input file has
/// changed, or another process works there, and as `run_comparison` does.
CompareResult resume_comparison(const std::string& out, const CompareCallbacks& callbacks = {},
                                const std::optional<int64_t>& jobs = 1);

/// Writes the results of a complete comparison again from its options.json and its traces alone; reads no
/// data and runs nothing. Throws InputError when a run is missing.
CompareResult replot_comparison(const std::string& out);

}  // namespace bilevel
