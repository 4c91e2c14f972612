#include "bilevel/task/compare/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {

using Json = nlohmann::ordered_json;

size_t place_of(const Comparison& comparison, const Json& entry) {
  const auto& all = comparison.competitors;
  return static_cast<size_t>(
      std::find_if(all.begin(), all.end(),
                   [&](const CompetitorRuns& c) { return c.competitor.label == entry.at("competitor"); }) -
      all.begin());
}

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

namespace {

/// The best score of the trials so far, of every competitor.
LinePlot trials_plot(const Comparison& comparison, const Json& summary) {
  const Measure& metric = comparison.facts.tuning_metric;
  LinePlot plot{
      .title = "best trial so far", .x_label = "trial", .y_label = metric.name, .log_y = metric.log_scale};
  for (const Json& entry : summary.at("table")) {
    Series series{.label = entry.at("competitor"), .x = {}, .y = {}, .style = place_of(comparison, entry)};
    for (const Json& trial : entry.at("tuning").at("trials")) {
      if (trial.at("score").is_null()) continue;
      const double score = trial.at("score"), last = series.y.empty() ? score : series.y.back();
      series.x.push_back(trial.at("trial").get<double>());
      series.y.push_back(metric.higher_is_better ? std::max(score, last) : std::min(score, last));
    }
    if (!series.x.empty()) plot.series.push_back(std::move(series));
  }
  return plot;
}

}  // namespace

std::vector<NamedFigure> curves(const Comparison& comparison, const Json& summary) {
  const auto drawn = [](const std::string& name, LinePlot& plot, const std::string& caption) {
    plot.height += static_cast<int>(20 * (plot.series.size() / 3));  // room for the names
    return NamedFigure{name + ".svg", {draw(plot), caption}};
  };
  const auto picture = [&](const std::string& name, const Measure& measure, const std::string& x_key,
                           const std::string& x_label) {
    LinePlot plot{.title = measure.name + " against " + x_label, .x_label = x_label, .y_label = measure.name};
    plot.log_y = measure.log_scale;
    double start = -std::numeric_limits<double>::infinity();
    for (const Json& entry : summary.at("table")) {
      const size_t place = place_of(comparison, entry);
      const CompetitorRuns& c = comparison.competitors.at(place);
      std::vector<const Trace*> runs;
      for (const Trace& run : c.runs) runs.push_back(&run);
      Series series = median_and_band(runs, x_key, "/metrics/" + measure.key, c.competitor.label);
      if (series.x.empty()) continue;
      series.style = place;
      start = std::max(start, series.y.front());
      plot.series.push_back(std::move(series));
    }
    if (measure.log_scale && start > 0) plot.y_most = 100 * start;
    return drawn(name, plot,
                 comparison.options.seeds > 1 ? "median of the seeds, with all of them in the band" : "");
  };
  const Measure& metric = comparison.facts.metric;
  std::vector<NamedFigure> figures{picture("steps", metric, "/step", "steps"),
                                   picture("samples", metric, "/samples/all", "samples drawn"),
                                   picture("oracle_calls", metric, "/oracle_calls/all", "oracle calls"),
                                   picture("seconds", metric, "/seconds", "training time (s)")};
  for (const Measure& measure : comparison.facts.further)
    figures.push_back(picture(measure.key + "_steps", measure, "/step", "steps"));
  if (comparison.options.tune > 0) {
    LinePlot trials = trials_plot(comparison, summary);
    figures.push_back(drawn("trials", trials, "every trial, with its options, stands below"));
  }
  return figures;
}

}  // namespace bilevel
