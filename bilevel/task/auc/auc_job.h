// The job behind `bilevel auc`: from files to a model, its figures and a report, in one folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/task/auc/auc_setup.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

/// Trains and writes into `out`: options.json and a checkpoint before step 1, trace.jsonl, and at the end
/// summary.json, model.safetensors, model.json, predictions.tsv, loss.svg, auc.svg, roc.svg, report.html. The
/// folder is made after the data have been read and all options checked. Throws InputError (also when `out`
/// holds another run) and FileError.
JobResult run_auc_job(const AucJobOptions& options, const std::string& out,
                      const JobCallbacks& callbacks = {});

/// Continues the run in `out`, or returns its summary when it had finished. Throws InputError when there is
/// no run, an input file has changed, or another process works there.
JobResult resume_auc_job(const std::string& out, const JobCallbacks& callbacks = {});

/// Scores the rows of `input` with the model in `model_folder` and writes `output`, tab-separated: row (from
/// 1), score, predicted (1 when the score reaches the model's threshold), and, where the input has the label
/// column, label. Returns {rows, positives predicted, and with labels auc}. Throws InputError and FileError.
nlohmann::ordered_json predict_auc(const std::string& model_folder, const std::string& input,
                                   const std::string& output, const std::string& format = "automatic",
                                   const std::string& header = "automatic");

}  // namespace bilevel
