// How a comparison's figures are written, and its table as text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/task/compare/contest.h"

namespace bilevel {

/// A run's number for people, alike on the terminal and on the page: three digits, or four decimals.
std::string shown(double value, const Measure& measure);
std::string shown_interval(const nlohmann::ordered_json& interval, const Measure& measure);

/// A mean with three digits, or as many as do not depend on a nudge of the start: the unit of the last one is not
/// below the spread of the runs. "~" where not even the first is sure.
std::string mean_text(const nlohmann::ordered_json& mean, const Measure& measure);

/// Rounded to a whole number.
std::string whole(const nlohmann::ordered_json& value);
/// With two decimals.
std::string seconds_text(const nlohmann::ordered_json& value);

// Of an entry of the table of `summarize`:
std::string runs_text(const nlohmann::ordered_json& entry);  ///< "5", or "3 of 5 (2 diverged)"
std::string name_text(const nlohmann::ordered_json& entry);
std::string swing_text(const nlohmann::ordered_json& entry);

// Of the object of `summarize`:
bool has_swings(const nlohmann::ordered_json& summary);  ///< whether a column of swings says anything
std::string verdict_text(
    const nlohmann::ordered_json& summary);  ///< who is best, and who is told apart from it
std::string table_text(const nlohmann::ordered_json& summary);  ///< for a terminal
std::string table_tsv(const nlohmann::ordered_json& summary);   ///< tab-separated

}  // namespace bilevel
