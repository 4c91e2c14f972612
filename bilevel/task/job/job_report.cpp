#include "bilevel/task/job/job_report.h"

#include <fmt/format.h>

#include "bilevel/report/escape.h"
#include "bilevel/task/describe/describe.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json member(const Json& object, const char* key) {
  return object.is_object() ? object.value(key, Json()) : Json();
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

std::string run_markup(const Json& summary) {
  const auto text = [&](const char* key) { return text_of(member(summary, key)); };
  const Json steps = member(summary, "steps"), seconds = member(summary, "seconds");
  return fmt::format(
      "<p class=\"subtle\">Encoder <b>{}</b>, solver <b>{}</b>, {} steps, {} in all, seed {}.</p>\n",
      text("encoder"), text("solver"),
      steps.is_number_integer() ? grouped(steps.get<int64_t>()) : text_of(steps),
      seconds.is_number() ? duration_text(seconds.get<double>()) : std::string(kAbsent), text("seed"));
}

std::string notes_markup(const std::vector<std::string>& notes) {
  std::string out;
  for (const std::string& note : notes) out += fmt::format("<p class=\"note\">{}</p>\n", escape_markup(note));
  return out;
}

std::string predict_markup(const Json& summary, const std::string& before, const std::string& after,
                           const std::string& input, const std::string& out) {
  const Json folder = member(summary, "out");
  if (!folder.is_string()) return "";
  return fmt::format(
      "<section>\n<h2>Use the model</h2>\n{}<pre>bilevel predict --model {} --input {} --out "
      "{}</pre>\n{}</section>\n",
      before, escape_markup(shell_word(folder.get<std::string>())), escape_markup(shell_word(input)), out,
      after);
}

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

Json object_of(const std::vector<std::pair<std::string, std::string>>& facts) {
  Json object = Json::object();
  for (const auto& [name, value] : facts) object[name] = value;
  return object;
}

std::string title_of(const JobOptions& options, const std::string& what) {
  return fmt::format("{}: {}", std::filesystem::path(options.train).filename().string(), what);
}

}  // namespace bilevel
