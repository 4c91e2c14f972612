#include "bilevel/task/mix/mix_report.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/tensor_json.h"
#include "bilevel/report/escape.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

double mix_number(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

/// Of the measured rows in an answer.
torch::Tensor predicted_by(const Json& answer, const MixMeasured& measured) {
  return tensor_from(answer.at(measured.rows == "test" ? "test" : "predicted"));
}

/// The sources, of most weight first.
std::vector<Json> by_weight(const Json& summary) {
  std::vector<Json> sources = summary.at("sources");
  std::ranges::stable_sort(sources, [](const Json& a, const Json& b) {
    return a.at("weight").get<double>() > b.at("weight").get<double>();
  });
  return sources;
}

std::string mix_interval(const Json& interval, int digits) {
  if (!interval.is_array()) return std::string(kAbsent);
  return fmt::format("{:.{}f} to {:.{}f}", interval[0].get<double>(), digits, interval[1].get<double>(),
                     digits);
}

std::string verdict_of_mixing(const MixBaselines& baselines, const std::string& rows) {
  if (baselines.rivals.empty())
    return "Whether learning the weights is better than equal ones is not known: there is no baseline.";
  std::string text;
  for (const MixRival& rival : baselines.rivals) {
    if (!text.empty()) text += ' ';
    text += verdict_on(rival.difference, rival.name, rows + " accuracy");
  }
  return text;
}

std::string sources_markup(const Json& summary) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& source : by_weight(summary)) {
    const double without = mix_number(source.at("without"));
    rows.push_back(
        {escape_markup(source.at("name").get<std::string>()), grouped(source.at("rows").get<int64_t>()),
         fmt::format("{:.3f}", source.at("weight").get<double>()), mix_interval(source.at("interval"), 3),
         std::isfinite(without) ? fmt::format("{:+.4f}", without) : std::string(kAbsent),
         mix_interval(source.at("without_interval"), 4), metric_text(mix_number(source.at("alone")))});
  }
  return table_markup({{"source", "heading"},
                       {"rows", "number"},
                       {"weight", "number"},
                       {"95 % interval", "number"},
                       {"left out: loss rises by", "number"},
                       {"95 % interval", "number"},
                       {"loss of it alone", "number"}},
                      rows) +
         "<p class=\"subtle\">Weight: what the mean loss of the source counts in training; they sum to 1. "
         "Its interval is a "
         "jackknife over folds of the target rows. Losses are of the target rows, each by a model that has "
         "not seen it; "
         "left out: by how much it rises at the same strength when the others share the weight.</p>\n";
}

std::string mixtures_markup(const Json& summary) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const Json& target, const Json& test) {
    const auto number = [](const Json& scores, const char* key) {
      return scores.is_null() ? std::nan("") : mix_number(scores.at(key));
    };
    rows.push_back({escape_markup(name), metric_text(number(target, "loss")),
                    percent(number(target, "accuracy")), metric_text(number(test, "loss")),
                    percent(number(test, "accuracy"))});
  };
  add("learned weights", summary.at("metrics").at("target"), summary.at("metrics").at("test"));
  for (const auto& [key, baseline] : summary.at("baselines").items())
    add(baseline.at("name"), baseline.at("target"), baseline.at("test"));
  return table_markup({{"mixture", "heading"},
                       {"target loss", "number"},
                       {"target accuracy", "number"},
                       {"test loss", "number"},
                       {"test accuracy", "number"}},
                      rows) +
         "<p class=\"subtle\">Each with the strength that suits it best. Target rows: each by models that "
         "have not seen "
         "it; those of the baselines chose their strength, those of the learned weights neither weights nor "
         "strength.</p>\n";
}

}  // namespace

MixBaselines measure_mixtures(const MixSetup& setup, const MixAnswers& answers, const MixMeasured& measured) {
  MixBaselines result;
  const torch::Tensor test = classes_at(setup.data().classes, setup.test());
  const auto add = [&](const std::string& key, const std::string& name, const Json& answer) {
    Json& entry = result.summary[key];
    entry = {{"name", name},
             {"strength", answer.at("strength")},
             {"target", answer.at("target")},
             {"test", nullptr}};
    if (!setup.test().empty()) {
      result.predictions[key] = tensor_from(answer.at("test"));
      entry["test"] = scores_json(result.predictions[key], test);
    }
    if (!measured.own.defined()) return;
    const PairedDifference d = paired_difference(
        class_hits(measured.own, measured.classes).to(torch::kFloat64),
        class_hits(predicted_by(answer, measured), measured.classes).to(torch::kFloat64), measured.units);
    entry.update(difference_json(d));
    result.rivals.push_back({key, name, d});
  };
  const Json* best = nullptr;
  std::string best_name;
  for (const auto& [key, answer] : answers.mixtures) {
    if (key == "uniform") add(key, "equal weights of all sources", answer);
    if (key == "proportional") add(key, "all rows alike, so that a source weighs by its size", answer);
    if (key == "target") add(key, "the target rows alone", answer);
    if (!key.starts_with("source-")) continue;
    const auto loss = [](const Json& of) { return of.at("target").at("loss").get<double>(); };
    if (best != nullptr && !(loss(answer) < loss(*best))) continue;
    best = &answer;
    best_name = setup.name_of(std::stoul(key.substr(7)) - 1);
  }
  if (best != nullptr) add("best_source", fmt::format("the best single source, {}", best_name), *best);
  return result;
}

Json sources_json(const std::vector<SourceWeight>& weights, const MixAnswers& answers) {
  Json sources = Json::array();
  for (size_t i = 0; i < weights.size(); ++i) {
    const SourceWeight& one = weights[i];
    const PairedDifference& d = one.without;
    Json alone = nullptr;
    const std::string key = one.name == kTargetName ? "target" : fmt::format("source-{}", i + 1);
    for (const auto& [name, answer] : answers.mixtures) {
      if (name == key) alone = answer.at("target").at("loss");
    }
    sources.push_back({{"name", one.name},
                       {"rows", one.rows},
                       {"weight", one.weight},
                       {"interval", std::isfinite(one.low) ? Json{one.low, one.high} : Json(nullptr)},
                       {"without", number_or_null(d.difference)},
                       {"without_interval", d.has_interval() ? Json{d.low, d.high} : Json(nullptr)},
                       {"alone", alone}});
  }
  return sources;
}

void write_sources(const std::string& path, const Json& sources) {
  std::vector<Column> columns{{"source"},  {"rows"},        {"weight"},       {"low"},  {"high"},
                              {"without"}, {"without_low"}, {"without_high"}, {"alone"}};
  const auto cell = [](const Json& value) {
    return value.is_number() ? fmt::format("{:.6g}", value.get<double>()) : "";
  };
  const auto end = [&](const Json& interval, size_t i) {
    return interval.is_array() ? cell(interval[i]) : "";
  };
  for (const Json& s : sources) {
    const std::string cells[] = {s.at("name"),
                                 std::to_string(s.at("rows").get<int64_t>()),
                                 cell(s.at("weight")),
                                 end(s.at("interval"), 0),
                                 end(s.at("interval"), 1),
                                 cell(s.at("without")),
                                 end(s.at("without_interval"), 0),
                                 end(s.at("without_interval"), 1),
                                 cell(s.at("alone"))};
    for (size_t i = 0; i < columns.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  write_tsv(path, columns);
}

void write_mix_report(const MixSetup& setup, const Json& summary, const MixBaselines& baselines) {
  const Trace trace = read_trace(setup.path("trace.jsonl"));
  const LinePlot loss{.title = "Loss of the target rows while learning",
                      .x_label = "step",
                      .y_label = "loss",
                      .series = {series_from_trace(trace, "step", "target_loss", "target rows")},
                      .markers = {{summary.at("best_step").get<double>(), "chosen step"}}};
  const std::vector<Figure> figures = write_figures(
      setup.context(),
      {{"loss.svg",
        {draw(loss), "Each row by a model that has not seen it; the classifiers follow the weights."}}});
  const Json& measured = summary.at("metrics").at(summary.at("measured_on").get<std::string>());
  ReportPage page =
      job_page(title_of(setup.options(), "mixture of sources"), summary, provenance_of(setup.context().out));
  if (!measured.is_null())
    page.cards.push_back(
        {percent_text(measured.at("accuracy").get<double>()),
         fmt::format("accuracy on the {} rows", summary.at("measured_on").get<std::string>())});
  for (const MixRival& rival : baselines.rivals) {
    const Json& scores =
        summary.at("baselines").at(rival.key).at(summary.at("measured_on").get<std::string>());
    page.cards.push_back({percent_text(scores.at("accuracy").get<double>()),
                          fmt::format("baseline: {}", rival.name), /*beside=*/true});
  }
  page.verdict = verdict_of_mixing(baselines, summary.at("measured_on"));
  page.notes = setup.notes();
  int64_t rows = 0;
  for (const std::vector<int64_t>& source : setup.data().sources) rows += static_cast<int64_t>(source.size());
  page.sections = {{"Sources", sources_markup(summary)},
                   {"What learning the weights brought", mixtures_markup(summary)},
                   {"What the model looks at", explanation_markup(summary)},
                   {"Curves", figures_markup(figures)},
                   data_section(summary,
                                table_of("Rows", {{"target", setup.target().size()},
                                                  {"sources", rows},
                                                  {"test", setup.test().size()}}),
                                setup.features().facts()),
                   use_section(summary),
                   cost_section(summary)};
  write_page(setup.context(), page);
}

std::string mix_text(const MixSetup& setup, const Json& summary, const MixBaselines& baselines) {
  std::string text = fmt::format("\n{:<32}{:>8}{:>9}{:>20}{:>14}\n", "source", "rows", "weight",
                                 "95 % interval", "left out");
  constexpr size_t kShown = 20;
  const std::vector<Json> sources = by_weight(summary);
  for (size_t i = 0; i < std::min(kShown, sources.size()); ++i) {
    const Json& s = sources[i];
    const double without = mix_number(s.at("without"));
    text += fmt::format(
        "{:<32}{:>8}{:>9.3f}{:>20}{:>14}\n", shortened(printable(s.at("name").get<std::string>()), 28),
        s.at("rows").get<int64_t>(), s.at("weight").get<double>(), mix_interval(s.at("interval"), 3),
        std::isfinite(without) ? fmt::format("{:+.4f}", without) : std::string(kAbsent));
  }
  if (sources.size() > kShown) text += fmt::format("and {} more in sources.tsv\n", sources.size() - kShown);
  const std::string rows = summary.at("measured_on");
  if (const Json& measured = summary.at("metrics").at(rows); !measured.is_null()) {
    const std::string own = percent_text(measured.at("accuracy").get<double>());
    std::string calibrated;
    if (summary.at("metrics").contains("test_calibrated"))
      calibrated = percent_text(summary.at("metrics").at("test_calibrated").at("accuracy").get<double>());
    text += fmt::format(
        "\n{} accuracy {}{}, L2 strength {:.3g}\n", rows, own,
        calibrated.empty() || calibrated == own
            ? ""
            : fmt::format(" ({} by the calibrated probabilities, which predict goes by)", calibrated),
        summary.at("strength").get<double>());
  }
  text += verdict_of_mixing(baselines, rows) + "\n";
  return text + fmt::format("\nreport: {}/report.html\n", setup.context().out);
}

}  // namespace bilevel
