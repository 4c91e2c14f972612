// The job behind `bilevel meta`: few-shot learning from files, in one folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/task/job/job.h"
#include "bilevel/task/meta/meta_options.h"

namespace bilevel {

/// Trains an encoder on tasks of the training part, chooses the step by the accuracy on validation tasks, and measures
/// it on test tasks beside the baselines. Writes into `out`: options.json and a checkpoint before step 1, trace.jsonl,
/// and at the end summary.json, model.safetensors, model.json, episodes.tsv (the accuracy of every test task),
/// accuracy.svg, loss.svg, report.html. Throws InputError (also when `out` holds another run) and FileError; nothing
/// is left behind by bad input.
JobResult run_meta_job(const MetaJobOptions& options, const std::string& out,
                       const JobCallbacks& callbacks = {});

/// Continues the run in `out`, or returns its summary when it had finished.
JobResult resume_meta_job(const std::string& out, const JobCallbacks& callbacks = {});

/// Adapts a saved encoder to the labelled rows of `shots` (any number of classes and rows; with a shared head, the
/// classes it was trained on) and classifies the rows of `input`. Writes `output`, tab-separated: row (from 1),
/// predicted, one column "p(NAME)" per class, and label where the input has it. Returns {command, shots, classes, rows,
/// predicted, out, and with labels accuracy}. The saved model stays as it is. Throws InputError and FileError.
nlohmann::ordered_json predict_meta(const std::string& model_folder, const std::string& shots,
                                    const std::string& input, const std::string& output,
                                    const std::string& format = "automatic",
                                    const std::string& header = "automatic");

}  // namespace bilevel
