// The pictures of a comparison.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/task/compare/runs.h"

namespace bilevel {

/// The place of an entry of the table in the list of competitors, from which its colour follows, whatever its rank.
size_t place_of(const Comparison& comparison, const nlohmann::ordered_json& entry);

/// The course of `y_key` against `x_key` (JSON pointers into a row) over several runs: the median of the runs
/// and the band from the lowest to the highest, at about 200 points. A run that has ended keeps its last
/// value; a run that diverged ends there. Runs without points are left out.
Series median_and_band(const std::vector<const Trace*>& runs, const std::string& x_key,
                       const std::string& y_key, const std::string& label);

/// The metric against steps, samples, oracle calls and seconds, the further measures against steps, and after tuning the best
/// trial so far.
std::vector<NamedFigure> curves(const Comparison& comparison, const nlohmann::ordered_json& summary);

}  // namespace bilevel
