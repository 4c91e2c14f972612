// What `bilevel tune` is compared with: searches with as many passes, and gradient boosting.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/job/parts.h"
#include "bilevel/task/tune/tune_learning.h"
#include "bilevel/task/tune/tune_report.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {

/// The parts that make the baselines, each search with so many passes: of a search that follows its points one part, else one for
/// each point. For columns, where the machine has it, gradient boosting too (`boost`), as many rounds as give the validation rows
/// the least loss.
std::vector<Part> baseline_parts(const TuneSetup& setup, const TuneModel& model, double passes);

/// What such a part comes to. Throws Interrupted.
nlohmann::ordered_json baseline_answer(TuneSetup& setup, TuneModel& model, const Part& part);

/// Phases of them, in passes over the data, where each search has so many.
std::vector<Phase> baseline_phases(const TuneSetup& setup, const TuneModel& model, double passes);

/// What the baselines came to.
struct TuneBaselines {
  std::map<std::string, SearchOutcome> found;  ///< by grid and random search
  nlohmann::ordered_json boosted;              ///< the answer of gradient boosting; null: there is none

  /// Takes the answer of a part.
  void take(const Part& part, const nlohmann::ordered_json& answer);
};

/// The baselines, measured.
struct MeasuredBaselines {
  nlohmann::ordered_json summary = nlohmann::ordered_json::object();  ///< "baselines"
  std::vector<TuneRival> rivals;
  OtherPredictions
      predictions;  ///< of the test rows, by key; "learned": of the model, before they are calibrated
};
/// The model is left as it is.
MeasuredBaselines measure_baselines(const TuneSetup& setup, TuneModel& model, const TuneBaselines& baselines);

}  // namespace bilevel
