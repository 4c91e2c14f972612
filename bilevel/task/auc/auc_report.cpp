#include "bilevel/task/auc/auc_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/files.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

std::vector<Figure> auc_figures(const AucSetup& setup, const AucOutcome& outcome, const AucFigures& figures) {
  const Trace trace = read_trace(setup.path("trace.jsonl"));
  const Trace select = rows_of_pass(trace, "select"), refit = rows_of_pass(trace, "refit");
  const Marker chosen{static_cast<double>(outcome.best_step), "chosen step"};
  LinePlot loss{.title = "Upper loss on the step's batch",
                .x_label = "step",
                .y_label = "loss",
                .series = {series_from_trace(select, "step", "upper_loss", "training rows")},
                .markers = {chosen}};
  if (!refit.rows.empty())
    loss.series.push_back(series_from_trace(refit, "step", "upper_loss", "training + validation rows"));
  const LinePlot curve{.title = "AUC on the validation rows",
                       .x_label = "step",
                       .y_label = "AUC",
                       .series = {series_from_trace(select, "step", "valid_auc", "validation")},
                       .markers = {chosen}};
  std::vector<RocSeries> curves{{setup.options().encoder, roc_curve(figures.test)}};
  for (size_t i = 0; i < figures.baselines.size(); ++i) {
    std::string label = figures.baselines[i].key;
    std::replace(label.begin(), label.end(), '_', ' ');
    curves.push_back({label, roc_curve(figures.baseline_rows[i])});
  }
  const PlotResult roc = draw_roc("ROC on the test rows", curves);
  return write_figures(
      setup.context(),
      {{"roc.svg", {roc, ""}},
       {"auc.svg", {draw(curve), "The chosen step is the latest within one standard error of the best."}},
       {"loss.svg", {draw(loss), ""}}});
}

/// The best-ranked test rows, and those nearest to the threshold.
void add_rows(AucReport& report, const AucSetup& setup, const AucFigures& figures) {
  const ScoredRows& test = figures.kept;
  const std::vector<int64_t>& rows = setup.parts().test;
  const auto row = [&](int64_t at) {
    const auto i = static_cast<size_t>(at);
    return ReportRow{setup.row_text(rows[i]), test.positive(at), test.scores()[i]};
  };
  const size_t shown = std::min<size_t>(12, rows.size());
  for (size_t i = 0; i < shown; ++i) report.best_ranked.push_back(row(test.order()[i]));
  std::vector<int64_t> nearest(test.order().begin(), test.order().end());
  const double at = figures.threshold.valid.threshold;
  const auto distance = [&](int64_t i) { return std::abs(test.scores()[static_cast<size_t>(i)] - at); };
  std::partial_sort(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(shown), nearest.end(),
                    [&](int64_t i, int64_t j) {
                      return std::pair{distance(i), i} < std::pair{distance(j), j};
                    });
  for (size_t i = 0; i < shown; ++i) report.doubtful.push_back(row(nearest[i]));
}

}  // namespace

void write_auc_report(const AucSetup& setup, const AucOutcome& outcome, const AucFigures& figures,
                      const Json& summary) {
  const AucJobOptions& o = setup.options();
  AucReport report{
      .title = title_of(o, o.label.empty() ? o.positive : fmt::format("{} = {}", o.label, o.positive)),
      .positive = o.positive,
      .summary = summary,
      .test = figures.estimate,
      .baselines = figures.baselines,
      .threshold = figures.threshold,
      .data_facts = outcome.features.fitted->facts(),
      .row_name = o.text.empty() ? "row" : o.text,
      .figures = auc_figures(setup, outcome, figures),
      .made = provenance_of(setup.context().out)};
  const auto part = [&](const char* name, const std::vector<int64_t>& rows, const std::string& file) {
    report.parts.push_back({name, static_cast<int64_t>(rows.size()),
                            static_cast<int64_t>(setup.labels_of(rows).sum().item<double>()),
                            file.empty() ? "cut from " + o.train : file});
  };
  part("training", setup.parts().train, o.train);
  part("validation", setup.parts().valid, o.valid);
  part("test", setup.parts().test, o.test);
  add_rows(report, setup, figures);
  write_file_atomically(setup.path("report.html"), auc_report_html(report));
}

}  // namespace bilevel
