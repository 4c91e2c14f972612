// The training protocol of `bilevel auc`: choose the number of steps on validation rows, then train on all of
// them.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/report/metrics.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/auc/auc_model.h"

namespace bilevel {

/// Features of all rows, fitted on some of them.
struct FittedInputs {
  Inputs inputs;
  InputShape shape;
};

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

  std::filesystem::path checkpoint = {};  ///< empty: none
  std::filesystem::path trace = {};       ///< empty: none; rows as JSON Lines
  bool resume = false;
  const std::atomic<bool>* interrupt = nullptr;
};

/// Chooses a step by its validation AUC, online, so that one snapshot is enough: the latest evaluation that
/// is within one standard error (DeLong, at the best so far) of the best so far, itself included.
struct StepRule {
  double best_auc = -1, best_error = 0;

  /// Takes the next evaluation; true when it is the chosen one from now on.
  bool consider(const AucEstimate& estimate);
  void state(State& state);
};

/// Share of positive rows among training and validation rows, which the AUC loss needs.
double positive_share(const AucParts& parts);

/// Where the training stands, after every step.
struct AucProgress {
  bool refit = false;  ///< second pass
  int64_t step = 0;
  int64_t steps = 0;  ///< planned in this pass
  double upper_loss = 0;
  double valid_auc = std::numeric_limits<double>::quiet_NaN();  ///< best so far
  double seconds = 0;
};

struct AucOutcome {
  std::unique_ptr<AucModel> model;  ///< null when training failed or was interrupted
  FittedInputs features;            ///< those that the model reads
  StopReason reason = StopReason::max_steps;
  std::string message;
  int64_t best_step = 0;  ///< the chosen step
  int64_t steps = 0;      ///< all steps done, both passes
  double seconds = 0;
  OracleLedger oracle_calls;  ///< both passes
  nlohmann::ordered_json solver_options, chosen;
  torch::Tensor valid_scores;  ///< of the model at the chosen step of the first pass, in the order of `valid`
  double valid_loss = 0;       ///< its loss A there
  std::vector<std::string> warnings;
};

/// First pass: trains on `train` and measures the validation AUC `evaluations` times. `StepRule` chooses the
/// step: an earlier peak is noise unless it is clearly higher, and the later step of a run whose step size
/// falls to zero lies closer to the regularized optimum. Second pass (`refit`): features and model anew on
/// `train` and `valid`, for the chosen number of steps of the same schedule. `fit_inputs(rows)` gives the
/// features of all rows, fitted on the given ones. Files: the checkpoint and the trace, continued bit for bit
/// with `resume`.
AucOutcome train_auc(const AucParts& parts,
                     const std::function<FittedInputs(const std::vector<int64_t>& rows)>& fit_inputs,
                     const std::function<std::unique_ptr<Solver>()>& make_solver,
                     const AucTrainingOptions& options,
                     const std::function<void(const AucProgress&)>& progress = nullptr);

}  // namespace bilevel
