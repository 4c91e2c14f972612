// What people use today, on the same rows: the methods that `bilevel clean` is measured against.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_setup.h"

namespace bilevel {

/// L2-regularized logistic regression (softmax for several classes) on the same rows; token encoders are
/// compared on hashed n-grams, all others on the features they read:
/// - `noisy_and_trusted`: trained on all of them, as given;
/// - `trusted_only`: trained on the trusted rows;
/// - `self_confidence`, `trusted_model`, `product`: rows scored by the out-of-fold probability of the given label, by
///   the trusted model's probability of it, and by the product; the lowest share of the rows is dropped, and the
///   rest trains with the trusted rows.
/// Each has test.{accuracy, loss} (null without a test file) and, until `take_hits`, which test rows it gets right; the last three have flips.auroc where the flips
/// are known. Without trusted rows there are noisy_and_trusted and self_confidence alone. Each is a part of the job.
class CleanBaselines {
 public:
  explicit CleanBaselines(const CleanSetup& setup);

  /// The parts that fit rows as they are given, and score them.
  static std::vector<Part> first_parts(const CleanSetup& setup);
  /// Those that drop the share `drop` of the training rows by the scores in the answers of the first.
  static std::vector<Part> dropping_parts(const CleanSetup& setup, double drop,
                                          const std::vector<nlohmann::ordered_json>& first);
  /// The names of those.
  static std::vector<const char*> dropping_names(const CleanSetup& setup);
  /// What a part of the name is, as a phase.
  static Phase phase(const CleanSetup& setup, const std::string& name);
  /// All of them, by name.
  static nlohmann::ordered_json summary(const CleanSetup& setup,
                                        const std::vector<nlohmann::ordered_json>& first,
                                        const std::vector<nlohmann::ordered_json>& dropping);

  /// Takes out of the summary which test rows each gets right (bool); none without a test file.
  static std::map<std::string, torch::Tensor> take_hits(nlohmann::ordered_json& summary);

  /// What a part comes to.
  nlohmann::ordered_json answer(const nlohmann::ordered_json& request) const;

 private:
  const FittedInputs& inputs() const { return own_.features ? own_.inputs : setup_.inputs().inputs; }
  torch::Tensor of_given(const torch::Tensor& probabilities) const;
  nlohmann::ordered_json test(Network& network) const;
  nlohmann::ordered_json fitted(const std::vector<int64_t>& rows) const;
  nlohmann::ordered_json trusted_only() const;
  torch::Tensor self_confidence() const;
  nlohmann::ordered_json dropping(double drop, const torch::Tensor& score) const;

  const CleanSetup& setup_;
  CleanInputs own_;  // without features: those of the job
  WeightedFitOptions options_;
};

}  // namespace bilevel
