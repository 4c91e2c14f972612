// `bilevel tune`: regularization learned by gradient, with its baselines and its report.
#pragma once

#include <string>

#include "bilevel/task/job/job.h"

namespace bilevel {

struct TuneJobOptions : JobOptions {
  std::string tune;   ///< a name of `tune_kinds()`; empty: l2-per-feature, for token encoders l2
  std::string split;  ///< "T,V,S" shares of training, validation and test rows
  double spread = 2;  ///< see TuneModel
  double baseline_passes =
      1;  ///< passes of each baseline, in multiples of those that learning took; 0: no baselines
};

BILEVEL_JOB_OPTIONS_JSON(TuneJobOptions, tune, split, spread, baseline_passes)

/// Reads the files, trains the weights at the starting strength (convex models), learns hyperparameters and
/// weights together (pass "learn"), trains the weights at the learned hyperparameters (convex models), lets the
/// baselines spend as many passes, and writes model, predictions.tsv, hyperparameters.tsv, plots, report.html and
/// summary.json into the folder `out`. Throws InputError and FileError.
JobResult run_tune_job(const TuneJobOptions& options, const std::string& out, const JobCallbacks& callbacks);
/// Continues the run in `out` bit for bit.
JobResult resume_tune_job(const std::string& out, const JobCallbacks& callbacks);

}  // namespace bilevel
