// The job behind `bilevel tune`: regularization learned by gradient, with its baselines and its report.
#pragma once

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// A run trains the weights at the starting strength (convex models), learns hyperparameters and weights together (pass
/// "learn"), trains the weights at the learned hyperparameters (convex models), lets the baselines spend as many passes,
/// and writes model, predictions.tsv, hyperparameters.tsv, plots, report.html and summary.json. `predict` is
/// `predict_classes`.
JobEntry tune_entry();

}  // namespace bilevel
