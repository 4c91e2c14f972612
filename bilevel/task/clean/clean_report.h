// The page of a finished `bilevel clean` run, its pictures, and what the terminal shows.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/report/page.h"
#include "bilevel/task/clean/clean_method.h"

namespace bilevel {

/// Writes weights.svg, loss.svg and report.html. @param summary the object of `--json`
void write_clean_report(const CleanSetup& setup, const Cleaned& cleaned,
                        const nlohmann::ordered_json& summary);

/// What a person reads at the end.
std::string clean_text(const CleanSetup& setup, const Cleaned& cleaned,
                       const nlohmann::ordered_json& summary);

}  // namespace bilevel
