// What `bilevel clean` does with the weights that were learned: cross-fitting, the estimate of the noise, the cleaned model.
#pragma once

#include <memory>
#include <optional>

#include "bilevel/task/clean/clean_weighing.h"
#include "bilevel/task/clean/label_noise.h"

namespace bilevel {

/// What a run came to.
struct Cleaned {
  LabelNoise noise;
  std::optional<NoiseIntervals> intervals;  ///< with trusted rows
  Judgement judgement;                      ///< of the training rows, as `weights`
  torch::Tensor weights;
  std::shared_ptr<Network> model;

  /// bool [training rows]: labels that are more likely wrong than right.
  torch::Tensor suspicious() const { return judgement.right < 0.5; }
  /// By the cleaned model, calibrated where there are trusted rows.
  torch::Tensor predictions(const CleanSetup& setup, const std::vector<int64_t>& rows) const;
};

/// Steps 3 to 5 of `clean_entry`, after every part has been weighed. Notes what a reader must know. Throws Interrupted.
Cleaned clean_labels(Weighing& setup);

/// " (1.2 to 3.4)" in percent; empty where there is none.
std::string interval_text(double low, double high);

}  // namespace bilevel
