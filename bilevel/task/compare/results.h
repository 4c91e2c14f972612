// From the runs of a comparison to its figures.
#pragma once

#include <nlohmann/json.hpp>

#include "bilevel/task/compare/runs.h"

namespace bilevel {

/// The object of `--json` but for "out": command, task, metric, last_tenth, seeds, budget, tune, table (one entry per
/// competitor, best first), best, not_distinguishable, notes. Intervals are Student's t, as they come. Where nothing
/// is random (`ContestFacts::exact`, no random estimate) there is no interval but a "spread" over seeds that
/// nudged the start, and a difference counts when it exceeds that.
nlohmann::ordered_json summarize(const Comparison& comparison);

}  // namespace bilevel
