// What every use of the AUC task starts from: options checked, files read, parts cut, features fitted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/job/job_run.h"

namespace bilevel {

/// Whose rows the upper level reads: the training rows, or the validation rows as in the papers, without refit.
enum class AucLevels { train, papers };
template <>
struct NamesOf<AucLevels> {
  static constexpr const char* value[] = {"train", "papers"};
};

/// The options of `bilevel auc`.
struct AucJobOptions : JobOptions {
  std::string positive;  ///< the label value of the positive class
  std::string loss = "libauc";
  AucLevels levels = AucLevels::train;
  std::optional<double> positive_fraction;  ///< thin the training part to this positive share
  std::string split;                        ///< "T,V,S" shares of training, validation and test rows
  bool refit = true;
  double budget = 20;      ///< seconds
  bool keep_best = false;  ///< see `keep_model`

  AucJobOptions() { column_encoders = {"fourier", "linear"}; }
  void fields(Fields& fields) override;
  ClassLabels strata(const JobFiles& files) const override;  ///< positive rows and others
};

/// The other value of the label, or "not POSITIVE" where there are several; and the positive one.
/// @param values of the label, the positive one among them
std::vector<std::string> auc_class_names(const std::string& positive, const std::vector<std::string>& values);

/// Which rows serve what; row numbers index the labels and the inputs.
struct AucParts : RowParts {
  torch::Tensor labels;             ///< [n] float32, 0 or 1
  std::vector<std::string> values;  ///< of the label, in all files
};

/// Features, and what they make of all rows.
struct AucFeatures {
  std::shared_ptr<const Features> fitted;
  FittedInputs read;
};

/// The task, ready to train. Rows are numbered through all files, in the order training, validation, test.
/// As a contest the first pass: a run is scored at the step that the rule chooses on the validation rows; there is no second
/// pass, no baseline and no report. Ranked by the test AUC, tuned by the validation AUC.
class AucSetup : public JobSetup {
 public:
  AucSetup(AucJobOptions options, const JobContext& context);

  const AucJobOptions& options() const override { return o_; }
  const AucParts& parts() const { return parts_; }
  /// What the other rows are called, and the positive ones: see `auc_class_names`.
  std::vector<std::string> class_names() const { return auc_class_names(o_.positive, parts_.values); }
  /// float32 [rows] of the given rows, 0 or 1.
  torch::Tensor labels_of(const std::vector<int64_t>& rows) const { return at_rows(parts_.labels, rows); }
  /// f on the validation rows, g on the training rows; implies no refit.
  bool papers() const { return o_.levels == AucLevels::papers; }
  bool refit() const { return o_.refit && !papers(); }
  /// Training and validation rows, sorted.
  std::vector<int64_t> pool() const;
  int64_t default_steps() const override;  ///< of the first pass; the horizon of step-size schedules
  std::unique_ptr<AucModel> model(const InputShape& shape, uint64_t seed) const;

  /// A solver with the encoder's defaults for it. Throws InputError for an unknown name.
  std::unique_ptr<Solver> solver(const std::string& name) const override;
  std::unique_ptr<Attempt> attempt(uint64_t seed) override;

  /// Features fitted on the given rows, and the inputs they make of all rows; kept until others are asked for. Those of the
  /// training part are made in the construction.
  const AucFeatures& fit(const std::vector<int64_t>& rows);
  /// The same with other choices than the options', not kept.
  AucFeatures fit(const FeatureOptions& features, const std::vector<int64_t>& rows) const;

 private:
  void describe(ContestFacts& facts) const override;
  void cut();
  /// Where the encoder is not given: the first of the options' that reads the columns and whose training is expected to keep within
  /// the budget.
  void take_column_encoder();

  AucJobOptions o_;
  JobDefaults defaults_;
  AucParts parts_;
  NetworkOptions network_;
  std::vector<int64_t> fitted_on_;
  AucFeatures fitted_;
};

}  // namespace bilevel
