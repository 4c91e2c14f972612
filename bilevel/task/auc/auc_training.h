// The training protocol of `bilevel auc`: choose the number of steps on validation rows, then train on all of
// them.
#pragma once

#include <memory>

#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/passes.h"

namespace bilevel {

/// What the training came to.
struct AucOutcome {
  std::unique_ptr<AucModel> model;  ///< null when training failed or was interrupted
  FittedInputs features;            ///< those that the model reads
  std::shared_ptr<const Features> fitted;
  int64_t best_step = 0;  ///< the chosen step
  std::vector<int64_t>
      judging;  ///< rows that choose the threshold and calibrate: the validation rows, or all but the test rows
  torch::Tensor valid_scores;  ///< of the judging rows, by models that were not trained on them
  double valid_loss = 0;       ///< loss A there
};

/// The phases of the baseline, after those of the passes.
inline constexpr const char *kNgrams = "ngrams", *kLinearFits = "linear-fits";

/// First pass: trains on the training rows and measures the validation AUC ten times. `StepRule` chooses the
/// step: an earlier peak is noise unless it is clearly higher, and the later step of a run whose step size
/// falls to zero lies closer to the regularized optimum. Second pass (`AucSetup::refit`): features and model anew on
/// training and validation rows, for the chosen number of steps of the same schedule. Where the validation rows were cut from the
/// training file and hold few of a class (`kFewRows`), five more passes ("fold 1", ...) leave a fifth of these rows out each, and
/// judge it: cross-fitting. How the passes ended is told by
/// `passes`. Frees the features that the setup keeps.
AucOutcome train_auc(AucSetup& setup, Passes& passes);

}  // namespace bilevel
