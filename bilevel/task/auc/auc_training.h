// The training protocol of `bilevel auc`: choose the number of steps on validation rows, then train on all of
// them.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/passes.h"

namespace bilevel {

/// Which rows serve what; row numbers index the labels and the inputs.
struct AucParts {
  torch::Tensor labels;  ///< [n] float32, 0 or 1
  std::vector<int64_t> train, valid, test;
};

struct AucTrainingOptions {
  NetworkOptions network;
  std::string loss = "libauc";
  double margin = 1;
  double l2 = 0;  ///< see AucModel
  int64_t batch_size = 512;
  int64_t steps = 1000;      ///< of the first pass; the horizon of step-size schedules
  int64_t evaluations = 10;  ///< times the validation AUC is measured in the first pass
  bool papers = false;       ///< f on the validation rows, g on the training rows; implies no refit
  bool refit = true;
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
  double max_seconds = std::numeric_limits<double>::infinity();
};

/// What the training came to.
struct AucOutcome {
  std::unique_ptr<AucModel> model;  ///< null when training failed or was interrupted
  FittedInputs features;            ///< those that the model reads
  int64_t best_step = 0;            ///< the chosen step
  torch::Tensor valid_scores;  ///< of the model at the chosen step of the first pass, in the order of `valid`
  double valid_loss = 0;       ///< its loss A there
};

/// First pass: trains on `train` and measures the validation AUC `evaluations` times. `StepRule` chooses the
/// step: an earlier peak is noise unless it is clearly higher, and the later step of a run whose step size
/// falls to zero lies closer to the regularized optimum. Second pass (`refit`): features and model anew on
/// `train` and `valid`, for the chosen number of steps of the same schedule. `fit_inputs(rows)` gives the
/// features of all rows, fitted on the given ones. How the passes ended is told by `passes`.
AucOutcome train_auc(const AucParts& parts,
                     const std::function<FittedInputs(const std::vector<int64_t>& rows)>& fit_inputs,
                     const std::function<std::unique_ptr<Solver>()>& make_solver,
                     const AucTrainingOptions& options, Passes& passes);

}  // namespace bilevel
