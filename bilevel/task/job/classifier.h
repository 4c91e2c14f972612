// Classification into several classes: how good probabilities are, and the prediction of new rows.
#pragma once

#include <torch/types.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/data/classes.h"
#include "bilevel/data/table_writer.h"
#include "bilevel/report/intervals.h"
#include "bilevel/task/job/calibration.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/job_entry.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {

/// float64 [rows, classes] on the CPU: softmax of the network's logits, in evaluation mode.
torch::Tensor probabilities_of(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                               const torch::Device& device);

/// How good probabilities are.
struct ClassScores {
  double accuracy =
      0;            ///< share of rows whose class has the largest probability (ties: the first such class)
  double loss = 0;  ///< mean of -log p(class of the row), p not below 1e-12
  double standard_error_of_loss = 0;

  nlohmann::ordered_json to_json() const;  ///< {"accuracy", "loss"}
};

/// @param probabilities float64 [rows, classes]
/// @param classes int64 [rows]
ClassScores class_scores(const torch::Tensor& probabilities, const torch::Tensor& classes);

/// {"accuracy", "loss", "auc"} of probabilities. auc: area under the ROC curve of each class against all others, the mean over the
/// classes that some but not all rows have; null where there is none.
nlohmann::ordered_json scores_json(const torch::Tensor& probabilities, const torch::Tensor& classes);

/// Of each row whether its class has the largest probability (bool), and -log p(class of the row) (float64).
torch::Tensor class_hits(const torch::Tensor& probabilities, const torch::Tensor& classes);
torch::Tensor class_losses(const torch::Tensor& probabilities, const torch::Tensor& classes);
/// By how much the entries of `own` exceed those of `other`, on the same rows.
PairedDifference paired_difference(const torch::Tensor& own, const torch::Tensor& other,
                                   const std::vector<int64_t>& unit_of = {});

/// int64 [rows] of the given rows' entries.
torch::Tensor classes_at(const std::vector<int64_t>& classes, const std::vector<int64_t>& rows);

/// "predicted" (name) and one column "p(NAME)" per class. @param probabilities float64 [rows, classes]
std::vector<Column> class_columns(const torch::Tensor& probabilities, const std::vector<std::string>& names);
/// The column "label": the names of classes.
Column label_column(const std::vector<std::string>& names, const torch::Tensor& classes);

/// Probabilities of the test rows by other models, by the key of each: float64 [rows, classes].
using OtherPredictions = std::map<std::string, torch::Tensor>;

/// Writes predictions of rows as a table: file, line, label and `class_columns`, then "p_KEY(NAME)" per class of the others.
void write_class_predictions(const std::string& path, const JobFiles& files, const std::vector<int64_t>& rows,
                             const torch::Tensor& probabilities, const std::vector<std::string>& names,
                             const torch::Tensor& classes, const OtherPredictions& others = {});
/// The same into predictions.tsv, of a job's test rows.
void write_test_predictions(const JobContext& context, const JobFiles& files,
                            const std::vector<int64_t>& rows, const torch::Tensor& probabilities,
                            const std::vector<std::string>& names, const torch::Tensor& classes,
                            const OtherPredictions& others = {});

/// How many rows are predicted to be of each class: {NAME: rows}.
nlohmann::ordered_json predicted_counts(const torch::Tensor& probabilities,
                                        const std::vector<std::string>& names);

/// As those of classes.h, of either kind of file.
std::optional<ClassLabels> find_classes(const DataFile& file, const std::string& column,
                                        const std::vector<std::string>& known, const std::string& origin);

/// The calibration that a model was saved with; none where there is none or it is null.
std::optional<Calibration> saved_calibration(const SavedModel& model);

/// Classifies the rows of a file with a saved softmax model, whose description holds "classes" (names) and
/// "label" (column), and, where its probabilities are to be calibrated, "calibration" (null: they should be and could
/// not, which is told, as it is where there is none); and writes `class_columns` (see `PredictedRows`). The summary has command,
/// rows, predicted (`predicted_counts`), out and, with labels, accuracy and loss. Throws InputError and FileError.
Prediction predict_classes(const PredictRequest& request);

}  // namespace bilevel
