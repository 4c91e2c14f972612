// The job behind `bilevel clean`: from files to weights, a cleaned model, its figures and a report, in one folder.
#pragma once

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// Options: CleanOptions. A run writes options.json and a checkpoint before step 1, trace.jsonl, and at the end
/// summary.json, weights.tsv, model.safetensors, model.json, predictions.tsv (with a test file), accuracy.svg,
/// weights.svg, loss.svg, report.html. `predict` is `predict_classes`.
///
/// The method, which docs/clean.md explains:
/// 1. Four folds of the training and of the trusted rows. Steps 2 and 3 are done without each of them in turn.
/// 2. Bilevel run: x = one logit per training row (or per group, or class pair), all equal at first; lower level the
///    weighted training rows, upper level 70 % of the trusted rows. The other 30 % are held back: the latest
///    evaluation within one standard error of the best loss on them is the chosen step.
/// 3. Cross-fitting: classifiers on the weighted training rows and the trusted rows of two of the three folds that
///    are left predict the third; `fit_label_noise` and `judge` turn that into the probability that a label is right,
///    `weight_of` into weights, with which classifiers predict the fold that was left out: its trusted rows with the
///    other trusted rows, its training rows with all trusted rows.
/// 4. `fit_label_noise`, with `noise_intervals`, on the predictions of all folds.
/// 5. The cleaned model: one fit on the rows with the weights of 4 and all trusted rows, calibrated as in 4.
/// Without trusted rows, those of the training rows whose labels an out-of-fold model agrees with most (15 % of
/// each class) judge in step 2, are ordinary rows otherwise, and nothing is calibrated.
JobEntry clean_entry();

}  // namespace bilevel
