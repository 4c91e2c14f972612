// How much of its budget a run has used, and how far it will go.
#pragma once

#include "bilevel/task/compare/play.h"

namespace bilevel {

/// A step count that stands for no limit.
inline constexpr int64_t kUnlimited = int64_t{1} << 50;

/// All rows drawn.
int64_t all_samples(const OracleCounts& c);

/// The share of the budget that is used.
double used_share(const Budget& budget, int64_t step, const OracleCounts& counts, double seconds);

/// The length of step-size schedules under a budget: the number of steps that it allows, given, or planned from the
/// solver's documented cost and a short run apart with `options`, whose number of steps it sets.
int64_t planned_steps(Contest& contest, const SolverEntry& entry, Solver& solver, const Budget& budget,
                      RunOptions options);

}  // namespace bilevel
