// The bilevel part of `bilevel clean`: the folds, and the weights that are learned without each of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/clean/clean_setup.h"

namespace bilevel {

inline constexpr int64_t kFolds = 4;

/// What the work on a fold costs, in the order in which it is done; see costs.h.
struct FoldCost {
  double opinion = 0;  ///< `first_opinion`, where it is asked for
  double pass = 0;     ///< the bilevel run
  double within = 0;   ///< `predict_within`
  double fit = 0;      ///< one that predicts the fold
  double all() const { return opinion + pass + within + 2 * fit; }
};

/// All rows but those of one fold. What is learned on a part knows nothing of that fold: neither its training
/// rows' labels nor its trusted rows.
struct CleanPart {
  std::vector<int64_t> train, trusted;
  std::vector<int64_t> fold_train, fold_trusted;  ///< the rows of the fold
  std::vector<int64_t> lower, upper, held;        ///< of the bilevel run
  torch::Tensor first_opinion;  ///< of `train`, before anything is weighed; undefined until needed
  torch::Tensor unit_of;        ///< int64 [all rows]
  int64_t units = 0;
  torch::Tensor learned;  ///< [units]
  torch::Tensor weights;  ///< [train]
};

/// The folds, and the weighing of the rows of the parts. As a contest the bilevel run of the first fold. Ranked by the loss of
/// the classifier y on the trusted rows that are held back (without trusted rows: on those of the judging rows), tuned by
/// that on the rows that judge. No step is chosen: the held-back rows would do both.
class Weighing : public CleanSetup {
 public:
  Weighing(CleanOptions options, const JobContext& context);

  std::vector<CleanPart>& parts() { return parts_; }
  const std::vector<CleanPart>& parts() const { return parts_; }
  /// Of the groups or class pairs that have a weight, when `prepare` has seen a part; none for rows.
  const std::vector<std::string>& unit_names() const { return unit_names_; }

  /// Chooses the rows that judge, those that are held back, and which logit each training row has.
  void prepare(CleanPart& part);
  CleanModel model(const CleanPart& part, uint64_t seed) const;
  Problem problem(const CleanModel& model, const CleanPart& part) const;
  ProblemTraits traits(const Problem& problem) const;
  std::unique_ptr<Solver> solver(const std::string& name, const CleanPart& part) const;
  /// Of the classifier y.
  ClassScores scores(const CleanModel& model, const std::vector<int64_t>& rows) const;

  /// The bilevel run on all rows but those of fold k, which gives `learned` and `weights`. Null when it came to no
  /// outcome.
  const PassOutcome* weigh(int64_t k, Passes& passes);
  static std::string pass_name(int64_t k);
  FoldCost fold_cost(int64_t k) const;
  /// Of a fit to so many rows.
  double fit_cost(int64_t rows) const;

  /// float64 [train + trusted rows of the part, classes]: each row's probabilities by a classifier fitted on the rows
  /// of the other folds of the part, the trusted ones with weight 1.
  torch::Tensor predict_within(const CleanPart& part, const torch::Tensor& weights) const;

  void prepare_contest() override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;
  std::unique_ptr<Solver> solver(const std::string& name) const override {
    return solver(name, parts_.front());
  }
  int64_t default_steps() const override { return steps(parts_.front()); }

 private:
  void describe(ContestFacts& facts) const override;
  int64_t steps(const CleanPart& part) const;
  int64_t fold_of(int64_t row) const { return fold_of_[static_cast<size_t>(row)]; }
  const torch::Tensor& first_opinion(CleanPart& part) const;
  void choose_judges(CleanPart& part);
  std::vector<int64_t> judges_by_agreement(CleanPart& part);
  void make_units(CleanPart& part);
  std::string group_of(int64_t row) const;
  bool linear() const { return encoder_registry().at(o_.encoder).linear; }

  std::vector<int64_t> fold_of_;  // of each row of any file; kFolds: in none
  std::vector<CleanPart> parts_;
  std::vector<std::string> unit_names_;
  std::shared_ptr<const Network> measured_;  // the classifier, for costs
};

}  // namespace bilevel
