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

/// The values of trial number `trial`. Trial 0 is the solver as it is: an empty object. Every later trial
/// draws each searched option log-uniformly from its range, with four digits; integers are rounded. A draw
/// depends on `seed`, the trial and the option's name alone: it is the same whoever else takes part, and
/// solvers that share an option share its draws.
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
