// What `bilevel clean` can be told, and what it uses where nobody says otherwise; docs/clean.md says how the
// defaults were found.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bilevel/task/job/job_options.h"

namespace bilevel {

/// What a weight is learned for: nothing (rows have theirs from the estimated noise alone), each value of the group column, each pair of
/// given and out-of-fold predicted class.
enum class WeightPer { none, group, class_pair };
template <>
struct NamesOf<WeightPer> {
  static constexpr const char* value[] = {"none", "group", "class-pair"};
};

/// What becomes of suspicious rows in the file that is written anew.
enum class CleanedRows { fix, drop };
template <>
struct NamesOf<CleanedRows> {
  static constexpr const char* value[] = {"fix", "drop"};
};

/// The options of `bilevel clean`.
struct CleanOptions : JobOptions {
  std::string trusted;                     ///< file of rows whose labels are right; empty: none
  WeightPer weight_per = WeightPer::none;  ///< what the bilevel run learns a weight for, beside strengths
  double entropy_floor = 0.1;              ///< of these weights, see CleanData
  double trusted_weight = 2;               ///< what a trusted row counts at first
  std::optional<bool> learn;  ///< make the bilevel run; by default with trusted rows and a linear encoder
  double inject_noise = 0;    ///< share of training labels to be replaced by another class, at random
  CleanedRows cleaned = CleanedRows::fix;  ///< in cleaned.<format>: their labels mended, or without them
  bool baselines = true;                   ///< measure the usual methods beside it
  std::optional<double> sentence_l2;  ///< kappa at first of the vectors of a sentence encoder beside n-grams
  std::optional<double> baseline_l2;  ///< kappa of the usual methods, which are linear whatever the encoder

  void fields(Fields& fields) override;
};

/// Of the bilevel run; `l2` is kappa at first, see CleanModel.
struct CleanDefaults : JobDefaults {
  double sentence_l2 = 1;
  double baseline_l2 = 0;
  double fit_epochs = 0;  ///< of a weighted fit; 0: the fit is convex and solved
  double fit_step_size = 0;
};

CleanDefaults clean_defaults(const std::string& encoder, bool sentences_alone);

/// The fields of a solver for x of so many numbers; those that it does not have are left out. `solved`: y starts at its solution.
std::map<std::string, nlohmann::json> clean_solver_defaults(const std::string& solver, int64_t size_of_x,
                                                            bool solved);

}  // namespace bilevel
