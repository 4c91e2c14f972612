// What the report pages of all jobs share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/report/trace.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

/// Writes the pictures that could be drawn into the job's folder.
std::vector<Figure> write_figures(const JobContext& context, const std::vector<NamedFigure>& figures);

/// The rows that a pass wrote.
Trace rows_of_pass(const Trace& trace, const std::string& pass);

/// One line: encoder, solver, steps, time and seed of a summary; what is missing shows as a dash.
std::string run_markup(const nlohmann::ordered_json& summary);
/// A paragraph for each.
std::string notes_markup(const std::vector<std::string>& notes);
/// How new rows are predicted by the model in the summary's folder: a section, with `before` and `after` (markup) around
/// the command; empty without a folder.
std::string predict_markup(const nlohmann::ordered_json& summary, const std::string& before,
                           const std::string& after, const std::string& input, const std::string& out);
/// A summary's columns and labels: a table each; empty for a file without named columns.
std::string columns_markup(const nlohmann::ordered_json& summary);
/// Pairs as an object, for `table_of`.
nlohmann::ordered_json object_of(const std::vector<std::pair<std::string, std::string>>& facts);

/// "file.csv: what".
std::string title_of(const JobOptions& options, const std::string& what);

}  // namespace bilevel
