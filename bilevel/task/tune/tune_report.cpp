#include "bilevel/task/tune/tune_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/files.h"
#include "bilevel/report/escape.h"
#include "bilevel/report/page.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

double number_at(const Json& object, const char* part, const char* key) {
  const Json& value = object.at(part).at(key);
  return value.is_number() ? value.get<double>() : std::nan("");
}

std::string scores_table(const Json& summary) {
  std::string out =
      "<div class=\"scroll\"><table><thead><tr><th></th><th class=\"number\">validation loss</th>"
      "<th class=\"number\">test loss</th><th class=\"number\">test accuracy</th>"
      "<th class=\"number\">passes over the data</th></tr></thead><tbody>\n";
  const auto line = [&](const std::string& name, const Json& scores, double passes) {
    out += fmt::format(
        "<tr><th>{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>"
        "<td class=\"number\">{}</td></tr>\n",
        escape_markup(name), metric_text(number_at(scores, "valid", "loss")),
        metric_text(number_at(scores, "test", "loss")), percent(number_at(scores, "test", "accuracy")),
        grouped(std::llround(passes)));
  };
  line(summary.at("tune").get<std::string>() + ", learned by gradient", summary.at("metrics"),
       summary.at("passes").get<double>());
  for (const auto& [name, found] : summary.at("baselines").items()) {
    line(name == "grid"
             ? fmt::format("best single L2 of a grid ({} points)", found.at("points").get<int64_t>())
             : fmt::format("random search ({} points)", found.at("points").get<int64_t>()),
         found, found.at("passes").get<double>());
  }
  return out + "</tbody></table></div>\n";
}

std::string values_table(const std::string& heading, const std::vector<LearnedValue>& values) {
  if (values.empty()) return "";
  std::string out =
      fmt::format("<h3>{}</h3>\n<div class=\"scroll\"><table><tbody>\n", escape_markup(heading));
  for (const LearnedValue& v : values) {
    out += fmt::format("<tr><td class=\"text\">{}</td><td class=\"number\">{:.3g}</td></tr>\n",
                       escape_markup(v.name), v.value);
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::pair<std::vector<LearnedValue>, std::vector<LearnedValue>> extremes(
    const std::vector<LearnedValue>& values, size_t count) {
  std::vector<LearnedValue> strengths;
  for (const LearnedValue& v : values) {
    if (v.kind == "strength" && v.name != "common") strengths.push_back(v);
  }
  if (strengths.size() < 2) return {};
  std::stable_sort(strengths.begin(), strengths.end(),
                   [](const LearnedValue& a, const LearnedValue& b) { return a.value < b.value; });
  const auto least = static_cast<std::ptrdiff_t>(std::min(count, (strengths.size() + 1) / 2));
  const auto greatest = static_cast<std::ptrdiff_t>(std::min(count, strengths.size() / 2));
  return {{strengths.begin(), strengths.begin() + least},
          {strengths.rbegin(), strengths.rbegin() + greatest}};
}

void write_hyperparameters(const fs::path& path, const TuneReport& report) {
  std::vector<LearnedValue> values = report.values;
  std::stable_sort(values.begin() + 1, values.end(), [](const LearnedValue& a, const LearnedValue& b) {
    return a.kind == "strength" && b.kind == "strength" && a.value < b.value;
  });
  std::string table = "kind\tname\tvalue\n";
  for (const LearnedValue& v : values) {
    std::string name = v.name;
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
    table += fmt::format("{}\t{}\t{:.9g}\n", v.kind, name, v.value);
  }
  write_file_atomically(path.string(), table);
}

std::string tune_report_html(const TuneReport& report, const std::string& figures) {
  const Json& summary = report.summary;
  std::string body =
      fmt::format("<p class=\"subtle\">{} on {} rows, {} encoder, {} steps of {} in {}</p>\n",
                  escape_markup(summary.at("tune").get<std::string>()),
                  grouped(static_cast<int64_t>(report.parts.empty() ? 0 : report.parts[0].second)),
                  text_of(summary.at("encoder")), text_of(summary.at("steps")), text_of(summary.at("solver")),
                  duration_text(summary.at("seconds").get<double>()));
  body += "<section>\n<h2>What learning the regularization brought</h2>\n" + scores_table(summary);
  body +=
      "<p class=\"subtle\">Loss: mean of -log p of the true class. A pass is one derivative of as many rows "
      "as the "
      "training part has, whatever its kind; measurements on validation rows count too. The validation rows "
      "chose the "
      "hyperparameters of every line, the test rows none.</p>\n";
  for (const std::string& note : report.notes)
    body += fmt::format("<p class=\"note\">{}</p>\n", escape_markup(note));
  body += "</section>\n<section>\n<h2>Learned values</h2>\n";
  const auto [least, greatest] = extremes(report.values, 20);
  std::vector<LearnedValue> others;
  for (const LearnedValue& v : report.values) {
    if (v.name == "common" || v.kind != "strength") others.push_back(v);
  }
  others.front().name = "common strength of all weights";
  body += values_table("Common and other values", others);
  body += values_table("Least regularized", least) + values_table("Most regularized", greatest);
  body += "<p class=\"subtle\">All of them stand in <code>hyperparameters.tsv</code>.</p>\n</section>\n";
  body += figures;
  body += "<section>\n<h2>Data</h2>\n";
  Json data = Json::object();
  for (const auto& [name, rows] : report.parts) data[name + " rows"] = rows;
  for (const auto& [name, fact] : report.facts) data[name] = fact;
  body += table_of("Rows and features", data) + "</section>\n";
  body += "<details>\n<summary>Options and figures</summary>\n" +
          table_of("Options", report.summary.at("options")) + table_of("Summary", summary) + "</details>\n";
  body += fmt::format(
      "<section>\n<h2>Use the model</h2>\n<pre>bilevel predict --model {} --input NEW_ROWS_FILE --out "
      "predictions.tsv</pre>\n</section>\n",
      escape_markup(summary.at("out").get<std::string>()));
  return html_page(report.title, body);
}

void write_tune_report(const std::string& folder, const TuneReport& report) {
  const fs::path out(folder);
  const Trace trace = read_trace((out / "trace.jsonl").string());
  LinePlot loss{.title = "Validation loss while learning",
                .x_label = "step",
                .y_label = "loss",
                .series = {series_from_trace(trace, "step", "valid_loss", "validation rows")},
                .markers = {{report.summary.at("best_step").get<double>(), "chosen step"}}};
  std::vector<Figure> figures{
      {draw(loss), "The weights follow the hyperparameters; before their last training."}};
  Series sizes{.label = "strengths", .x = {}, .y = {}};
  for (const LearnedValue& v : report.values) {
    if (v.kind == "strength" && v.name != "common") sizes.y.push_back(v.value);
  }
  if (sizes.y.size() > 1) {
    std::sort(sizes.y.begin(), sizes.y.end());
    for (size_t i = 0; i < sizes.y.size(); ++i) sizes.x.push_back(static_cast<double>(i + 1));
    figures.push_back({draw({.title = "Learned strengths, by size",
                             .x_label = "rank",
                             .y_label = "L2 strength",
                             .series = {sizes},
                             .log_y = true}),
                       ""});
  }
  const char* names[] = {"loss.svg", "strengths.svg"};
  for (size_t i = 0; i < figures.size(); ++i) {
    if (!figures[i].plot.svg.empty()) write_file_atomically((out / names[i]).string(), figures[i].plot.svg);
  }
  write_file_atomically((out / "report.html").string(),
                        tune_report_html(report, figures_section("Curves", figures)));
}

}  // namespace bilevel
