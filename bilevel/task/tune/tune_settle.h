// What follows learning with a linear model: the common strength refined with the weights solved for, and the choice between what was
// learned and a common strength alone.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "bilevel/task/tune/tune_setup.h"

namespace bilevel {

/// Which hyperparameters are kept: what was learned, or no more than a common strength.
struct SettledStrengths {
  bool common = false;
  double strength = 0;  ///< the common one that was compared
  double difference = 0,
         standard_error = 0;  ///< of the held-out losses, learned less common, paired; over units of rows
  double optimism = 0;        ///< by how much the difference is too low, as the same rows chose

  /// {"kept": "learned" or "common", "common_strength", "difference", "standard_error", "optimism"}
  nlohmann::ordered_json to_json() const;
};

/// About how many passes `settle` takes; `common`: where nothing but a common strength is learned.
double settling_passes(bool common);

/// Moves x and y of a convex model on from what was learned. While AdamBO moves x, the weights are behind, and weights that are not
/// finished look like stronger strengths: so the common strength is searched again, by held-out loss with the weights trained for it,
/// in steps of a factor of sqrt(10) from where it is until that rises and then at the vertex of the parabola through the lowest three. The
/// same is done without all else that was learned, from where `TuneSetup::start_neutral` begins. What was learned is kept where its held-out
/// losses are lower by more than one standard error of the paired difference, over units of rows, and what it gained by being chosen on
/// these rows; otherwise the common strength alone.
/// Nothing to choose, where only a common strength is learned: none. Adds the passes.
std::optional<SettledStrengths> settle(const TuneSetup& setup, TuneModel& model, double& passes);

}  // namespace bilevel
