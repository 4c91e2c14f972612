#include "bilevel/task/job/job_report.h"

#include <fmt/format.h>

#include <initializer_list>
#include <string_view>

#include "bilevel/report/escape.h"
#include "bilevel/task/describe/describe.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json member(const Json& object, const char* key) {
  return object.is_object() ? object.value(key, Json()) : Json();
}

/// The stop reason in words; one that is not known here stands as it is.
std::string stop_text(const Json& summary) {
  const std::string reason = text_of(member(summary, "stop_reason"));
  for (const auto& [name, words] : std::initializer_list<std::pair<std::string_view, const char*>>{
           {"converged", "it converged"},
           {"max_steps", "the planned number of steps was done"},
           {"max_seconds", "the time limit was reached"},
           {"stopped_by_callback", "it was stopped early"},
           {"interrupted", "it was interrupted"},
           {"nonfinite", "a value became infinite or NaN"},
           {"linear_solve_failed", "a linear system could not be solved"}}) {
    if (reason == name) return words;
  }
  return reason;
}

std::string run_markup(const Json& summary) {
  const auto text = [&](const char* key) { return text_of(member(summary, key)); };
  const Json steps = member(summary, "steps"), seconds = member(summary, "seconds"),
             best = member(summary, "best_step");
  return fmt::format(
      "<p class=\"subtle\">Encoder <b>{}</b>, solver <b>{}</b>, {} steps, {} in all, seed {}. Training "
      "ended: "
      "{}.{}</p>\n",
      text("encoder"), text("solver"),
      steps.is_number_integer() ? grouped(steps.get<int64_t>()) : text_of(steps),
      seconds.is_number() ? duration_text(seconds.get<double>()) : std::string(kAbsent), text("seed"),
      stop_text(summary),
      best.is_number_integer() ? fmt::format(" Chosen step: {}.", grouped(best.get<int64_t>())) : "");
}

/// A summary's columns and labels: a table each; empty for a file without named columns.
std::string columns_markup(const Json& summary) {
  const Json columns = member(summary, "columns"), counted = member(summary, "labels");
  Json shown = Json::object(), labels = Json::object();
  for (const Json& column : columns) {
    std::string text = column.at("use").get<std::string>();
    if (column.at("kind").is_string() && text == "feature") text = column["kind"].get<std::string>();
    if (column.at("why").is_string()) text += ": " + column["why"].get<std::string>();
    if (!column.value("notation", "").empty()) text += ", " + column["notation"].get<std::string>();
    if (const auto missing = column.value("missing", int64_t{0}); missing > 0)
      text += fmt::format(", {} missing", grouped(missing));
    if (column.contains("doubt") && column["doubt"].is_string())
      text += "; " + column["doubt"].get<std::string>();
    shown[column.at("name").get<std::string>()] = text;
  }
  for (const auto& [role, counts] : counted.items()) {
    std::string text;
    size_t told = 0;
    for (const auto& [label, rows] : counts.items()) {
      if (told++ == 10) {
        text += fmt::format(", {} others", counts.size() - 10);
        break;
      }
      text += fmt::format("{}'{}' {}", text.empty() ? "" : ", ", label, grouped(rows.get<int64_t>()));
    }
    labels[role] = text;
  }
  return (shown.empty() ? "" : table_of("Columns", shown)) +
         (labels.empty() ? "" : table_of("Labels", labels));
}

}  // namespace

std::vector<Figure> write_figures(const JobContext& context, const std::vector<NamedFigure>& figures) {
  std::vector<Figure> drawn;
  for (const auto& [file, figure] : figures) {
    if (!figure.plot.svg.empty()) write_file_atomically(context.path(file).string(), figure.plot.svg);
    drawn.push_back(figure);
  }
  return drawn;
}

Trace rows_of_pass(const Trace& trace, const std::string& pass) {
  Trace part;
  for (const Json& row : trace.rows) {
    if (row.at("phase") == pass) part.rows.push_back(row);
  }
  return part;
}

ReportPage job_page(const std::string& title, const Json& summary, Provenance made) {
  ReportPage page{.title = title, .lead = run_markup(summary), .made = std::move(made)};
  for (const Json& warning : member(summary, "warnings")) page.notes.push_back(warning.get<std::string>());
  return page;
}

void write_page(const JobContext& context, const ReportPage& page) {
  write_file_atomically(context.path("report.html").string(), html_page(page));
}

Section data_section(const Json& summary, const std::string& parts,
                     const std::vector<std::pair<std::string, std::string>>& facts) {
  return {"Data", parts + table_of("Features", object_of(facts)) + columns_markup(summary)};
}

Section use_section(const Json& summary, const std::string& before, const std::string& after,
                    const std::string& out, const std::string& more) {
  const Json folder = member(summary, "out");
  if (!folder.is_string()) return {};
  return {"Use the model",
          fmt::format("{}<pre>bilevel predict --model {}{} --input NEW_ROWS_FILE --out {}</pre>\n{}", before,
                      escape_markup(shell_word(folder.get<std::string>())), more, out, after)};
}

Section cost_section(const Json& summary) {
  const Json seconds = member(summary, "seconds"), bytes = member(summary, "peak_rss_bytes");
  Json run = Json::object();
  if (seconds.is_number()) run["time"] = duration_text(seconds.get<double>());
  if (const Json training = member(summary, "training_seconds"); training.is_number())
    run["training alone"] = duration_text(training.get<double>());
  if (bytes.is_number()) run["peak memory"] = fmt::format("{:.0f} MiB", bytes.get<double>() / (1024 * 1024));
  run["folder"] = member(summary, "out");
  return {"Cost",
          table_of("Run", run) +
              table_of("Oracle calls (stochastic derivatives evaluated)", member(summary, "oracle_calls")) +
              table_of("Rows drawn", member(summary, "samples")),
          /*folded=*/true};
}

Json difference_json(const PairedDifference& d, bool lower_is_better) {
  return {{"difference", d.difference},
          {"difference_interval", d.has_interval() ? Json{d.low, d.high} : Json(nullptr)},
          {"verdict", name_of(verdict_of(d, lower_is_better))}};
}

Json verdicts_of(const Json& baselines) {
  Json verdicts = Json::object();
  for (const auto& [name, measured] : baselines.items()) {
    if (measured.contains("verdict")) verdicts[name] = measured.at("verdict");
  }
  return verdicts;
}

Json object_of(const std::vector<std::pair<std::string, std::string>>& facts) {
  Json object = Json::object();
  for (const auto& [name, value] : facts) object[name] = value;
  return object;
}

std::string title_of(const JobOptions& options, const std::string& what) {
  return fmt::format("{}: {}", std::filesystem::path(options.train).filename().string(), what);
}

}  // namespace bilevel
