// Who takes part in a comparison.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bilevel {

/// Who takes part: a solver, and what is fixed about it.
struct Competitor {
  std::string label;             ///< unique; letters, digits, '-' and '_'
  std::string solver;            ///< a name of the registry
  std::vector<std::string> set;  ///< "option=value"; not searched by tuning
};
void to_json(nlohmann::ordered_json& json, const Competitor& competitor);
void from_json(const nlohmann::ordered_json& json, Competitor& competitor);

/// Reads "a,b,name=c" (or "all": every registered solver), where "name=c" is the solver c under another name,
/// and options "key=value" for everybody who has that option or "name.key=value" for a competitor or for all
/// that use the solver `name`; later ones win. Throws InputError for an unknown solver, name or option, a
/// value that the option refuses, a name given twice, and an empty list.
std::vector<Competitor> parse_competitors(const std::string& solvers, const std::vector<std::string>& set);

}  // namespace bilevel
