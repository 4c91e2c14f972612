// The page of a comparison.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/task/compare/curves.h"

namespace bilevel {

/// The page.
std::string compare_report_html(const Comparison& comparison, const nlohmann::ordered_json& summary,
                                const std::vector<NamedFigure>& figures, Provenance made = {});

}  // namespace bilevel
