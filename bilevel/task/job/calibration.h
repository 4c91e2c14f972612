// From what a classifier says of its rows to probabilities that are frequencies.
#pragma once

#include <torch/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace bilevel {

/// Makes probabilities honest: softmax(beta log p + bias), and of what comes of it curves. beta above 1 for a model that is too unsure, as models
/// fitted with wrong labels are; below 1 for one that is too sure; 1/beta is called its temperature.
struct Calibration {
  /// Points (log odds, what they become), in this order and rising: straight between them, and beyond as between the last two.
  using Curve = std::vector<std::pair<double, double>>;

  double beta = 1;
  torch::Tensor bias;  ///< float64 [classes]; undefined: zeros
  /// Of two classes one, of log(p_1 / p_0); of more one for each, of its log odds against all others, whose probabilities are then
  /// scaled to sum 1. Empty: none.
  std::vector<Curve> curves = {};

  /// What to say where a curve is flat: the rows that it was fitted on contradict the order of the probabilities, or do not tell it.
  std::string warning() const;
  /// float64 [rows, classes] of the same; p not below 1e-12.
  torch::Tensor apply(const torch::Tensor& probabilities) const;

  /// {"temperature", "bias": [classes], "curves": [{"log_odds", "calibrated"}]}, the last where there are some, the first ones where
  /// there is a bias.
  nlohmann::ordered_json to_json() const;
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

/// Whether probabilities are frequencies already, unless rows tell that they are not, or an order alone.
enum class Given { order, frequencies };

/// Curves, fitted on rows that have not trained: of given frequencies these as they are, else Platt's line, or where the rows tell that it bends eight
/// straight pieces between quantiles of the odds, which rise everywhere. Of least logistic loss against Platt's targets plus
/// stiffness / 2 times the squared differences between the logarithms of neighbouring slopes; the largest of seven stiffnesses
/// (the first one is the line; of given frequencies they themselves come before it) whose loss in ten folds is within one standard error, of the paired difference, of the least. More than
/// 20,000 rows: stiffness chosen on so many of them.
/// @param probabilities float64 [rows, classes]; of two classes their odds need mean nothing but an order
/// @param classes int64 [rows], with rows of each
Calibration fit_curves(const torch::Tensor& probabilities, const torch::Tensor& classes,
                       Given given = Given::order);

/// For any number of classes: beta alone, of least loss plus (log beta)^2 / 2 over all rows, which keeps it finite where every
/// row is right; 1 where the loss does not tell it from 1 (likelihood-ratio test, 5 %).
/// @param probabilities float64 [rows, classes]
/// @param classes int64 [rows]
Calibration fit_temperature(const torch::Tensor& probabilities, const torch::Tensor& classes);

/// `fit_curves` where models of others predicted the rows (`by_others`) and each class has `kFewRows` at least, since a curve has two
/// numbers of its own or more; else `fit_temperature`. Where a class has no row nothing tells of it: a bias of zeros.
/// @param probabilities float64 [rows, classes] @param classes int64 [rows]
Calibration fit_judged(const torch::Tensor& probabilities, const torch::Tensor& classes, bool by_others,
                       Given given = Given::order);

}  // namespace bilevel
