// Learning the weights of sources, and what they are compared with.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/intervals.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/mix/mix_setup.h"

namespace bilevel {

/// The strength at equal weights, learning, the weights of y at what was learned: leaves the model there. Null where a pass came to
/// no outcome (`Passes::reason`). @param strength where learning starts; 0: it is sought @param steps at most so many @param choose
/// whether the judged rows choose the step
const PassOutcome* learn_mixture(const MixSetup& setup, MixModel& model, Passes& passes, const PassPlan& plan,
                                 double strength, bool choose);

/// Learning without each fold of the target rows; the usual mixtures; the sources left out one at a time. Folds come first. What the
/// requests lack of what was learned `hand_over` gives them.
std::vector<Part> mix_parts(const MixSetup& setup);
/// @param steps how many led to it
void hand_over(std::vector<Part>& parts, const MixModel& learned, int64_t steps);
/// About what everything costs, with several parts at a time; in evaluations on all rows.
std::vector<Phase> mix_phases(const MixSetup& setup, double side_by_side);
/// What one of them comes to. Throws Interrupted.
nlohmann::ordered_json mix_part(MixSetup& setup, const Part& part);

/// What all of them came to.
struct MixAnswers {
  std::vector<nlohmann::ordered_json> folds;                             ///< {weights, predicted}, or nothing
  std::vector<std::pair<std::string, nlohmann::ordered_json>> mixtures;  ///< by key
  std::vector<nlohmann::ordered_json> without;  ///< losses of the judged rows, one a source

  void take(const Part& part, const nlohmann::ordered_json& answer);
};

/// A learned weight with its interval: from learning without each fold in turn (jackknife).
struct SourceWeight {
  std::string name;
  int64_t rows = 0;
  double weight = 0;
  double low = 0, high = 0;  ///< 95 %; NaN without folds
  PairedDifference
      without;  ///< by how much the loss of the target rows rises without the source; NaN where that was not measured
};
std::vector<SourceWeight> source_weights(const MixSetup& setup, const MixModel& learned,
                                         const MixAnswers& answers);

/// {"weights", "strength", "target": scores of the judged rows, "predicted": theirs, "test": probabilities of the test rows or null} of
/// the present mixture. The weights of y are trained on for the judged rows, then anew on all rows.
nlohmann::ordered_json mixture_answer(const MixSetup& setup, MixModel& model,
                                      const std::vector<size_t>& sources);

}  // namespace bilevel
