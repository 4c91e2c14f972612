// What the report pages of all jobs share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/report/trace.h"
#include "bilevel/task/job/job.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {

/// Writes the pictures that could be drawn into the job's folder.
std::vector<Figure> write_figures(const JobContext& context, const std::vector<NamedFigure>& figures);

/// The rows that a pass wrote.
Trace rows_of_pass(const Trace& trace, const std::string& pass);

/// The beginning of a job's page: encoder, solver, steps, time and seed, why the training ended (what is missing shows as a dash),
/// and the summary's warnings as notes.
ReportPage job_page(const std::string& title, const nlohmann::ordered_json& summary, Provenance made);
/// Writes report.html.
void write_page(const JobContext& context, const ReportPage& page);

// The sections that the pages of all jobs end with.
/// The parts (markup), the features' facts, and the summary's columns and labels.
Section data_section(const nlohmann::ordered_json& summary, const std::string& parts,
                     const std::vector<std::pair<std::string, std::string>>& facts);
/// How new rows are predicted by the model in the summary's folder, with `before` and `after` (markup) around the command, to which
/// `more` belongs (" --shots FILE"); without content where there is no folder.
Section use_section(const nlohmann::ordered_json& summary, const std::string& before = "",
                    const std::string& after = "", const std::string& out = "predictions.tsv",
                    const std::string& more = "");
/// Oracle calls, rows drawn, time and memory.
Section cost_section(const nlohmann::ordered_json& summary);

/// {difference, difference_interval, verdict (a `PairedVerdict`)} of a summary's baseline, of the model less the baseline; the interval is
/// null where there is none.
nlohmann::ordered_json difference_json(const PairedDifference& d, bool lower_is_better = false);
/// {NAME: verdict} of a summary's baselines, those of which there is one.
nlohmann::ordered_json verdicts_of(const nlohmann::ordered_json& baselines);

/// Pairs as an object, for `table_of`.
nlohmann::ordered_json object_of(const std::vector<std::pair<std::string, std::string>>& facts);

/// "file.csv: what".
std::string title_of(const JobOptions& options, const std::string& what);

}  // namespace bilevel
