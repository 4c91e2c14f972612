#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bilevel/report/escape.h"
#include "bilevel/report/intervals.h"
#include "bilevel/task/job/cross_validation.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

PairedDifference difference_of(const Json& baseline) {
  const Json& interval = baseline.at("difference_interval");
  PairedDifference d{.difference = baseline.at("difference")};
  if (interval.is_null()) {
    d.no_interval = "it is the same in all runs";
  } else {
    d.low = interval.at(0);
    d.high = interval.at(1);
  }
  return d;
}

std::string verdicts_text(const Json& validated, const char* between) {
  std::string text;
  for (const auto& [key, baseline] : validated.at("baselines").items()) {
    if (!text.empty()) text += between;
    text += verdict_on(difference_of(baseline), baseline.at("name"),
                       "mean " + validated.at("measure").get<std::string>(), validated.at("lower_is_better"),
                       "folds");
  }
  return text.empty() ? "Whether the model is better than a baseline is not known: none was measured." : text;
}

/// "5 folds", "5 folds, 2 repeats".
std::string runs_text(const Json& validated) {
  const auto repeats = validated.at("repeats").get<int64_t>();
  return fmt::format("{} folds{}", validated.at("folds").get<int64_t>(),
                     repeats == 1 ? "" : fmt::format(", {} repeats", repeats));
}

/// What the figures are of.
std::string meaning_text(const Json& validated) {
  const auto folds = validated.at("folds").get<int64_t>();
  return fmt::format(
      "The intervals are for models of {}/{} of the data each, which share training rows (corrected t "
      "interval of Nadeau and Bengio). "
      "The model that is saved was trained on all; no rows are left to measure it on.",
      folds - 1, folds);
}

std::string interval_of(const Json& interval, const char* format = "{:.4f} to {:.4f}") {
  if (interval.is_null() || interval.at(0).is_null()) return std::string(kAbsent);
  const double low = interval.at(0), high = interval.at(1);
  return fmt::format(fmt::runtime(format), low, high);
}

std::string baselines_markup(const Json& validated) {
  if (validated.at("baselines").empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, baseline] : validated.at("baselines").items()) {
    std::string verdict = baseline.at("verdict").get<std::string>();
    std::ranges::replace(verdict, '_', ' ');
    rows.push_back({text_of(baseline.at("name")),
                    fmt::format("{:+.4f}", baseline.at("difference").get<double>()),
                    interval_of(baseline.at("difference_interval"), "{:+.4f} to {:+.4f}"), verdict});
  }
  return table_markup({{"baseline", "heading"},
                       {"mean difference", "number"},
                       {"95\u00a0% interval", "number"},
                       {"the model is"}},
                      rows);
}

std::string runs_markup(const Json& validated) {
  std::vector<TableColumn> columns{
      {"repeat", "number"}, {"fold", "number"}, {validated.at("measure").get<std::string>(), "number"}};
  for (const auto& [key, baseline] : validated.at("baselines").items())
    columns.push_back({"less " + baseline.at("name").get<std::string>(), "number"});
  std::vector<std::vector<std::string>> rows;
  for (const Json& run : validated.at("runs")) {
    rows.push_back(
        {text_of(run.at("repeat")), text_of(run.at("fold")), metric_text(run.at("value").get<double>())});
    for (const auto& [key, baseline] : validated.at("baselines").items())
      rows.back().push_back(fmt::format("{:+.4f}", run.at("differences").at(key).get<double>()));
  }
  return table_markup(columns, rows) +
         "<p class=\"subtle\">Each run has a report of its own, in the folder "
         "<code>folds/REPEAT-FOLD</code>.</p>\n";
}

}  // namespace

Json cross_validated(const std::vector<FoldRun>& runs, int64_t folds, int64_t repeats,
                     const JobMeasure& measure) {
  const double test_share = 1 / static_cast<double>(folds - 1);
  std::vector<double> values;
  std::map<std::string, std::vector<double>> differences;
  Json listed = Json::array(), names = Json::object();
  for (const FoldRun& run : runs) {
    values.push_back(run.summary.at(Json::json_pointer(measure.pointer)));
    Json of_run{{"repeat", run.repeat}, {"fold", run.fold}, {"value", values.back()}};
    of_run["differences"] = Json::object();
    const Json measured = run.summary.value("baselines", Json::object());
    for (const auto& [key, baseline] : measured.items()) {
      if (!baseline.contains("difference") || !baseline.at("difference").is_number()) continue;
      names[key] = baseline.value("name", key);
      differences[key].push_back(baseline.at("difference"));
      of_run["differences"][key] = differences[key].back();
    }
    listed.push_back(of_run);
  }
  MeanInterval mean = resampled_interval(values, test_share);
  if (!measure.lower_is_better) {
    mean.low = std::max(mean.low, 0.0);
    mean.high = std::min(mean.high, 1.0);
  }
  Json baselines = Json::object();
  for (const auto& [key, name] : names.items()) {
    if (differences.at(key).size() < runs.size()) continue;
    baselines[key] = {{"name", name}};
    baselines[key].update(
        difference_json(resampled_difference(differences.at(key), test_share), measure.lower_is_better));
  }
  return {{"folds", folds},
          {"repeats", repeats},
          {"measure", measure.name},
          {"lower_is_better", measure.lower_is_better},
          {"runs", listed},
          {"mean", mean.mean},
          {"interval", {mean.low, mean.high}},
          {"baselines", baselines}};
}

std::string cross_validation_text(const Json& summary, const std::string& out) {
  const Json& validated = summary.at("cross_validation");
  std::vector<double> values;
  for (const Json& run : validated.at("runs")) values.push_back(run.at("value"));
  const auto [least, most] = std::ranges::minmax_element(values);
  std::string text = fmt::format(
      "\n{}: {} {:.4f} on average (95 % interval {}; the {} runs from {:.4f} to {:.4f})\n{}\n{}\n",
      runs_text(validated), validated.at("measure").get<std::string>(), validated.at("mean").get<double>(),
      interval_of(validated.at("interval")), values.size(), *least, *most, verdicts_text(validated, "\n"),
      meaning_text(validated));
  for (const Json& warning : summary.at("warnings"))
    text += fmt::format("warning: {}\n", printable(warning.get<std::string>()));
  return text + fmt::format("\nreport: {}/report.html\n", out);
}

void write_cross_validation_report(const JobContext& context, const JobOptions& options,
                                   const Json& summary) {
  const Json& validated = summary.at("cross_validation");
  ReportPage page = job_page(title_of(options, runs_text(validated)), summary, provenance_of(context.out));
  const auto measure = validated.at("measure").get<std::string>();
  const double mean = validated.at("mean");
  page.cards = {
      {metric_text(mean), fmt::format("{}, mean of {} runs\n95\u00a0% interval {}", measure,
                                      validated.at("runs").size(), interval_of(validated.at("interval")))}};
  for (const auto& [key, baseline] : validated.at("baselines").items()) {
    page.cards.push_back({metric_text(mean - baseline.at("difference").get<double>()),
                          "baseline: " + baseline.at("name").get<std::string>(), /*beside=*/true});
  }
  page.verdict = verdicts_text(validated, " ");
  page.remarks = fmt::format("<p>{}</p>\n", escape_markup(meaning_text(validated)));
  page.sections = {{"Cross-validation", baselines_markup(validated) + runs_markup(validated)},
                   data_section(summary, "", {}),
                   use_section(summary),
                   cost_section(summary)};
  write_page(context, page);
}

}  // namespace bilevel
