// What a model of `bilevel auc` says of rows.
#pragma once

#include <torch/types.h>

#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/job/classifier.h"

namespace bilevel {

/// u / sqrt(1 + u^2) of outputs u, float64: the scores of a model (see AucModel).
torch::Tensor auc_scores(const torch::Tensor& outputs);

/// float64 [rows, 2]: what is calibrated, sigmoid(-u) and sigmoid(u) of the network's outputs u behind scores s = u / sqrt(1 +
/// u^2) in [-1, 1].
torch::Tensor auc_probabilities(const torch::Tensor& scores);

/// score, predicted (the name of the class: positive from the threshold on) and, with a calibration, p(POSITIVE).
/// @param names of the other class and of the positive one
std::vector<Column> auc_columns(const torch::Tensor& scores, double threshold,
                                const std::vector<std::string>& names,
                                const std::optional<Calibration>& calibration);

/// Scores the rows of a file: writes `auc_columns` (see `PredictedRows`). The summary has command, rows, predicted ({NAME:
/// rows}), predicted_positive, out and, where labels of both classes are known, auc. Throws InputError and FileError.
Prediction predict_auc(const PredictRequest& request);

}  // namespace bilevel
