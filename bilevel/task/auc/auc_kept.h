// The model that `bilevel auc` saves, and `predict` reads.
#pragma once

#include <torch/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/task/auc/auc_training.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {

/// What a run saves: the model that it trained, or a baseline.
struct AucKept {
  std::string key;   ///< "trained", or that of the baseline
  std::string name;  ///< for a person
  std::string why;   ///< the end of a sentence
  torch::Tensor valid,
      test;  ///< scores (`auc_scores`) of the rows that judge (before the refit), and of the test rows
  std::shared_ptr<AucModel> model;             ///< what is saved; null of trees
  AucFeatures features;                        ///< that it reads
  std::map<std::string, torch::Tensor> trees;  ///< see `AucBaseline::saved`

  bool trained() const { return key == kTrained; }
  static constexpr const char* kTrained = "trained";
};

/// Chooses: with `AucJobOptions::keep_best` the baseline that ranks the validation rows best, where that is better than the model does
/// and these rows are enough to judge by; else the model. Logistic regression becomes the network of a linear encoder. The test
/// rows have no part in it. @param outcome its model moves to what is kept
AucKept keep_model(AucSetup& setup, AucOutcome& outcome);

/// Writes the files of the model; of trees "trees.ubj" too, in XGBoost's format. See `save_model`.
void save_kept(const AucSetup& setup, const AucKept& kept, const nlohmann::ordered_json& description);

/// Scores of all rows by a saved model; `model` gets the network, null of trees. Throws InputError where a model of trees needs
/// the library that is not there.
torch::Tensor kept_scores(const SavedModel& saved, const Inputs& inputs, const torch::Device& device,
                          std::shared_ptr<AucModel>& model);

}  // namespace bilevel
