// Random search over the options of a solver that declare where to look.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"

namespace bilevel {

/// The values of trial number `trial` of `trials`; what it does not name stays as it is.
/// - Trial 0 is the solver as it is: an empty object.
/// - The first half of the others draw the first option with a range, the step size on x, alone: two thirds of them
///   from a sequence that covers its range evenly however many they are, the rest about the best so far, first as
///   far as the gaps that those left, then each half as far as the one before.
/// - The rest start from `best`, the values of the best trial so far, and draw one option anew: in turn all of
///   them, in a random order; a number within a factor of 4 about what it is, what is automatic from its whole range.
/// So the step size on x is searched first and widest, automatic step sizes stay automatic in most trials, and many
/// options are not searched all at once. When the first option is fixed, all trials but trial 0 are of the last kind.
///
/// Draws are log-uniform, with four digits; integers are rounded. They depend on `seed`, the trial and the option's
/// name alone: they are the same whoever else takes part, and solvers that share an option share its draws.
nlohmann::ordered_json draw_options(const Fields& fields, const std::set<std::string>& fixed, uint64_t seed,
                                    int64_t trial, int64_t trials,
                                    const nlohmann::ordered_json& best = nlohmann::ordered_json::object());

/// How a trial ended.
struct TrialScore {
  bool usable = false;  ///< the run finished and its score is finite
  double score = 0;
};

/// The best usable trial; among equals the first, so that the defaults win a tie. Trial 0 when none is
/// usable.
int64_t best_trial(const std::vector<TrialScore>& trials, bool higher_is_better);

}  // namespace bilevel
