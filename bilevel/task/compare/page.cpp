#include "bilevel/task/compare/page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bilevel/task/compare/table.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// Escaped text of a JSON string.
std::string escaped(const Json& value) { return text_of(value); }

std::string options_text(const Json& options) {
  std::vector<std::string> words;
  for (const auto& [key, value] : options.items())
    words.push_back(fmt::format("{} = {}", key, text_of(value)));
  return words.empty() ? "defaults" : fmt::format("{}", fmt::join(words, ", "));
}

std::string result_markup(const Comparison& comparison, const Json& summary) {
  const ContestFacts& facts = comparison.facts;
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
    std::vector<std::string> row{
        text_of(e.at("rank")), line_sample(place_of(comparison, e)) + escaped(name_text(e)),
        fmt::format("<b>{}</b>", mean_text(e, metric)), shown_interval(e.at("interval"), metric)};
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
  return table_markup(columns, rows);
}

std::string fairness_markup(const Comparison& comparison) {
  const CompareOptions& o = comparison.options;
  const ContestFacts& facts = comparison.facts;
  std::string out = "<ul>\n";
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
  return out + "</ul>\n";
}

std::string options_markup(const Comparison& comparison, const Json& summary) {
  const bool tuned = comparison.options.tune > 0;
  std::vector<std::vector<std::string>> rows;
  for (const Json& e : summary.at("table")) {
    const auto given = e.at("set").get<std::vector<std::string>>();
    rows.push_back({escaped(e.at("competitor")),
                    given.empty() ? std::string(kAbsent) : escaped(fmt::format("{}", fmt::join(given, ", "))),
                    tuned ? options_text(e.at("tuned")) : std::string(kAbsent)});
  }
  return table_markup({{"solver", "heading"}, {"given", "text"}, {"chosen by tuning", "text"}}, rows);
}

/// Empty where nothing was tuned.
std::string trials_markup(const Comparison& comparison, const Json& summary) {
  if (comparison.options.tune == 0) return "";
  const Measure& metric = comparison.facts.tuning_metric;
  std::string out;
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
        "<h3>{}{}</h3>\n{}", line_sample(place_of(comparison, e)), escaped(e.at("competitor")),
        table_markup({{"trial", "number"}, {metric.name, "number"}, {"options", "text"}}, trials));
  }
  return out;
}

std::string details_markup(const Comparison& comparison, const Json& summary) {
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
  std::string out = table_of("Data", object_of(comparison.facts.data)) + "<h3>Runs</h3>\n" +
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
  return out;
}

}  // namespace

std::string compare_report_html(const Comparison& comparison, const Json& summary,
                                const std::vector<NamedFigure>& figures, Provenance made) {
  const CompareOptions& o = comparison.options;
  const Measure& metric = comparison.facts.metric;
  ReportPage page{.title = "Comparison: " + comparison.facts.title,
                  .lead = fmt::format(
                      "<p class=\"subtle\">{} solvers, {} {} each, budget of a run: {}.</p>\n",
                      o.competitors.size(), o.seeds, o.seeds == 1 ? "seed" : "seeds", o.budget.describe()),
                  .verdict = verdict_text(summary),
                  .notes = summary.at("notes").get<std::vector<std::string>>(),
                  .made = std::move(made)};
  if (!summary.at("best").is_null()) {
    const Json& best = summary.at("table").at(0);
    page.cards = {
        {best.at("competitor"), fmt::format("{} mean {}: {}", metric.higher_is_better ? "highest" : "lowest",
                                            metric.name, mean_text(best, metric))}};
  }
  std::vector<Figure> pictures;
  for (const NamedFigure& figure : figures) pictures.push_back(figure.figure);
  page.sections = {{"Result", result_markup(comparison, summary)},
                   {"Curves", figures_markup(pictures)},
                   {"How to read this", fairness_markup(comparison)},
                   {"Options", options_markup(comparison, summary)},
                   {"All trials", trials_markup(comparison, summary), /*folded=*/true},
                   {"Data, every run, all options", details_markup(comparison, summary), /*folded=*/true}};
  return html_page(page);
}

}  // namespace bilevel
