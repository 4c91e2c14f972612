// Random search over the options of a solver that declare where to look.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"

namespace bilevel {

/// The options that a search varies: those with a range, less the fixed ones.
std::vector<std::string> searched_options(const Fields& fields, const std::set<std::string>& fixed = {});

/// The values of trial number `trial`. Trial 0 is the solver as it is: an empty object. The first option with a
/// range, the step size on x, is drawn in every later trial, from a sequence that covers its range evenly however
/// many trials there are. Trials 2, 4, ... draw one option more, a random one. All others stay as they are: so
/// automatic step sizes stay automatic in most trials, and a solver gains and loses nothing by having many
/// options. When the first one is fixed, every trial draws one of the others.
///
/// Draws are log-uniform, with four digits; integers are rounded. They depend on `seed`, the trial and the option's
/// name alone: they are the same whoever else takes part, and solvers that share an option share its draws.
nlohmann::ordered_json draw_options(const Fields& fields, const std::set<std::string>& fixed, uint64_t seed,
                                    int64_t trial);

/// How a trial ended.
struct TrialScore {
  bool usable = false;  ///< the run finished and its score is finite
  double score = 0;
};

/// The best usable trial; among equals the first, so that the defaults win a tie. Trial 0 when none is
/// usable.
int64_t best_trial(const std::vector<TrialScore>& trials, bool higher_is_better);

}  // namespace bilevel
