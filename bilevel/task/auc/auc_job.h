// The job behind `bilevel auc`: from files to a model, its figures and a report, in one folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/auc/auc_setup.h"

namespace bilevel {

/// How a job tells where it stands; all may be empty.
struct AucJobCallbacks {
  std::function<void(const std::string&)> message;  ///< a line for a person
  std::function<void(const AucProgress&)> progress;
  const std::atomic<bool>* interrupt = nullptr;
};

/// How a job ended.
struct AucJobResult {
  nlohmann::ordered_json summary;  ///< the object of `--json`
  StopReason reason = StopReason::max_steps;
  std::string message;
  bool finished = false;  ///< there is a model and a report
  std::string baseline;   ///< a line about the linear baseline
  struct RankedRow {
    std::string text;
    bool positive;
    double score;
  };
  std::vector<RankedRow> best_ranked;  ///< the test rows with the highest scores
};

/// Trains and writes into `out`: options.json and a checkpoint before step 1, trace.jsonl, and at the end
/// summary.json, model.safetensors, model.json, predictions.tsv, loss.svg, auc.svg, roc.svg, report.html. The
/// folder is made after the data have been read and all options checked. Throws InputError (also when `out`
/// holds another run) and FileError.
AucJobResult run_auc_job(const AucJobOptions& options, const std::string& out,
                         const AucJobCallbacks& callbacks = {});

/// Continues the run in `out`, or returns its summary when it had finished. Throws InputError when there is
/// no run, an input file has changed, or another process works there.
AucJobResult resume_auc_job(const std::string& out, const AucJobCallbacks& callbacks = {});

/// Scores the rows of `input` with the model in `model_folder` and writes `output`, tab-separated: row (from
/// 1), score, predicted (1 when the score reaches the model's threshold), and, where the input has the label
/// column, label. Returns {rows, positives predicted, and with labels auc}. Throws InputError and FileError.
nlohmann::ordered_json predict_auc(const std::string& model_folder, const std::string& input,
                                   const std::string& output, const std::string& format = "automatic",
                                   const std::string& header = "automatic");

}  // namespace bilevel
