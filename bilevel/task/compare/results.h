// From the traces of a comparison to its table, its pictures and its page.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/report/trace.h"
#include "bilevel/task/compare/comparison.h"

namespace bilevel {

/// The runs of one competitor, as read back.
struct CompetitorRuns {
  Competitor competitor;
  std::vector<Trace> trials;  ///< tuning, in order
  std::vector<Trace> runs;    ///< by seed, in order
};

/// A comparison, as read back.
struct Comparison {
  CompareOptions options;
  ContestFacts facts;
  std::vector<CompetitorRuns> competitors;
};

/// The first and the last row of a run's trace. Throws FileError when it has no end.
const nlohmann::ordered_json& head_of(const Trace& trace);
const nlohmann::ordered_json& end_of(const Trace& trace);

/// The number behind a measure in the end row of a run, or in a row along it; NaN where there is none.
double result_of(const Trace& trace, const std::string& key);

/// A run's number for people, alike on the terminal and on the page: three digits, or four decimals.
std::string shown(double value, const Measure& measure);

/// The object of `--json` but for "out": command, task, metric, last_tenth, seeds, budget, tune, table (one entry per
/// competitor, best first), best, not_distinguishable, notes. Intervals are Student's t, as they come. Where nothing
/// is random (`ContestFacts::exact`, no random estimate) there is no interval but a "spread" over seeds that
/// nudged the start, and a difference counts when it exceeds that.
nlohmann::ordered_json summarize(const Comparison& comparison);

/// The table as text for a terminal, and tab-separated.
std::string table_text(const nlohmann::ordered_json& summary);
std::string table_tsv(const nlohmann::ordered_json& summary);

/// The course of `y_key` against `x_key` (JSON pointers into a row) over several runs: the median of the runs
/// and the band from the lowest to the highest, at about 200 points. A run that has ended keeps its last
/// value; a run that diverged ends there. Runs without points are left out.
Series median_and_band(const std::vector<const Trace*>& runs, const std::string& x_key,
                       const std::string& y_key, const std::string& label);

/// A picture with the name of its file.
struct NamedFigure {
  std::string name;  ///< "steps" of steps.svg
  Figure figure;
};

/// The metric against steps, samples, oracle calls and seconds, and the further measures against steps.
std::vector<NamedFigure> curves(const Comparison& comparison, const nlohmann::ordered_json& summary);

/// The page.
std::string compare_report_html(const Comparison& comparison, const nlohmann::ordered_json& summary,
                                const std::vector<NamedFigure>& figures);

}  // namespace bilevel
