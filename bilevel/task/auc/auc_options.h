// The options of `bilevel auc`.
#pragma once

#include <optional>
#include <string>

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

  AucJobOptions() { column_encoders = {"tab", "fourier", "linear"}; }
  void fields(Fields& fields) override;
  ClassLabels strata(const JobFiles& files) const override;  ///< positive rows and others
};

}  // namespace bilevel
