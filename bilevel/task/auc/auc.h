// The job behind `bilevel auc`: from files to a classifier that maximizes AUC, its figures and a report.
#pragma once

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// Options: AucJobOptions. A run writes options.json and a checkpoint before step 1, trace.jsonl, and at the end summary.json,
/// model.safetensors, model.json, predictions.tsv, loss.svg, auc.svg, roc.svg, report.html. `predict` writes, tab-separated:
/// row (from 1), score, predicted (1 when the score reaches the model's threshold), and, where the input has the label
/// column, label; its summary has rows, predicted_positive, and with labels auc.
JobEntry auc_entry();

}  // namespace bilevel
