// The pictures of a comparison and its page.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/task/compare/runs.h"

namespace bilevel {

/// The course of `y_key` against `x_key` (JSON pointers into a row) over several runs: the median of the runs
/// and the band from the lowest to the highest, at about 200 points. A run that has ended keeps its last
/// value; a run that diverged ends there. Runs without points are left out.
Series median_and_band(const std::vector<const Trace*>& runs, const std::string& x_key,
                       const std::string& y_key, const std::string& label);

/// The metric against steps, samples, oracle calls and seconds, and the further measures against steps.
std::vector<NamedFigure> curves(const Comparison& comparison, const nlohmann::ordered_json& summary);

/// The page.
std::string compare_report_html(const Comparison& comparison, const nlohmann::ordered_json& summary,
                                const std::vector<NamedFigure>& figures);

}  // namespace bilevel
