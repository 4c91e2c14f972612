#include "bilevel/task/compare/contest.h"

#include "bilevel/report/trace.h"
#include "bilevel/task/compare/competitors.h"
#include "bilevel/task/compare/play.h"

namespace bilevel {

namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Json Attempt::result(const std::vector<Json>& last) const {
  Json means = Json::object();
  for (const auto& [key, unused] : last.front().items()) {
    double sum = 0;
    for (const Json& row : last) sum += trace_number(row.at(key));
    means[key] = sum / static_cast<double>(last.size());
  }
  return means;
}

// The library's macros for this write json alone, which does not keep the order.
#define BILEVEL_ORDERED_JSON(Type, ...)                                        \
  void to_json(Json& nlohmann_json_j, const Type& nlohmann_json_t) {           \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))   \
  }                                                                            \
  void from_json(const Json& nlohmann_json_j, Type& nlohmann_json_t) {         \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM, __VA_ARGS__)) \
  }

BILEVEL_ORDERED_JSON(Measure, key, name, higher_is_better, log_scale)
BILEVEL_ORDERED_JSON(ContestFacts, task, title, metric, tuning_metric, further, traits, seeds_mean,
                     last_tenth, data)
BILEVEL_ORDERED_JSON(Competitor, label, solver, set)
BILEVEL_ORDERED_JSON(Budget, steps, samples, oracle_calls, max_seconds)

}  // namespace bilevel
