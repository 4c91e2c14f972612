// What `bilevel tune` starts from: options, data, and the strength at which learning starts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/tune/tune_model.h"

namespace bilevel {

inline constexpr double kNetworkStep = 1e-3;  ///< of Adam on the weights of a network

/// The options of `bilevel tune`.
struct TuneJobOptions : JobOptions {
  std::string tune;              ///< a `TuneKind`
  std::string split;             ///< "T,V,S" shares of training, validation and test rows
  std::optional<double> spread;  ///< see TuneModel
  std::optional<int64_t> upper_batch_size;
  std::optional<bool> cross_fit;  ///< see `--cross-fit`
  bool keep_best = false;         ///< see `--keep-best`
  double baseline_passes = 1;  ///< of each search, in multiples of those that learning took; 0: no baselines

  void fields(Fields& fields) override;
};

/// The task, ready to learn. As a contest learning alone, from the strength at which `bilevel tune` starts; the weights are
/// not trained further at what was learned. Ranked by the test loss at the step of least validation loss, tuned by that.
class TuneSetup : public JobSetup {
 public:
  TuneSetup(TuneJobOptions options, const JobContext& context);

  const TuneJobOptions& options() const override { return o_; }
  const TuneData& data() const { return data_; }
  const std::vector<int64_t>& test() const { return test_; }
  const std::vector<std::string>& class_names() const { return labels_.names; }
  const Features& features() const { return *features_; }
  FittedInputs fitted() const { return {data_.inputs, shape_}; }
  int64_t default_steps() const override { return steps_; }
  bool convex() const { return encoder_registry().at(o_.encoder).linear; }

  /// As it is at first.
  TuneModel model(uint64_t seed) const { return made(seed, data_); }
  /// With these of the validation rows alone; not where it is cross-fitted.
  TuneModel model(uint64_t seed, const std::vector<int64_t>& valid) const;
  Problem problem(const TuneModel& model) const {
    return model.problem(*o_.batch_size, *o_.upper_batch_size);
  }
  ProblemTraits traits(const Problem& problem) const;
  /// With the job's defaults. Throws InputError for an unknown name.
  std::unique_ptr<Solver> solver(const std::string& name) const override;
  ClassScores scores(const TuneModel& model, const std::vector<int64_t>& rows) const {
    return class_scores(model.probabilities(rows), classes_at(data_.classes, rows));
  }
  /// On the validation rows of the model.
  ClassScores valid_scores(const TuneModel& model) const {
    return class_scores(model.held_out(), classes_at(data_.classes, model.data().valid));
  }
  /// Whether all rows but the test rows serve both levels, in folds; `data().train` and `data().valid` are then the same.
  bool cross_fitted() const { return !data_.folds.empty(); }
  /// Whether the validation rows are so many for each number that is learned on them that it cannot fit them too well.
  bool validates_plenty() const;
  /// As they are cut: training and validation rows of a model that is not cross-fitted.
  const Fold& cut_rows() const { return cut_; }
  /// Passes that measuring on the validation rows takes.
  double measurement() const {
    return static_cast<double>(data_.valid.size()) / static_cast<double>(data_.train.size());
  }

  /// Rows of an upper batch.
  int64_t upper_rows() const {
    return std::min(*o_.upper_batch_size, static_cast<int64_t>(data_.valid.size()));
  }

  /// Passes that `start` takes, about.
  double start_passes() const;
  /// Convex models: trains the weights at weaker and weaker strengths, each from those of the one before, until the
  /// validation loss rises, and leaves the model at the best; or at the one that is given. Returns the passes.
  double start(TuneModel& model, std::optional<double> given = std::nullopt) const;
  /// The same at neutral hyperparameters, from weights as they were at first, whatever strength the options name.
  double start_neutral(TuneModel& model) const;

  void prepare_contest() override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;

 private:
  /// Of strengths, each weaker than the one before, the last at which the validation loss falls.
  double strongest_of(TuneModel& model, const std::vector<double>& strengths, int64_t evaluations,
                      torch::Tensor (TuneModel::*x_at)(double) const,
                      const std::function<void(double)>& advance) const;
  void describe(ContestFacts& facts) const override;
  void cut();
  void cross_fit();
  TuneModel made(uint64_t seed, TuneData data) const;
  NetworkOptions resolve_all();

  TuneJobOptions o_;
  JobDefaults defaults_;
  ClassLabels labels_;
  TuneData data_;
  Fold cut_;
  std::vector<int64_t> test_;
  std::shared_ptr<const Features> features_;
  InputShape shape_;
  TuneModelOptions model_options_;
  int64_t steps_ = 0;
  std::optional<TuneModel> started_;  // of a contest
};

}  // namespace bilevel
