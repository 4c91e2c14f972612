// The job `ridge`: one L2 strength of a classifier, learned by gradient.
#pragma once

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// Trains the classifier y and the logarithm x of its L2 strength together,
///     f = mean loss of the validation rows at y,  g = mean loss of the training rows + exp(x)/2 |weights of y|^2,
/// and keeps the step of the least validation loss. `predict` is `predict_classes`.
JobEntry ridge_entry();

}  // namespace bilevel
