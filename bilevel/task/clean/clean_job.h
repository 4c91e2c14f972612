// The job behind `bilevel clean`: from files to weights, a cleaned model, its figures and a report, in one folder.
#pragma once

#include <string>

#include "bilevel/task/clean/clean_options.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

/// Trains and writes into `out`: options.json and a checkpoint before step 1, trace.jsonl, and at the end
/// summary.json, weights.tsv, model.safetensors, model.json, predictions.tsv (with a test file), accuracy.svg,
/// weights.svg, loss.svg, report.html. Throws InputError (also when `out` holds another run) and FileError.
///
/// The method, which docs/clean.md explains:
/// 1. Bilevel run: x = one logit per training row (or per group, or class pair), all equal at first; lower level the
///    weighted training rows, upper level 70 % of the trusted rows. The other 30 % are held back: the latest
///    evaluation within one standard error of the best loss on them is the chosen step.
/// 2. Two rounds of cross-fitting: classifiers on the weighted training rows of the other folds and all trusted rows
///    predict each fold; `agreement_of` turns that into the probability that a label is right, `weight_of` into
///    the weight of the next round.
/// 3. The cleaned model: one fit on the rows with the last weights and all trusted rows.
/// Without trusted rows, those of the training rows whose labels an out-of-fold model agrees with most (15 % of
/// each class) judge in step 1, and are ordinary rows in steps 2 and 3.
JobResult run_clean_job(const CleanOptions& options, const std::string& out,
                        const JobCallbacks& callbacks = {});

/// Continues the run in `out`, or returns its summary when it had finished. Throws InputError when there is
/// no run, an input file has changed, or another process works there.
JobResult resume_clean_job(const std::string& out, const JobCallbacks& callbacks = {});

}  // namespace bilevel
