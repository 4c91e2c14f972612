#include "bilevel/task/compare/runs.h"

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/report/intervals.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

const Json& head_of(const Trace& trace) {
  if (trace.rows.size() < 2 || !trace.rows.front().contains("run"))
    throw FileError("the trace of a run has no first row that tells whose it is");
  return trace.rows.front().at("run");
}

const Json& end_of(const Trace& trace) {
  if (trace.rows.size() < 2 || !trace.rows.back().contains("end"))
    throw FileError("the trace of a run has no last row that tells how it ended");
  return trace.rows.back();
}

double result_of(const Trace& trace, const std::string& key) {
  const Json& result = end_of(trace).at("result");
  return result.is_object() && result.contains(key) ? trace_number(result.at(key)) : std::nan("");
}

bool finished(const Trace& trace) { return end_of(trace).at("end") == "finished"; }

std::vector<double> values_of(const CompetitorRuns& c, const std::string& key) {
  std::vector<double> values;
  for (const Trace& run : c.runs) values.push_back(finished(run) ? result_of(run, key) : std::nan(""));
  return values;
}

std::vector<double> finite(const std::vector<double>& values) {
  std::vector<double> result;
  std::copy_if(values.begin(), values.end(), std::back_inserter(result),
               [](double value) { return std::isfinite(value); });
  return result;
}

double mean_at(const CompetitorRuns& c, const char* pointer) {
  std::vector<double> values;
  for (const Trace& run : c.runs) {
    if (end_of(run).at("end") != "failed")
      values.push_back(end_of(run).at(Json::json_pointer(pointer)).get<double>());
  }
  return mean_interval(values).mean;
}

std::vector<double> paired_differences(const CompetitorRuns& own, const CompetitorRuns& other,
                                       const std::string& key) {
  const std::vector<double> a = values_of(own, key), b = values_of(other, key);
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return finite(differences);
}

std::vector<double> ends_of(const CompetitorRuns& c, const std::string& key) {
  std::vector<double> values;
  for (const Trace& run : c.runs) {
    const Json& end = end_of(run);
    if (finished(run) && end.contains(key) && !end.at(key).is_null())
      values.push_back(trace_number(end.at(key)));
  }
  return finite(values);
}

bool is_random(const CompetitorRuns& c, const ContestFacts& facts) {
  return facts.traits.noise != Noise::none || head_of(c.runs.front()).at("random_estimate").get<bool>();
}

std::string theory_gaps_of(const CompetitorRuns& c) {
  return head_of(c.runs.front()).value("theory_gaps", std::string());
}

}  // namespace bilevel
