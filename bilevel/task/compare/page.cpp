#include "bilevel/task/compare/page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/task/compare/table.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Series median_and_band(const std::vector<const Trace*>& runs, const std::string& x_key,
                       const std::string& y_key, const std::string& label) {
  constexpr size_t kGrid = 200;
  struct Line {
    Series points;
    bool holds;  // keeps its last value
  };
  std::vector<Line> lines;
  std::vector<double> grid;
  for (const Trace* run : runs) {
    Series points = series_from_trace(*run, x_key, y_key, label);
    if (points.x.empty()) continue;
    grid.insert(grid.end(), points.x.begin(), points.x.end());
    lines.push_back({std::move(points), finished(*run)});
  }
  std::sort(grid.begin(), grid.end());
  grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
  if (grid.size() > kGrid) {
    std::vector<double> thinned;
    for (size_t i = 0; i < kGrid; ++i) thinned.push_back(grid[i * (grid.size() - 1) / (kGrid - 1)]);
    grid = std::move(thinned);
  }
  const auto at = [](const Line& line, double x) {
    const std::vector<double>&xs = line.points.x, &ys = line.points.y;
    if (x < xs.front() || (x > xs.back() && !line.holds)) return std::nan("");
    const auto after = static_cast<size_t>(std::upper_bound(xs.begin(), xs.end(), x) - xs.begin());
    if (after == xs.size()) return ys.back();
    const double share = (x - xs[after - 1]) / (xs[after] - xs[after - 1]);
    return ys[after - 1] + share * (ys[after] - ys[after - 1]);
  };
  Series result{label, {}, {}};
  for (const double x : grid) {
    std::vector<double> values;
    for (const Line& line : lines) {
      if (const double value = at(line, x); std::isfinite(value)) values.push_back(value);
    }
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    const size_t half = values.size() / 2;
    result.x.push_back(x);
    result.y.push_back(values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]));
    if (lines.size() > 1) {
      result.low.push_back(values.front());
      result.high.push_back(values.back());
    }
  }
  return result;
}

std::vector<NamedFigure> curves(const Comparison& comparison, const Json& summary) {
  const auto picture = [&](const std::string& name, const Measure& measure, const std::string& x_key,
                           const std::string& x_label) {
    LinePlot plot{.title = measure.name + " against " + x_label, .x_label = x_label, .y_label = measure.name};
    plot.log_y = measure.log_scale;
    double start = -std::numeric_limits<double>::infinity();
    for (const Json& entry : summary.at("table")) {
      const auto c =
          std::find_if(comparison.competitors.begin(), comparison.competitors.end(),
                       [&](const auto& r) { return r.competitor.label == entry.at("competitor"); });
      std::vector<const Trace*> runs;
      for (const Trace& run : c->runs) runs.push_back(&run);
      Series series = median_and_band(runs, x_key, "/metrics/" + measure.key, c->competitor.label);
      if (series.x.empty()) continue;
      start = std::max(start, series.y.front());
      plot.series.push_back(std::move(series));
    }
    if (measure.log_scale && start > 0) plot.y_most = 100 * start;
    plot.height += static_cast<int>(20 * (plot.series.size() / 4));  // room for the names
    const std::string seeds =
        comparison.options.seeds > 1 ? "median of the seeds, with all of them in the band" : "";
    return NamedFigure{name + ".svg", {draw(plot), seeds}};
  };
  const Measure& metric = comparison.facts.metric;
  std::vector<NamedFigure> figures{picture("steps", metric, "/step", "steps"),
                                   picture("samples", metric, "/samples/all", "samples drawn"),
                                   picture("oracle_calls", metric, "/oracle_calls/all", "oracle calls"),
                                   picture("seconds", metric, "/seconds", "training time (s)")};
  for (const Measure& measure : comparison.facts.further)
    figures.push_back(picture(measure.key + "_steps", measure, "/step", "steps"));
  return figures;
}

namespace {

/// Escaped text of a JSON string.
std::string escaped(const Json& value) { return text_of(value); }

std::string options_text(const Json& options) {
  std::vector<std::string> words;
  for (const auto& [key, value] : options.items())
    words.push_back(fmt::format("{} = {}", key, text_of(value)));
  return words.empty() ? "defaults" : fmt::format("{}", fmt::join(words, ", "));
}

std::string table_section(const ContestFacts& facts, const Json& summary) {
  const Measure& metric = facts.metric;
  std::vector<TableColumn> columns{{"rank", "number"},
                                   {"solver", "heading"},
                                   {"mean " + metric.name, "number"},
                                   {"95\u00a0% interval", "number"}};
  if (has_swings(summary)) columns.push_back({"swing", "number"});
  columns.push_back({"difference to the best", "number"});
  for (const Measure& measure : facts.further) columns.push_back({"mean " + measure.name, "number"});
  columns.push_back({"runs"});
  for (const char* name : {"steps", "samples", "oracle calls", "seconds"})
    columns.push_back({name, "number"});
  std::vector<std::vector<std::string>> rows;
  for (const Json& e : summary.at("table")) {
    std::vector<std::string> row{text_of(e.at("rank")), escaped(name_text(e)),
                                 fmt::format("<b>{}</b>", mean_text(e, metric)),
                                 shown_interval(e.at("interval"), metric)};
    if (has_swings(summary)) row.push_back(swing_text(e));
    const Json& difference = e.at("difference_to_best");
    row.push_back(difference.is_null()                  ? std::string(kAbsent)
                  : difference.at("random").get<bool>() ? shown_interval(difference.at("interval"), metric)
                                                        : mean_text(difference, metric));
    for (const Measure& measure : facts.further)
      row.push_back(mean_text(e.at("further").at(measure.key), measure));
    row.insert(row.end(), {runs_text(e), whole(e.at("steps")), whole(e.at("samples")),
                           whole(e.at("oracle_calls").at("all")), seconds_text(e.at("seconds"))});
    rows.push_back(std::move(row));
  }
  std::string out = fmt::format("<section>\n<h2>Result</h2>\n<p class=\"sentence\">{}</p>\n{}",
                                escaped(verdict_text(summary)), table_markup(columns, rows));
  for (const Json& note : summary.at("notes"))
    out += fmt::format("<p class=\"note\">{}</p>\n", escaped(note));
  return out + "</section>\n";
}

std::string fairness_section(const Comparison& comparison) {
  const CompareOptions& o = comparison.options;
  const ContestFacts& facts = comparison.facts;
  std::string out = "<section>\n<h2>How to read this</h2>\n<ul>\n";
  const auto item = [&](const std::string& text) { out += fmt::format("<li>{}</li>\n", escaped(text)); };
  item(fmt::format(
      "Every run has the budget {}. Samples are rows drawn for both levels; an oracle call is one stochastic "
      "derivative of any kind, although a Hessian-vector product takes longer than a gradient. Warm starts "
      "and automatic step sizes count, measurements do not, also not as time.",
      o.budget.describe()));
  if (facts.last_tenth) {
    item(
        fmt::format("A run's {} is the mean over the last tenth of its budget, so that no single step "
                    "decides; its swing is the highest less the lowest value there, of which the table has "
                    "the mean. A run is still oscillating where the {} rises again there by more than half "
                    "of its mean, and by a hundredth of its start.",
                    facts.metric.name, facts.metric.name));
  }
  item(fmt::format("{} {} per solver. {}", o.seeds, o.seeds == 1 ? "run" : "runs", facts.seeds_mean));
  item(fmt::format(
      "A mean has a 95 % interval by Student's t over the runs. The difference to the best has an interval "
      "of the mean difference of runs with the same seed; where it holds 0, this comparison does not tell "
      "the two apart. The best is chosen by the same runs, so these intervals are wider, by Bonferroni over "
      "the pairs of {} solvers: all of them together hold the truth in at least 95 %.",
      o.competitors.size()));
  item(
      "Ranks go by the mean. Whoever has lost a run is ranked behind all that have not, and its mean is that "
      "of the runs left.");
  if (o.tune > 0) {
    item(fmt::format(
        "Every solver had {} trials, each with a whole budget and one seed that no run has: first the "
        "defaults; then half of them with the step size of x alone, evenly over its range and then closing "
        "in on the best; then the best so far with one option drawn anew, in turn all that declare a range. "
        "So automatic step sizes stay automatic in most trials. The trial with the best {} was chosen.",
        o.tune, facts.tuning_metric.name));
  } else {
    item("Nothing was tuned: every solver ran with its defaults for this task.");
  }
  item("† marks a solver whose theory does not cover this problem; the notes say why.");
  return out + "</ul>\n</section>\n";
}

std::string options_section(const Comparison& comparison, const Json& summary) {
  const bool tuned = comparison.options.tune > 0;
  std::vector<std::vector<std::string>> rows;
  for (const Json& e : summary.at("table")) {
    const auto given = e.at("set").get<std::vector<std::string>>();
    rows.push_back({escaped(e.at("competitor")),
                    given.empty() ? std::string(kAbsent) : escaped(fmt::format("{}", fmt::join(given, ", "))),
                    tuned ? options_text(e.at("tuned")) : std::string(kAbsent)});
  }
  std::string out =
      "<section>\n<h2>Options</h2>\n" +
      table_markup({{"solver", "heading"}, {"given", "text"}, {"chosen by tuning", "text"}}, rows) +
      "</section>\n";
  if (!tuned) return out;

  out += "<details>\n<summary>All trials</summary>\n";
  const Measure& metric = comparison.facts.tuning_metric;
  for (const Json& e : summary.at("table")) {
    const Json& tuning = e.at("tuning");
    std::vector<std::vector<std::string>> trials;
    for (const Json& trial : tuning.at("trials")) {
      const bool chosen = trial.at("trial") == tuning.at("chosen");
      trials.push_back(
          {text_of(trial.at("trial")),
           trial.at("score").is_null() ? escaped(trial.at("status")) : shown(trial.at("score"), metric),
           options_text(trial.at("options")) +
               (chosen ? " <span class=\"tag positive\">chosen</span>" : "")});
    }
    out += fmt::format(
        "<h3>{}</h3>\n{}", escaped(e.at("competitor")),
        table_markup({{"trial", "number"}, {metric.name, "number"}, {"options", "text"}}, trials));
  }
  return out + "</details>\n";
}

std::string details_section(const Comparison& comparison, const Json& summary) {
  const Measure& metric = comparison.facts.metric;
  std::vector<std::vector<std::string>> rows;
  for (const CompetitorRuns& c : comparison.competitors) {
    for (const Trace& run : c.runs) {
      const Json& end = end_of(run);
      rows.push_back({escaped(c.competitor.label), text_of(head_of(run).at("seed")),
                      shown(result_of(run, metric.key), metric),
                      fmt::format("{}: {}", escaped(end.at("end")), escaped(end.at("message"))),
                      grouped(end.at("steps").get<int64_t>()), seconds_text(end.at("seconds"))});
    }
  }
  std::string out = "<details>\n<summary>Data, every run, all options</summary>\n" +
                    table_of("Data", object_of(comparison.facts.data)) + "<h3>Runs</h3>\n" +
                    table_markup({{"solver", "heading"},
                                  {"seed", "number"},
                                  {metric.name, "number"},
                                  {"end", "text"},
                                  {"steps", "number"},
                                  {"seconds", "number"}},
                                 rows);
  for (const Json& e : summary.at("table")) {
    out += table_of(e.at("competitor").get<std::string>() + ": options", e.at("solver_options"));
    out += table_of(e.at("competitor").get<std::string>() + ": oracle calls, mean of the runs",
                    e.at("oracle_calls"));
  }
  return out + "</details>\n";
}

}  // namespace

std::string compare_report_html(const Comparison& comparison, const Json& summary,
                                const std::vector<NamedFigure>& figures) {
  std::vector<Figure> pictures;
  for (const NamedFigure& figure : figures) pictures.push_back(figure.figure);
  const std::string body =
      fmt::format("<p class=\"subtle\">{} solvers, {} {} each, budget of a run: {}.</p>\n",
                  comparison.options.competitors.size(), comparison.options.seeds,
                  comparison.options.seeds == 1 ? "seed" : "seeds", comparison.options.budget.describe()) +
      table_section(comparison.facts, summary) + figures_section("Curves", pictures) +
      fairness_section(comparison) + options_section(comparison, summary) +
      details_section(comparison, summary);
  return html_page("Comparison: " + comparison.facts.title, body);
}

}  // namespace bilevel
