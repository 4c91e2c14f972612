#include "bilevel/task/solve_report.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "bilevel/core/files.h"
#include "bilevel/report/page.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<Figure> write_curves(const std::string& out, const Json& summary) {
  const std::string solver = summary.at("solver");
  const Trace trace = read_trace((fs::path(out) / "trace.jsonl").string());
  const auto series = [&](const char* metric, const char* label) {
    return series_from_trace(trace, "step", std::string("/metrics/") + metric, label);
  };
  std::vector<Figure> figures;
  const auto add = [&](const char* file, const LinePlot& plot) {
    figures.push_back({draw(plot), ""});
    if (!figures.back().plot.svg.empty())
      write_file_atomically((fs::path(out) / file).string(), figures.back().plot.svg);
  };
  if (summary.at("metrics").at("distance").is_number()) {
    add("distance.svg", {.title = "Distance to the solution",
                         .x_label = "step",
                         .y_label = "|x - x*| / sqrt(dim x)",
                         .series = {series("distance", solver.c_str())},
                         .log_y = true});
  }
  const bool projected = summary.at("metrics").contains("projected_gradient_norm");
  add("gradient_norm.svg",
      {.title = projected ? "True hypergradient, projected" : "True hypergradient",
       .x_label = "step",
       .y_label = "norm",
       .series = {series(projected ? "projected_gradient_norm" : "gradient_norm", solver.c_str())},
       .log_y = true});
  add("objectives.svg", {.title = "Objectives at (x, y)",
                         .x_label = "step",
                         .y_label = "value",
                         .series = {series("upper", "upper, f"), series("lower", "lower, g")}});
  return figures;
}

}  // namespace

std::string solution_text(const Json& summary) {
  const auto& metrics = summary.at("metrics");
  std::string out = fmt::format("{} on {}: {} steps in {} ({})\n", summary.at("solver").get<std::string>(),
                                summary.at("problem").get<std::string>(), summary.at("steps").get<int64_t>(),
                                duration_text(summary.at("seconds").get<double>()),
                                summary.at("stop_reason").get<std::string>());
  const auto line = [&](const char* what, const char* key) {
    out +=
        fmt::format("  {:<32} {}\n", what, metrics.at(key).is_null() ? "unknown" : text_of(metrics.at(key)));
  };
  line("distance to x* / sqrt(dim x)", "distance");
  line("norm of the true hypergradient", "gradient_norm");
  if (metrics.contains("projected_gradient_norm")) line("  projected", "projected_gradient_norm");
  line("upper objective f(x, y)", "upper");
  line("lower objective g(x, y)", "lower");
  for (const auto& warning : summary.at("warnings")) {
    out += fmt::format("warning: {}\n", warning.get<std::string>());
  }
  if (summary.at("out").is_string()) {
    out += fmt::format("trace: {0}/trace.jsonl, report: {0}/report.html\n",
                       summary.at("out").get<std::string>());
  }
  return out;
}

namespace {

/// What the run came to, beside where it began.
std::string verdict_of(const Json& start, const Json& end) {
  const auto number = [](const Json& metrics, const char* key) {
    const Json value = metrics.value(key, Json());
    return value.is_number() ? value.get<double>() : std::nan("");
  };
  const bool known = std::isfinite(number(end, "distance"));
  const char* key = known                                     ? "distance"
                    : end.contains("projected_gradient_norm") ? "projected_gradient_norm"
                                                              : "gradient_norm";
  const double from = number(start, key), to = number(end, key);
  const std::string what = known ? "the known solution" : "a stationary point";
  const std::string sizes = fmt::format("the {} went from {:.3g} to {:.3g}",
                                        known ? "distance" : "norm of the true hypergradient", from, to);
  if (!std::isfinite(from) || !std::isfinite(to))
    return "Whether the run came nearer to " + what + " is not known.";
  return fmt::format("The run {} to {}: {}.", to < from ? "came nearer" : "ended no nearer", what, sizes);
}

}  // namespace

void write_solve_report(const std::string& out, const Json& summary) {
  Json shown = summary;
  for (const char* key : {"metrics", "x", "x_rows", "y", "oracle_calls", "oracle_calls_apart",
                          "solver_options", "problem_options", "warnings"}) {
    shown.erase(key);
  }
  for (const char* key : {"seconds", "evaluation_seconds"})
    shown[key] = duration_text(shown.at(key).get<double>());
  const Json &metrics = summary.at("metrics"),
             start = read_trace((fs::path(out) / "trace.jsonl").string()).rows.at(0).at("metrics");
  ReportPage page{
      .title = fmt::format("{} on {}", summary.at("solver").get<std::string>(),
                           summary.at("problem").get<std::string>()),
      .lead = fmt::format("<p class=\"subtle\">{} steps in {}, seed {}.</p>\n",
                          grouped(summary.at("steps").get<int64_t>()),
                          duration_text(summary.at("seconds").get<double>()), text_of(summary.at("seed"))),
      .verdict = verdict_of(start, metrics),
      .made = provenance_of(out)};
  const auto card = [&](const char* key, const char* meaning) {
    if (metrics.value(key, Json()).is_number())
      page.cards.push_back({fmt::format("{:.3g}", metrics.at(key).get<double>()), meaning});
  };
  card("distance", "distance to the solution\n|x - x*| / sqrt(dim x)");
  card(metrics.contains("projected_gradient_norm") ? "projected_gradient_norm" : "gradient_norm",
       "norm of the true hypergradient");
  for (const Json& warning : summary.at("warnings")) page.notes.push_back(warning.get<std::string>());
  page.sections = {
      {"Curves", figures_markup(write_curves(out, summary))},
      {"All metrics", table_of("Result", metrics)},
      {"Solver and problem",
       table_of("Solver", summary.at("solver_options")) + table_of("Problem", summary.at("problem_options"))},
      {"Cost", table_of("Run", shown) + table_of("Oracle calls of the steps", summary.at("oracle_calls")),
       /*folded=*/true}};
  write_file_atomically((fs::path(out) / "report.html").string(), html_page(page));
}

}  // namespace bilevel
