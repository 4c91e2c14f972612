// The runs of a comparison, as read back from their traces.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/trace.h"
#include "bilevel/task/compare/comparison.h"

namespace bilevel {

/// The runs of one competitor.
struct CompetitorRuns {
  Competitor competitor;
  std::vector<Trace> trials;  ///< tuning, in order
  std::vector<Trace> runs;    ///< by seed, in order
};

struct Comparison {
  CompareOptions options;
  ContestFacts facts;
  std::vector<CompetitorRuns> competitors;
};

/// The first and the last row of a run's trace. Throws FileError when it has no end.
const nlohmann::ordered_json& head_of(const Trace& trace);
const nlohmann::ordered_json& end_of(const Trace& trace);

bool finished(const Trace& trace);

/// The number behind a measure in the end row of a run, or in a row along it; NaN where there is none.
double result_of(const Trace& trace, const std::string& key);

/// A measure's result per run; NaN for a run without one.
std::vector<double> values_of(const CompetitorRuns& c, const std::string& key);

/// The finite ones.
std::vector<double> finite(const std::vector<double>& values);

/// What the end rows of the finished runs hold under `key`, without nulls.
std::vector<double> ends_of(const CompetitorRuns& c, const std::string& key);

/// The mean of a number in the end rows of the runs that could start; `pointer` is a JSON pointer.
double mean_at(const CompetitorRuns& c, const char* pointer);

/// Own minus other's result, by seed, where both have one.
std::vector<double> paired_differences(const CompetitorRuns& own, const CompetitorRuns& other,
                                       const std::string& key);

/// Whether runs with different seeds differ by more than a nudge of the start.
bool is_random(const CompetitorRuns& c, const ContestFacts& facts);

/// Why the theory of the competitor's solver, with the options of its runs, does not cover the problem; or empty.
std::string theory_gaps_of(const CompetitorRuns& c);

}  // namespace bilevel
