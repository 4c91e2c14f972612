// What `bilevel clean` can be told, and what it uses where nobody says otherwise; docs/clean.md says how the
// defaults were found.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/model/network.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {

/// The options of `bilevel clean`, as the command line gives them.
struct CleanOptions : JobOptions {
  std::string trusted;  ///< file of rows whose labels are right; empty: see `CleanSetup`
  std::string weight_per =
      "row";                ///< row | group | class-pair: what has a weight logit of its own, see WeightUnits
  std::string group;        ///< column whose values are the groups
  double inject_noise = 0;  ///< share of training labels to be replaced by another class, at random
  bool baselines = true;    ///< measure the usual methods beside it
};

BILEVEL_JOB_OPTIONS_JSON(CleanOptions, trusted, weight_per, group, inject_noise, baselines)

/// Throws InputError for options that are impossible by themselves.
void check_clean_options(const CleanOptions& options);

struct CleanDefaults {
  NetworkOptions network;
  double l2 = 0;           ///< kappa, see CleanModel
  double baseline_l2 = 0;  ///< that of the usual methods, which are linear whatever the encoder
  int64_t batch_size = 512;
  int64_t steps = 0;      ///< 0: `epochs` decide
  double epochs = 0;      ///< of the bilevel run
  double fit_epochs = 0;  ///< of a weighted fit; 0: the fit is convex and solved
  double fit_step_size = 0;
  int64_t threads = 0;  ///< 0: as many as the numerical library takes
};

/// Throws InputError for an unknown encoder.
CleanDefaults clean_defaults(const std::string& encoder);

/// The fields of a solver for `rows` training rows; those that it does not have are left out.
std::map<std::string, nlohmann::json> clean_solver_defaults(const std::string& solver, int64_t rows);

}  // namespace bilevel
