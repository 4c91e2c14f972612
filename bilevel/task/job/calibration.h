// From what a classifier says of its rows to probabilities that are frequencies.
#pragma once

#include <torch/types.h>

#include <nlohmann/json.hpp>

namespace bilevel {

/// Makes probabilities honest: softmax(beta log p + bias). beta above 1 for a model that is too unsure, as models
/// fitted with wrong labels are; below 1 for one that is too sure; 1/beta is called its temperature.
struct Calibration {
  double beta = 1;
  torch::Tensor bias;  ///< float64 [classes]

  /// float64 [rows, classes] of the same; p not below 1e-12.
  torch::Tensor apply(const torch::Tensor& probabilities) const;

  nlohmann::ordered_json to_json() const;  ///< {"temperature", "bias": [classes]}
  /// Throws nlohmann::json::exception for what `to_json` cannot have written.
  static Calibration from_json(const nlohmann::ordered_json& json);
};

/// For two classes, fitted on rows that have not trained: beta and bias of least logistic loss against the targets
/// (n + 1) / (n + 2) and 1 / (n + 2), n being the rows of the class (J. Platt, 1999), by Newton's method (H.-T. Lin, C.-J. Lin,
/// R. C. Weng, Machine Learning 68, 2007). Where the odds fall with the probabilities, beta is 1e-6: the share of the class
/// is then all that is said.
/// @param probabilities float64 [rows, 2]; their odds need mean nothing but an order
/// @param classes int64 [rows], 0 or 1, with rows of both
Calibration fit_platt(const torch::Tensor& probabilities, const torch::Tensor& classes);

/// For any number of classes: beta alone, of least loss plus (log beta)^2 / 2 over all rows, which keeps it finite where every
/// row is right; 1 where the loss does not tell it from 1 (likelihood-ratio test, 5 %).
/// @param probabilities float64 [rows, classes]
/// @param classes int64 [rows]
Calibration fit_temperature(const torch::Tensor& probabilities, const torch::Tensor& classes);

}  // namespace bilevel
