// How `bilevel tune` learns: starting strength, learning, training at what was learned.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/job/calibration.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/job/passes.h"
#include "bilevel/task/tune/tune_settle.h"

namespace bilevel {

/// Passes over the data.
struct Spent {
  double start = 0, learn = 0, finish = 0;
  double all() const { return start + learn + finish; }
};

/// Where learning starts and how long it may take.
struct LearningPlan {
  PassPlan pass;
  std::optional<double> strength = std::nullopt;  ///< of a convex model; none: found
  bool choose = true;                             ///< the step of least validation loss, else the last
};

/// What it came to.
struct Learned {
  const PassOutcome* outcome = nullptr;  ///< null when it came to none
  double strength = 0;                   ///< where a convex model started
  Spent spent;
  std::optional<SettledStrengths> settled;  ///< of a convex model with more to learn than the common strength
};

/// Those that learning is expected to take.
Spent expected_passes(const TuneSetup& setup, Solver& method);

/// Told of each stretch of learning when it begins: its name, what a person reads, and its passes in `Spent`.
using Stretch = std::function<void(const char* name, const char* shown, double Spent::*passes)>;

/// Trains the weights at the starting strength (convex models), learns hyperparameters and weights together, and settles what is kept
/// (convex models, `settle`); the model then has it.
Learned learn(const TuneSetup& setup, TuneModel& model, const Problem& problem, Solver& method,
              LearningPlan plan, Passes& passes, const Stretch& begin);

/// Probabilities are made frequencies on validation rows, and the hyperparameters that all of these chose fit them too well: so each
/// fold of them is judged by a model whose hyperparameters the others alone chose, from the same start on and by as many steps. A part
/// for each; none where there are few rows.
std::vector<Part> folds(const TuneSetup& setup, Solver& method, const Learned& learned);
/// {"predicted"}, or nothing when learning came to no outcome. Throws Interrupted.
nlohmann::ordered_json judge_fold(TuneSetup& setup, const Part& part);

/// From the answers of `folds`; where there are none, on the validation rows as the model has fitted them. A class without validation
/// rows: the probabilities as they are.
Calibration calibration_of(const TuneSetup& setup, const TuneModel& model,
                           const std::vector<nlohmann::ordered_json>& answers);

}  // namespace bilevel
