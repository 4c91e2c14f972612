// What every use of the AUC task starts from: options checked, files read, parts cut, features fitted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/threads.h"
#include "bilevel/data/labels.h"
#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {

/// The options of `bilevel auc`.
struct AucJobOptions : JobOptions {
  std::string positive;  ///< the label value of the positive class
  std::string loss = "libauc", levels = "train";
  std::optional<double> positive_fraction;  ///< thin the training part to this positive share
  std::string split;                        ///< "T,V,S" shares of training, validation and test rows
  bool refit = true;

  void fields(Fields& fields) override;
};

/// Which rows serve what; row numbers index the labels and the inputs.
struct AucParts : RowParts {
  torch::Tensor labels;  ///< [n] float32, 0 or 1
};

/// The task, ready to train. Rows are numbered through all files, in the order training, validation, test.
class AucSetup {
 public:
  /// Checks the options, sets the number of threads for its lifetime, reads the files, cuts the parts, fits the first features
  /// (on the training part) and makes a network once, so that everything impossible is refused here.
  /// `message` gets lines for a person. Throws InputError and FileError.
  explicit AucSetup(AucJobOptions options, const std::function<void(const std::string&)>& message = nullptr);
  AucSetup(const AucSetup&) = delete;
  AucSetup& operator=(const AucSetup&) = delete;

  /// Resolved.
  const AucJobOptions& options() const { return o_; }
  const AucParts& parts() const { return parts_; }
  /// f on the validation rows, g on the training rows; implies no refit.
  bool papers() const { return o_.levels == "papers"; }
  bool refit() const { return o_.refit && !papers(); }
  int64_t steps() const;  ///< of the first pass; the horizon of step-size schedules
  std::unique_ptr<AucModel> model(const InputShape& shape, uint64_t seed) const;
  const JobFiles& files() const { return files_; }
  /// Paths of everything that is read.
  std::vector<std::string> paths() const { return files_.paths(o_); }

  /// A solver with the encoder's defaults for it. Throws InputError for an unknown name.
  std::unique_ptr<Solver> solver(const std::string& name) const;

  /// Features fitted on the given rows, and the inputs they make of all rows. Those of the training part are
  /// kept from the construction.
  std::pair<std::shared_ptr<const Features>, FittedInputs> fit(const std::vector<int64_t>& rows) const;
  /// Those of the training part, as kept.
  const FittedInputs& first() const { return first_.second; }
  /// Frees what the construction keeps; the next `fit` fits anew.
  void forget_first() { first_ = {}; }
  /// The same with other choices than the options'.
  std::pair<std::shared_ptr<const Features>, FittedInputs> fit(const FeatureOptions& features,
                                                               const std::vector<int64_t>& rows) const;

  /// What a person recognises a row by.
  std::string row_text(int64_t row) const { return files_.row_text(row, o_.text); }

 private:
  void read();

  AucJobOptions o_;
  JobDefaults defaults_;
  std::optional<ThreadCountScope> threads_;
  JobFiles files_;
  AucParts parts_;
  NetworkOptions network_;
  std::pair<std::shared_ptr<const Features>, FittedInputs> first_;
};

}  // namespace bilevel
