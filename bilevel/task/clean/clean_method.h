// What `bilevel clean` does with the weights that were learned: cross-fitting, the estimate of the noise, the cleaned model.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "bilevel/report/intervals.h"
#include "bilevel/task/clean/clean_baselines.h"
#include "bilevel/task/clean/clean_weighing.h"
#include "bilevel/task/clean/label_noise.h"
#include "bilevel/task/job/parts.h"

namespace bilevel {

/// What a run came to.
struct Cleaned {
  LabelNoise noise;
  std::optional<NoiseIntervals> intervals;  ///< with trusted rows
  /// Of the cleaned model's predictions: see `calibration_for`.
  Calibration calibration;
  Judgement judgement;  ///< of the training rows, as `weights`
  torch::Tensor weights;
  std::shared_ptr<Network> model;
  FitStrengths strengths;               ///< learned, or those of the start
  std::pair<double, double> gain;       ///< `Settled::gain` and its standard error
  bool takes_learned = false;           ///< whether `strengths` are the learned ones
  std::vector<std::string> unit_names;  ///< of `strengths.of_units`
  torch::Tensor unit_errors;            ///< `Settled::unit_errors`
  std::optional<int64_t> best_step;     ///< of the bilevel run, where there was one
  nlohmann::ordered_json baselines;     ///< null where they are not asked for
  /// How much more of the test rows the cleaned model gets right than each baseline; empty without test file or baselines.
  std::map<std::string, PairedDifference> differences;
  OtherPredictions baseline_predictions;  ///< of the test rows
  UnseenRows unseen;                      ///< of the baselines; undefined without any

  /// bool [training rows]: labels that are more likely wrong than right.
  torch::Tensor suspicious() const { return judgement.right < 0.5; }
  /// 95 %, of the weight of unit u; `unit_errors` must be defined.
  std::pair<double, double> unit_interval(size_t u) const;
  /// By the cleaned model, calibrated where there are trusted rows.
  torch::Tensor predictions(const CleanSetup& setup, const std::vector<int64_t>& rows) const;
};

/// Steps 1 to 5 of `clean_entry`, and the baselines. Notes what a reader must know. None when the bilevel run came to no outcome.
/// Throws Interrupted.
std::optional<Cleaned> clean_labels(Weighing& setup, JobParts& parts, Passes& passes);

}  // namespace bilevel
