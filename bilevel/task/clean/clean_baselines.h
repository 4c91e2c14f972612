// What people use today, on the same rows: the methods that `bilevel clean` is measured against.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_setup.h"

namespace bilevel {

/// Probabilities of the training rows by models that have not seen them, float64 [training rows, classes].
struct UnseenRows {
  torch::Tensor by_others;   ///< by logistic regression on the rows as given, without the row's fold of five
  torch::Tensor by_trusted;  ///< by one on the trusted rows; undefined without any
};

/// L2-regularized logistic regression (softmax for several classes) on the same rows; token encoders are
/// compared on hashed n-grams, all others on the features they read:
/// - `noisy_and_trusted`: trained on all of them, as given;
/// - `trusted_only`: trained on the trusted rows;
/// - `self_confidence`, `trusted_model`, `product`: rows scored by the out-of-fold probability of the given label, by
///   the trusted model's probability of it, and by the product; the lowest share of the rows is dropped, and the
///   rest trains with the trusted rows.
/// - `gradient_boosting`, where columns are read and the machine has it: trees (`boost`), as many rounds of them, fitted to the
///   training rows as given, as give the trusted rows the least log-loss (without trusted rows: four fifths of the training rows, and
///   the other fifth); then so many anew on all rows, as `noisy_and_trusted` is.
/// Each has its name, test.{accuracy, loss} (null without a test file) and, until `take_predictions`, its probabilities of the test
/// rows; those that drop rows have flips.auroc where the flips are known. Without trusted rows there are noisy_and_trusted,
/// self_confidence and gradient_boosting alone. Each is a part of the job.
class CleanBaselines {
 public:
  explicit CleanBaselines(CleanSetup& setup);

  /// The parts that fit rows as they are given, and score them.
  static std::vector<Part> first_parts(const CleanSetup& setup);
  /// Those that drop the share `drop` of the training rows by how models that have not seen a row score it.
  static std::vector<Part> dropping_parts(const CleanSetup& setup, double drop, const UnseenRows& known);
  /// The names of those.
  static std::vector<const char*> dropping_names(const CleanSetup& setup);
  /// What a part of the name is, as a phase.
  static Phase phase(const CleanSetup& setup, const std::string& name);
  /// All of them, by name.
  static nlohmann::ordered_json summary(const CleanSetup& setup,
                                        const std::vector<nlohmann::ordered_json>& first,
                                        const std::vector<nlohmann::ordered_json>& dropping);

  /// From the answers of the first parts.
  static UnseenRows unseen(const CleanSetup& setup, const std::vector<nlohmann::ordered_json>& first);

  /// Takes the probabilities of the test rows out of the summary; none without a test file.
  static OtherPredictions take_predictions(nlohmann::ordered_json& summary);

  /// What a part comes to.
  nlohmann::ordered_json answer(const nlohmann::ordered_json& request) const;

 private:
  const FittedInputs& inputs() const { return own_.features ? own_.inputs : setup_.inputs().inputs; }
  /// {"test": null}, or {"test": {accuracy, loss}, "predicted"}. @param predict gives the probabilities of rows
  nlohmann::ordered_json test(
      const std::function<torch::Tensor(const std::vector<int64_t>& rows)>& predict) const;
  nlohmann::ordered_json test(Network& network) const;
  nlohmann::ordered_json fitted(const std::vector<int64_t>& rows) const;
  nlohmann::ordered_json trusted_only() const;
  torch::Tensor predicted_by_others() const;
  nlohmann::ordered_json dropping(double drop, const torch::Tensor& score) const;
  nlohmann::ordered_json boosted() const;

  CleanSetup& setup_;
  CleanInputs own_;  // without features: those of the job
  WeightedFitOptions options_;
};

}  // namespace bilevel
