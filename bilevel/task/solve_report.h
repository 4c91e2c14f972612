// What `bilevel solve` shows at its end.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace bilevel {

/// What a person reads in the terminal.
std::string solution_text(const nlohmann::ordered_json& summary);

/// Writes distance.svg, gradient_norm.svg, objectives.svg and report.html from the trace in `out`.
void write_solve_report(const std::string& out, const nlohmann::ordered_json& summary);

}  // namespace bilevel
