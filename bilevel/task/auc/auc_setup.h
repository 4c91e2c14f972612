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

#include "bilevel/data/labels.h"
#include "bilevel/task/auc/auc_defaults.h"
#include "bilevel/task/auc/auc_training.h"
#include "bilevel/task/features.h"

namespace bilevel {

/// The options of `bilevel auc`, as the command line gives them. Empty or zero means: not given, take the
/// default.
struct AucJobOptions {
  std::string train, valid, test;    ///< files
  std::string format = "automatic";  ///< of all files: automatic | csv | tsv | jsonl | libsvm
  std::string header = "automatic";  ///< automatic | yes | no
  std::string text;                  ///< text column
  std::string features;              ///< "all" or a comma-separated list of columns
  std::string categorical;           ///< comma-separated list of columns
  std::string label, positive;
  std::string encoder;  ///< default: bag for text, linear for columns
  int64_t hidden = 0, layers = 0;
  std::string embedding;         ///< GloVe file
  bool train_embedding = false;  ///< update pretrained vectors too
  std::string loss = "libauc", levels = "train", solver = "adambo";
  std::vector<std::string> set;  ///< key=value for the solver
  double epochs = 0;
  int64_t steps = 0, batch_size = 0;
  double max_seconds = 0;
  double l2 = -1;                ///< strength kappa; negative: the encoder's default
  double positive_fraction = 0;  ///< thin the training part to this positive share; 0: as it is
  std::string split;             ///< "T,V,S" shares of training, validation and test rows
  bool refit = true;
  uint64_t seed = 0;
  int64_t threads = 0;
  std::string device = "cpu";
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(AucJobOptions, train, valid, test, format, header, text,
                                                features, categorical, label, positive, encoder, hidden,
                                                layers, embedding, train_embedding, loss, levels, solver, set,
                                                epochs, steps, batch_size, max_seconds, l2, positive_fraction,
                                                split, refit, seed, threads, device)

/// Throws InputError for options that are impossible by themselves.
void check_auc_options(const AucJobOptions& options);

/// automatic | yes | no as `TableOptions::header`. Throws InputError for another word.
std::optional<bool> header_named(const std::string& name);

/// One of the files of a job.
struct AucSource {
  std::string role;  ///< "train", "valid" or "test"
  std::string path;
  DataFile file;
  BinaryLabels labels;
  int64_t offset = 0;  ///< of its first row among all rows
};

/// The task, ready to train. Rows are numbered through all files, in the order training, validation, test.
class AucSetup {
 public:
  /// Checks the options, sets the number of threads, reads the files, cuts the parts, fits the first features
  /// (on the training part) and makes a network once, so that everything impossible is refused here.
  /// `message` gets lines for a person. Throws InputError and FileError.
  explicit AucSetup(AucJobOptions options, const std::function<void(const std::string&)>& message = nullptr);
  AucSetup(const AucSetup&) = delete;
  AucSetup& operator=(const AucSetup&) = delete;

  /// As given, with the encoder filled in.
  const AucJobOptions& options() const { return o_; }
  const AucParts& parts() const { return parts_; }
  /// How to train; without checkpoint, trace and interrupt.
  const AucTrainingOptions& training() const { return training_; }
  const std::vector<AucSource>& sources() const { return sources_; }
  /// Paths of everything that is read.
  std::vector<std::string> files() const;

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
  /// The options' choices, for an encoder.
  FeatureOptions feature_options(const std::string& encoder, int64_t max_length) const;

  /// What a person recognises a row by.
  std::string row_text(int64_t row) const;
  /// The file of a row and its number there.
  std::pair<const AucSource*, int64_t> source_of(int64_t row) const;

 private:
  void read();
  AucTrainingOptions training_options() const;

  AucJobOptions o_;
  AucDefaults defaults_;
  std::vector<AucSource> sources_;
  std::vector<int8_t> is_positive_;  // all rows
  AucParts parts_;
  AucTrainingOptions training_;
  std::pair<std::shared_ptr<const Features>, FittedInputs> first_;
};

/// Throws InputError for a number among the options that is too large for single precision.
void check_single_precision(Solver& solver);

}  // namespace bilevel
