// Cross-validation of any job: its ordinary runs, each tested on rows that the others trained on, and what they say together.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// A run of a cross-validation.
struct FoldRun {
  int64_t repeat = 0, fold = 0;    ///< from 1
  nlohmann::ordered_json summary;  ///< of the run
};

/// "cross_validation" of the runs: folds, repeats, measure, runs ({repeat, fold, value, differences: {BASELINE: number}}), mean,
/// interval, and baselines ({NAME: {name, difference, difference_interval, verdict}}) of those that every run has measured. Intervals
/// are `resampled_interval`s of the runs' figures.
nlohmann::ordered_json cross_validated(const std::vector<FoldRun>& runs, int64_t folds, int64_t repeats,
                                       const JobMeasure& measure);

/// Deals the rows of the training file into `folds` folds, `repeats` times: at random, with the same share of every class
/// (`JobOptions::strata`; or with classes of its own, `JobOptions::holds_out_classes`), rows that stay together in cuts in one. Each fold in turn holds the test rows of an ordinary run of the job
/// on the other rows, in the folder folds/REPEAT-FOLD; runs are parts of the work, made side by side (`JobParts`), each with one
/// of its own at a time. One more run, on all rows, leaves the model and what is made of it in the folder; its test rows have
/// trained, and its figures are thrown away. Writes the table `JobEntry::tested` (of all runs, behind repeat and fold), report.html and
/// summary.json, which has `cross_validated`. Resumed, goes on with the runs that had begun. Throws as the job's run does.
JobResult cross_validate(const JobEntry& entry, Job& job, const JobContext& context);

/// What a person reads at the end.
std::string cross_validation_text(const nlohmann::ordered_json& summary, const std::string& out);
/// Writes report.html.
void write_cross_validation_report(const JobContext& context, const JobOptions& options,
                                   const nlohmann::ordered_json& summary);

}  // namespace bilevel
