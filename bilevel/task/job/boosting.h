// Gradient boosting of trees as a baseline of the jobs that read columns, and fits that keep their rows in memory.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bilevel/model/gradient_boosting.h"
#include "bilevel/task/job/job_run.h"

namespace bilevel {

/// Rows that a fit which keeps its inputs in memory, in float64, gets at most: about half a gigabyte of entries.
int64_t rows_in_memory(const Inputs& inputs);

/// `score` of the rows' inputs, of so many rows at a time as `rows_in_memory` says.
torch::Tensor scores_in_parts(
    const Inputs& inputs, const std::vector<int64_t>& rows,
    const std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>& score);

/// Whether a job is compared with gradient boosting, where the machine has it: its encoder reads columns.
bool wants_boosting(const JobOptions& options);
/// Whether it is.
bool has_boosting(const JobOptions& options);
/// Why it is not, though its encoder reads columns, a sentence; else empty.
std::string lacks_boosting(const JobOptions& options);

/// Which rows the trees are fitted to and judged by.
struct BoostedParts {
  std::vector<int64_t> train, valid;
  std::vector<int64_t> refit =
      {};  ///< what they are fitted to anew, for the chosen number of rounds; empty: nothing
};

struct Boosted {
  GradientBoosting trees;  ///< the latest
  torch::Tensor valid;     ///< scores of the validation rows by those of the training rows

  /// Their scores of any rows (see `GradientBoosting::scores`).
  torch::Tensor scores(const Inputs& inputs, const std::vector<int64_t>& rows) const;
};

/// Fits trees with `fit_gradient_boosting`: as many rounds as give the validation rows the highest score. Parts of more rows than
/// `rows_in_memory`: evenly chosen ones, with a note; as many rounds as are affordable. Advances the phase at hand; throws
/// Interrupted.
/// @param classes int64 [all rows], of `count`
/// @param score of the scores of rows and their classes, higher is better
Boosted boost(JobSetup& setup, const FittedInputs& read, const torch::Tensor& classes, int64_t count,
              const BoostedParts& rows,
              const std::function<double(const torch::Tensor& scores, const torch::Tensor& classes)>& score);

/// The most rounds that are worth their time, 50 to 1000, and a step size that is as much larger, 0.1 to 0.3: a round grows a tree for
/// each class (of two, one), whose cost rises with the columns that it may split and with the entries. Fewer than 1000 where so
/// many would take longer than about a minute on one core.
GradientBoostingOptions affordable_boosting(const FittedInputs& read, int64_t rows, int64_t classes);

/// float64 [rows, classes] of such scores.
torch::Tensor boosted_probabilities(const torch::Tensor& scores);
/// Less the mean log-loss of such scores: a score for `boost`.
double boosted_fit(const torch::Tensor& scores, const torch::Tensor& classes);

}  // namespace bilevel
