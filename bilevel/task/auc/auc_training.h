// The training protocol of `bilevel auc`: choose the number of steps on validation rows, then train on all of
// them.
#pragma once

#include <memory>

#include "bilevel/task/auc/auc_baseline.h"
#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/job/passes.h"

namespace bilevel {

/// What the training came to, and what it is compared with.
struct AucOutcome {
  std::unique_ptr<AucModel> model;  ///< null when training failed
  AucFeatures features;             ///< those that the model reads
  int64_t best_step = 0;            ///< the chosen step
  std::vector<int64_t>
      judging;  ///< rows that choose the threshold and calibrate: the validation rows, or all but the test rows
  torch::Tensor valid_scores;  ///< of the judging rows, by models that were not trained on them
  double valid_loss = 0;       ///< loss A there
  std::vector<AucBaseline> baselines;
};

/// Parts at a time, at most: five folds and the refit.
inline constexpr int64_t kMostAucParts = 6;

/// First pass, "select": trains on the training rows and measures the validation AUC ten times. `StepRule` chooses the
/// step: an earlier peak is noise unless it is clearly higher, and the later step of a run whose step size
/// falls to zero lies closer to the regularized optimum. Second pass, "refit" (`AucSetup::refit`): features and model anew on
/// training and validation rows, for the chosen number of steps of the same schedule. Where the validation rows were cut from the
/// training file and hold few of a class (`kFewRows`), five more passes ("fold 1", ...) leave a fifth of these rows out each, and
/// judge it: cross-fitting. The baselines are made beside the first pass, the folds beside the second. How the passes ended is told
/// by `passes`. Throws Interrupted.
AucOutcome train_auc(AucSetup& setup, JobParts& parts, Passes& passes);

/// What the parts of the training do.
PartWork auc_work(AucSetup& setup);

}  // namespace bilevel
