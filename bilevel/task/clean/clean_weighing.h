// The folds of `bilevel clean`, what is done without each of them, and the bilevel run over all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/clean/clean_setup.h"
#include "bilevel/task/clean/label_noise.h"

namespace bilevel {

inline constexpr int64_t kFolds = 4;
inline constexpr int64_t kOpinionRounds = 2;    ///< of `Weighing::opinion`; one less found wrong labels worse
inline constexpr const char* kLearn = "learn";  ///< the part, and pass, of the bilevel run

/// What the work costs, in the order in which it is done; see costs.h.
struct CleanCosts {
  double opinion = 0;  ///< of a part
  double weights = 0;  ///< `last_weights` of a part
  double learn = 0;    ///< the bilevel run
  double fit = 0;      ///< one that predicts a fold
};

/// All rows but those of one fold. What is learned on a part knows nothing of that fold: neither its training
/// rows' labels nor its trusted rows.
struct CleanPart {
  std::vector<int64_t> train, trusted;
  std::vector<int64_t> fold_train, fold_trusted;  ///< the rows of the fold
};

/// What a part says of its training rows before anything is learned.
struct Opinion {
  torch::Tensor weights;  ///< float32 [train]
  torch::Tensor
      predicted;  ///< int64 [train]: the class by classifiers that have not seen the row; [0] where no unit is made of it
};

/// What comes of the bilevel run: what was learned, where it is better than its start on the rows that judge.
struct Settled {
  FitStrengths strengths;
  double gain =
      0;  ///< by how much the mean loss on the trusted rows is lower than at the start, each by the classifier without its fold
  double standard_error = 0;  ///< of that, over the rows
  bool taken = true;          ///< whether `strengths` are the learned ones, not those of the start
  torch::Tensor unit_errors =
      {};  ///< standard errors of the logarithms of the units' weights; undefined: there are too many, or none
};

/// The folds, the opinions and the bilevel run. As a contest the bilevel run, from the opinions; 30 % of the trusted rows then do not
/// judge: solvers are ranked by the loss on these, tuned by that on the others.
class Weighing : public CleanSetup {
 public:
  Weighing(CleanOptions options, const JobContext& context);

  /// All rows but those of fold k. Cost: a pass over the rows; it is not kept.
  CleanPart part(size_t k) const;
  /// Of the groups or class pairs that have a weight; none without.
  const std::vector<std::string>& unit_names() const { return unit_names_; }
  /// Whether there is a bilevel run: it needs trusted rows.
  bool learns() const { return *o_.learn; }

  /// What to think of the labels of a part: classifiers of the rows of two of its folds predict the third, and the noise is estimated from
  /// that; first with all rows counting alike, then with the weights that follow.
  Opinion opinion(const CleanPart& part) const;
  /// float64 [train + trusted rows of the part, classes]: each row's probabilities by a classifier fitted on the rows
  /// of the other folds of the part.
  torch::Tensor predict_within(const CleanPart& part, const torch::Tensor& weights,
                               const FitStrengths& strengths) const;
  /// `judged_weights` of rows with these labels. @param right, labels [rows]
  torch::Tensor weights_for(const torch::Tensor& right, const torch::Tensor& labels) const {
    return judged_weights(right, labels, classes_of(trusted()), classes());
  }
  /// Weights as rows are trained with: without trusted rows scaled to a mean of 1. Nothing mends there how sure classifiers are of
  /// themselves, and by weights that are all small the next ones would be held back more, and be less sure still.
  torch::Tensor counted(const torch::Tensor& weights) const {
    return trusted().empty() ? weights / weights.mean() : weights;
  }
  /// The weights that follow from such probabilities: float64 [train].
  torch::Tensor weights_within(const CleanPart& part, const torch::Tensor& probabilities) const;
  /// The weights with which the part's training rows train what predicts its fold: a round as in `opinion`, with what was learned, from
  /// the weights of the opinion or, with units, from those. float64 [train]
  torch::Tensor last_weights(const CleanPart& part, const Opinion& opinion,
                             const FitStrengths& strengths) const;

  CleanModel model(const std::vector<Opinion>& opinions, const std::vector<int64_t>& judges,
                   uint64_t seed) const;
  ProblemTraits traits(const Problem& problem) const;
  /// The bilevel run. Its outcome has the learned x; null when it came to none.
  const PassOutcome* learn(const CleanModel& model, Passes& passes);
  /// What was learned where it gains more than one standard error, or where units were asked for; else the start.
  Settled settle(const CleanModel& model, const torch::Tensor& learned) const;
  CleanCosts costs() const;
  /// Of a fit to so many rows.
  double fit_cost(int64_t rows) const;

  void prepare_contest() override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;
  std::unique_ptr<Solver> solver(const std::string& name) const override;
  int64_t default_steps() const override;

 private:
  void describe(ContestFacts& facts) const override;
  void deal_folds();
  /// Without trusted rows: refuses fewer than three folds with rows, and tells classes with rows in two or fewer.
  void check_unjudged();
  void name_units();
  int64_t fold_of(int64_t row) const { return fold_of_[static_cast<size_t>(row)]; }
  /// int64 [rows]: the unit of each.
  torch::Tensor units_of(const std::vector<int64_t>& rows, const torch::Tensor& predicted) const;
  std::string group_of(int64_t row) const;
  bool linear() const { return encoder_registry().at(o_.encoder).linear; }

  std::vector<int8_t> fold_of_;  // of each row of any file; kFolds: in none
  std::vector<std::string> unit_names_;
  std::shared_ptr<const Network> measured_;  // a classifier, for costs
  // Of the contest:
  std::vector<Opinion> opinions_;
  std::vector<int64_t> judges_, held_;
};

}  // namespace bilevel
