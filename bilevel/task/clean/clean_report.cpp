#include "bilevel/task/clean/clean_report.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json at(const Json& value, const std::string& pointer) {
  return value.value(Json::json_pointer(pointer), Json(nullptr));
}

std::string share(const Json& value) {
  return value.is_number() ? percent(value.get<double>()) : std::string(kAbsent);
}

std::string metric(const Json& value) {
  return value.is_number() ? metric_text(value.get<double>()) : std::string(kAbsent);
}

std::string comparison(const Json& summary) {
  std::string rows;
  const auto row = [&](const char* name, const Json& accuracy, const Json& auroc) {
    rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", name, share(accuracy), metric(auroc));
  };
  row("<b>this run</b>", at(summary, "/metrics/test/accuracy"), at(summary, "/metrics/flips/auroc"));
  const std::vector<std::pair<const char*, const char*>> baselines{
      {"noisy_and_trusted", "all rows as given, with the trusted ones"},
      {"trusted_only", "the trusted rows alone"},
      {"self_confidence", "dropped by out-of-fold self-confidence"},
      {"trusted_model", "dropped by a model of the trusted rows"},
      {"product", "dropped by the product of both"}};
  const Json found = at(summary, "/baselines");
  if (found.is_null()) return "";
  for (const auto& [key, name] : baselines) {
    if (!found.contains(key)) continue;
    row(name, at(found.at(key), "/test/accuracy"), at(found.at(key), "/flips/auroc"));
  }
  return "<h2>Beside the usual methods</h2>\n<table>\n<tr><th>method</th><th>test accuracy</th>"
         "<th>AUROC of the injected flips</th></tr>\n" +
         rows +
         "</table>\n<p class=\"subtle\">The usual methods are logistic regression on the same rows.</p>\n";
}

std::string suspicious_rows(const std::vector<SuspiciousRow>& rows) {
  if (rows.empty()) return "";
  const bool known = !rows.front().truth.empty();
  std::string table = fmt::format(
      "<h2>Most suspicious rows</h2>\n<table>\n<tr><th>row</th><th>weight</th><th>P(label is right)</th>"
      "<th>given</th><th>suggested</th>{}<th>row's content</th></tr>\n",
      known ? "<th>before the injected noise</th>" : "");
  for (const SuspiciousRow& row : rows) {
    table += fmt::format(
        "<tr><td>{}</td><td>{:.4f}</td><td>{:.4f}</td><td>{}</td><td>{}</td>{}<td>{}</td></tr>\n", row.row,
        row.weight, row.probability, escape_markup(row.given), escape_markup(row.suggested),
        known ? fmt::format("<td>{}</td>", escape_markup(row.truth)) : "",
        escape_markup(shortened(row.text, 300)));
  }
  return table + "</table>\n";
}

}  // namespace

std::string clean_report_html(const CleanReport& report) {
  const Json& summary = report.summary;
  std::string body =
      fmt::format("<p class=\"subtle\">Encoder <b>{}</b>, solver <b>{}</b>, {} steps in {}, seed {}.</p>\n",
                  text_of(summary.at("encoder")), text_of(summary.at("solver")),
                  grouped(summary.at("steps").get<int64_t>()),
                  duration_text(summary.at("seconds").get<double>()), text_of(summary.at("seed")));
  body += fmt::format(
      "<p><b>{}</b> of {} training rows are suspicious: their label is more likely wrong than right. "
      "{}</p>\n",
      grouped(summary.at("suspicious").get<int64_t>()), grouped(summary.at("rows").get<int64_t>()),
      escape_markup(report.noise));
  if (report.assumed) {
    body +=
        "<p>There was no trusted file: the training rows whose labels an out-of-fold model agreed with most "
        "stood in "
        "for it. That assumes that labels are right more often than wrong, and not wrong in a way that a "
        "model can learn. Nothing is calibrated then: the probabilities are an order, not frequencies.</p>\n";
  }
  for (const std::string& note : report.notes) body += fmt::format("<p>{}</p>\n", escape_markup(note));
  body += comparison(summary);
  body += figures_section("Curves", report.figures);
  body += suspicious_rows(report.suspicious);
  Json facts = Json::object();
  for (const auto& [name, value] : report.data_facts) facts[name] = value;
  body += table_of("Metrics", summary.at("metrics"));
  body += table_of("Data", facts);
  body += table_of("Options", report.summary.at("options"));
  return html_page(report.title, body);
}

}  // namespace bilevel
