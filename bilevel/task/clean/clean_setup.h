// What `bilevel clean` starts from: options checked, files read, labels numbered, features fitted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/clean/clean_options.h"
#include "bilevel/task/clean/weighted_fit.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/job/shared_columns.h"

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
  FittedInputs inputs;     ///< with shared columns only, where the classifier is linear in sparse rows
  InputShape shape;        ///< of all columns
  torch::Tensor block_of;  ///< int64 [width of `inputs`]: which of the blocks each is of
  std::vector<std::string> blocks;       ///< kinds of features that have a strength each, for a person
  std::optional<SharedColumns> columns;  ///< absent: `inputs` has all columns
};

/// The task, ready to train. Rows are numbered through all files, in the order training, trusted, test. InputError also for
/// a class with fewer than two training rows.
class CleanSetup : public JobSetup {
 public:
  CleanSetup(CleanOptions options, const JobContext& context);

  const CleanOptions& options() const override { return o_; }

  const std::vector<std::string>& class_names() const { return labels_.names; }
  const std::string& name_of(int64_t c) const { return labels_.names[static_cast<size_t>(c)]; }
  int64_t classes() const { return static_cast<int64_t>(labels_.names.size()); }
  /// int64 [rows]: the labels as training sees them.
  const torch::Tensor& given() const { return given_; }
  /// The class of each row as the files have it, before noise was injected.
  const std::vector<int64_t>& read_classes() const { return read_classes_; }
  torch::Tensor classes_of(const std::vector<int64_t>& rows) const { return at_rows(given_, rows); }
  const std::vector<int64_t>& train() const { return train_; }
  /// The training rows that repeat no trusted row: a row that trains cannot judge. All rows with the text of a trusted one
  /// repeat it; of rows with its features, which others may have by chance, as many as there are trusted ones, the first of the
  /// file; and none where rows coincide as often as chance makes them (`row_units`).
  const std::vector<int64_t>& unrepeated() const { return unrepeated_; }
  const std::vector<int64_t>& trusted() const { return trusted_; }
  const std::vector<int64_t>& test() const { return test_; }
  const std::optional<InjectedFlips>& flips() const { return flips_; }

  const CleanInputs& inputs() const { return inputs_; }
  /// Features for another encoder's reading of the same rows.
  CleanInputs fit(const std::string& encoder) const;

  NetworkOptions network(const std::string& encoder) const;
  /// How classifiers are fitted to weighted rows.
  WeightedFitOptions fit_options(const FitStrengths& strengths) const;
  /// Where the bilevel run starts, and what holds without it.
  FitStrengths first_strengths() const;

  // What follows throws Interrupted where that was asked for.
  void step(const std::string& what) const;  ///< says what is fitted next
  std::vector<std::shared_ptr<Network>> fit(const std::vector<WeightedRows>& sets,
                                            const FitStrengths& strengths) const;
  torch::Tensor out_of_fold(const WeightedRows& rows, const std::vector<int64_t>& folds,
                            const FitStrengths& strengths) const;

  /// By a network of the job's inputs.
  torch::Tensor probabilities(Network& network, const std::vector<int64_t>& rows) const {
    return probabilities_of(network, inputs_.inputs.inputs, rows, o_.torch_device());
  }

 protected:
  CleanOptions o_;

 private:
  /// The strength of sentence vectors, where there are any.
  void note_what_is_idle();
  void take_sentence_l2();
  void check_classes() const;
  void check_groups() const;
  void find_repeated();
  void find_blocks(CleanInputs& inputs) const;

  CleanDefaults defaults_;
  NetworkOptions network_;
  ClassLabels labels_;
  std::vector<int64_t> read_classes_;
  torch::Tensor given_;
  std::vector<int64_t> train_, unrepeated_, trusted_, test_;
  std::optional<InjectedFlips> flips_;
  CleanInputs inputs_;
};

}  // namespace bilevel
