// What `bilevel clean` starts from: options checked, files read, labels numbered, features fitted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/threads.h"
#include "bilevel/task/clean/clean_options.h"
#include "bilevel/task/clean/shared_columns.h"
#include "bilevel/task/clean/weighted_fit.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// Injected noise: which labels were replaced. It exists for the measurement after everything has been decided; what
/// trains and chooses is handed the labels alone.
struct InjectedFlips {
  std::vector<int64_t> original;  ///< class of each training row before
  torch::Tensor flipped;          ///< float64 [training rows], 1 where the label was replaced
};

/// Replaces each of the labels with probability `share` by another class, each with the same probability. Draws from
/// `seed` alone, so that the same share of the same rows is hit whatever else is chosen.
InjectedFlips inject_noise(std::vector<int64_t>& labels, int64_t rows, int64_t classes, double share,
                           uint64_t seed);

/// Features that all fits read, and the way back to all columns of the data.
struct CleanInputs {
  std::shared_ptr<const Features> features;
  FittedInputs inputs;  ///< with shared columns only, where the classifier is linear in sparse rows
  InputShape shape;     ///< of all columns
  std::optional<SharedColumns> columns;  ///< absent: `inputs` has all columns
};

/// The task, ready to train. Rows are numbered through all files, in the order training, trusted, test.
class CleanSetup {
 public:
  /// Checks the options, sets the number of threads for its lifetime, reads the files, injects noise where asked for, fits the
  /// features and makes a network once, so that everything impossible is refused here. `message` gets lines for a
  /// person. Throws InputError and FileError; also for a class with fewer than two training rows, and for trusted
  /// rows that stand in the training file too (the same text, or the same cells).
  explicit CleanSetup(CleanOptions options, const std::function<void(const std::string&)>& message = nullptr);

  const CleanOptions& options() const { return o_; }  ///< resolved
  const JobFiles& files() const { return files_; }
  std::vector<std::string> paths() const { return files_.paths(o_); }

  const std::vector<std::string>& class_names() const { return labels_.names; }
  int64_t classes() const { return static_cast<int64_t>(labels_.names.size()); }
  /// int64 [rows]: the labels as training sees them.
  const torch::Tensor& given() const { return given_; }
  const std::vector<int64_t>& train() const { return train_; }
  const std::vector<int64_t>& trusted() const { return trusted_; }
  const std::vector<int64_t>& test() const { return test_; }
  const std::optional<InjectedFlips>& flips() const { return flips_; }

  const CleanInputs& inputs() const { return inputs_; }
  /// Features for another encoder's reading of the same rows.
  CleanInputs fit(const std::string& encoder) const;

  NetworkOptions network(const std::string& encoder) const;
  int64_t steps(int64_t lower_rows) const {
    return o_.steps_for(lower_rows, std::min(lower_rows, *o_.batch_size));
  }
  /// How classifiers are fitted to weighted rows.
  WeightedFitOptions fit_options() const;

  std::string row_text(int64_t row) const { return files_.row_text(row, o_.text); }

 private:
  void refuse_shared_rows() const;

  CleanOptions o_;
  CleanDefaults defaults_;
  std::optional<ThreadCountScope> threads_;
  NetworkOptions network_;
  JobFiles files_;
  ClassLabels labels_;
  torch::Tensor given_;
  std::vector<int64_t> train_, trusted_, test_;
  std::optional<InjectedFlips> flips_;
  CleanInputs inputs_;
};

}  // namespace bilevel
