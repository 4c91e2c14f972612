// What `bilevel auc` is compared with: other models on the same rows.
#pragma once

#include <torch/types.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/auc/auc_setup.h"

namespace bilevel {

/// Another model's scores.
struct AucBaseline {
  std::string key;       ///< in the summary: "logistic_regression"
  std::string name;      ///< for a person
  torch::Tensor valid;   ///< [validation rows], trained on the training rows
  torch::Tensor scores;  ///< [test rows], with `AucSetup::refit` trained on both parts
  /// What is saved of it, with `AucJobOptions::keep_best`: {"weight" [width], "intercept" [1]} of logistic regression, on
  /// `linear_features`; {"trees" (their bytes), "rounds" [1]} of gradient boosting, on the features of the model.
  std::map<std::string, torch::Tensor> saved = {};

  nlohmann::ordered_json to_json() const;
  static AucBaseline from_json(const nlohmann::ordered_json& json);
};

/// A kind of baseline.
struct AucRival {
  std::string part;                             ///< the name of the part that makes it
  std::string shown;                            ///< for a person
  std::function<double(AucSetup& setup)> cost;  ///< see costs.h; fits the features of the training rows
  std::function<AucBaseline(AucSetup& setup)> make;
};

/// What this job is compared with.
/// - Logistic regression with an L2 penalty: C chosen on the validation rows by their AUC, then, with `AucSetup::refit`, fitted anew on
///   both parts. Token encoders are compared with one on word and character n-grams, all others on the features they read.
/// - For columns, gradient boosting of trees (`boost`) on the same features: as many rounds as rank the validation
///   rows best, then the same number on both parts. Not where the machine lacks the library.
/// Scores are log-odds. Larger data than fit into about half a gigabyte: on evenly chosen rows, with a note. Advances the phase at hand.
std::vector<AucRival> auc_rivals(const AucSetup& setup);

/// The features that logistic regression reads, as its last fit has them.
AucFeatures linear_features(AucSetup& setup);

}  // namespace bilevel
