// What `bilevel mix` starts from: options, the rows of every source and of the target, features.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/job/shared_columns.h"
#include "bilevel/task/mix/mix_model.h"

namespace bilevel {

/// The options of `bilevel mix`. The target file is the first one (`train`): its columns and classes are all there are.
struct MixOptions : JobOptions {
  std::vector<std::string> sources;  ///< files
  std::string source;          ///< column of theirs that names the source of a row; empty: each file is one
  bool target_trains = true;   ///< whether the target rows are a source too
  double spread = 2;           ///< see MixPlan
  double entropy_floor = 0.1;  ///< see MixPlan
  bool intervals = true;       ///< learn once more without each fold of the target rows
  bool baselines = true;       ///< the usual mixtures
  bool leave_out = true;       ///< what leaving each source out costs

  void fields(Fields& fields) override;
};

/// Evaluations of a fit, at most: at each strength where learning may start, and at what was learned.
struct MixEffort {
  int64_t start = 24, finish = 60;
};
inline constexpr MixEffort kMixEffort;
inline constexpr int64_t kMixEvaluations = 10;          ///< of a pass
inline constexpr const char* kTargetName = "(target)";  ///< of the target rows among the sources

/// The task, ready to learn. As a contest learning alone, from equal weights and the strength that suits them best; ranked by the
/// test loss (of the target rows without a test file), tuned by the loss of the target rows, each by a model that has not seen it.
class MixSetup : public JobSetup {
 public:
  MixSetup(MixOptions options, const JobContext& context);

  const MixOptions& options() const override { return o_; }
  const MixData& data() const { return *data_; }
  const std::shared_ptr<const MixData>& shared() const { return data_; }
  const NetworkOptions& network() const { return network_; }
  const std::vector<int64_t>& target() const { return target_; }
  const std::vector<int64_t>& test() const { return test_; }
  const std::vector<std::string>& class_names() const { return labels_.names; }
  const Features& features() const { return *features_; }
  /// The columns of the features that the models read; absent: all of them.
  const std::optional<SharedColumns>& columns() const { return columns_; }
  /// A model's network for all columns.
  std::shared_ptr<Network> whole_network(const MixModel& model) const;
  int64_t default_steps() const override { return steps_; }
  /// All that may have a weight: the sources, and the target where it trains.
  std::vector<size_t> all() const;
  /// Of one of them: "(target)" for the target.
  std::string name_of(size_t source) const;

  /// Models of a mixture of `sources` (numbers in `all`), one for each fold of these target rows, which are judged by it.
  MixModel model(const std::vector<size_t>& sources, const std::vector<int64_t>& target) const;
  /// One model on all rows of the sources and of the target.
  MixModel whole(const std::vector<size_t>& sources) const;
  Problem problem(const MixModel& model) const { return model.problem(*o_.batch_size); }
  std::unique_ptr<Solver> solver(const std::string& name) const override;
  ProblemTraits traits(const Problem& problem) const { return {.noise = batch_noise(problem)}; }
  /// Of the target rows that the model judges, each by the fold's own.
  ClassScores judged(MixModel& model) const;

  /// `MixModel::minimize`. Throws Interrupted.
  void minimize(MixModel& model, int64_t evaluations) const;
  /// Fits the weights of y at the present mixture and ever weaker strengths until the loss of the judged rows rises; leaves the
  /// model at the best one. Throws Interrupted.
  void find_strength(MixModel& model, double from = 0, double to = 1) const;

  /// Folds of the target rows for the intervals, fewer where there are few rows; empty where they cannot be cut.
  std::vector<Fold> folds(const std::vector<int64_t>& target) const;
  /// Whether the weights are learned once more without each fold, for intervals: asked for, and each time there are rows enough.
  bool learns_without_folds() const;

  void prepare_contest() override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;

 private:
  void describe(ContestFacts& facts) const override;
  void take_sources(MixData& data);
  void check_rows() const;

  MixOptions o_;
  ClassLabels labels_;
  std::vector<int64_t> target_, test_;
  std::shared_ptr<const MixData> data_;
  std::shared_ptr<const Features> features_;
  std::optional<SharedColumns> columns_;
  InputShape shape_;  // of all columns
  NetworkOptions network_;
  std::shared_ptr<MixModel> started_;
  int64_t steps_ = 0;
};

}  // namespace bilevel
