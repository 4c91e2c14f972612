// The job behind `bilevel meta`: few-shot learning from files, in one folder.
#pragma once

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// Options: MetaJobOptions. A run trains an encoder on tasks of the training part, chooses the step by the accuracy on
/// validation tasks, and measures it on test tasks beside the baselines. It writes options.json and a checkpoint before step
/// 1, trace.jsonl, and at the end summary.json, model.safetensors, model.json, episodes.tsv (the accuracy of every test
/// task), accuracy.svg, loss.svg, report.html.
///
/// `predict` adapts the saved encoder to the labelled rows of `shots` (any number of classes and rows; with a shared head, the
/// classes it was trained on) and classifies the rows of `input`. It writes, tab-separated: row (from 1), predicted, one
/// column "p(NAME)" per class, and label where the input has it; its summary has shots, classes, rows, predicted,
/// mean_probability, and with labels accuracy. The saved model stays as it is.
JobEntry meta_entry();

}  // namespace bilevel
