#include "bilevel/task/tune/tune_report.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/tune/tune_evidence.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// The strengths but the common one, smallest first and largest first, at most `count` and half of them each; none
/// where there are fewer than two, or all are the same.
std::pair<std::vector<LearnedValue>, std::vector<LearnedValue>> extremes(
    const std::vector<LearnedValue>& values, size_t count) {
  std::vector<LearnedValue> strengths;
  for (const LearnedValue& v : values) {
    if (v.kind == "strength" && v.name != "common") strengths.push_back(v);
  }
  if (strengths.size() < 2) return {};
  std::stable_sort(strengths.begin(), strengths.end(),
                   [](const LearnedValue& a, const LearnedValue& b) { return a.value < b.value; });
  if (strengths.front().value == strengths.back().value) return {};
  const auto least = static_cast<std::ptrdiff_t>(std::min(count, (strengths.size() + 1) / 2));
  const auto greatest = static_cast<std::ptrdiff_t>(std::min(count, strengths.size() / 2));
  return {{strengths.begin(), strengths.begin() + least},
          {strengths.rbegin(), strengths.rbegin() + greatest}};
}

/// What learned and baselines came to: `add` gets a name, number_of("valid" or "test", "loss" or "accuracy") and passes.
template <typename Add>
void for_each_score(const Json& summary, const Add& add) {
  const auto one = [&](const std::string& name, const Json& scores, const Json& passes) {
    const auto number = [&](const char* part, const char* key) {
      const Json& value = scores.at(part).at(key);
      return value.is_number() ? value.get<double>() : std::nan("");
    };
    add(name, number, passes.is_number() ? std::optional(std::llround(passes.get<double>())) : std::nullopt);
  };
  one(summary.at("tune").get<std::string>() + ", learned", summary.at("metrics"), summary.at("passes"));
  for (const auto& [key, found] : summary.at("baselines").items()) {
    if (found.contains("points")) {
      one(fmt::format("{}, {} points", key, found.at("points").template get<int64_t>()), found,
          found.at("passes"));
    } else {
      std::string name = key;
      std::ranges::replace(name, '_', ' ');
      one(name, found, nullptr);
    }
  }
}

std::string values_table(const std::string& heading, const std::vector<LearnedValue>& values) {
  if (values.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const LearnedValue& v : values)
    rows.push_back({escape_markup(v.name), v.kind == "left_out" ? grouped(static_cast<int64_t>(v.value))
                                                                : fmt::format("{:.3g}", v.value)});
  return fmt::format("<h3>{}</h3>\n{}", heading, table_markup({{"name", "text"}, {"value", "number"}}, rows));
}

std::string scores_markup(const Json& summary) {
  std::vector<std::vector<std::string>> scores;
  for_each_score(summary, [&](const std::string& name, const auto& number, const auto& passes) {
    scores.push_back({escape_markup(name), metric_text(number("valid", "loss")),
                      metric_text(number("test", "loss")), percent(number("test", "accuracy")),
                      metric_text(number("test", "auc")), passes ? grouped(*passes) : std::string(kAbsent)});
  });
  return table_markup({{"regularization", "heading"},
                       {"validation loss", "number"},
                       {"test loss", "number"},
                       {"test accuracy", "number"},
                       {"test AUC", "number"},
                       {"passes over the data", "number"}},
                      scores) +
         "<p class=\"subtle\">Grid: the best single L2 of a grid; random: the best of random values of all "
         "hyperparameters; gradient boosting: trees on the same features. Loss: mean of -log p of the true "
         "class. A pass is one derivative of as many rows "
         "as "
         "the training part has, whatever its kind; measurements on validation rows count too. The "
         "validation "
         "rows chose the hyperparameters of every line, the test rows none.</p>\n";
}

std::string values_markup(const std::vector<LearnedValue>& values) {
  const auto [least, greatest] = extremes(values, 20);
  std::vector<LearnedValue> others;
  for (const LearnedValue& v : values) {
    if (v.name == "common" || v.kind != "strength") others.push_back(v);
  }
  others.front().name = "common strength of all weights";
  return values_table("Common and other values", others) + values_table("Least regularized", least) +
         values_table("Most regularized", greatest) +
         "<p class=\"subtle\">All of them stand in <code>hyperparameters.tsv</code>.</p>\n";
}

std::string verdict_of_learning(const std::vector<TuneRival>& rivals) {
  if (rivals.empty())
    return "Whether learning the regularization is better than searching it is not known: there is no "
           "baseline.";
  std::string text;
  for (const TuneRival& rival : rivals) {
    if (!text.empty()) text += ' ';
    text += verdict_on(rival.difference, rival.name, "test loss", /*lower_is_better=*/true);
  }
  return text;
}

std::vector<Card> tune_cards(const Json& summary, const std::vector<TuneRival>& rivals) {
  const auto loss = [](const Json& measured) {
    const Json& value = measured.at("test").at("loss");
    return metric_text(value.is_number() ? value.get<double>() : std::nan(""));
  };
  std::vector<Card> cards{
      {loss(summary.at("metrics")), "loss on the test rows (mean of -log p of the true class)"}};
  for (const TuneRival& rival : rivals) {
    const Json& baseline = summary.at("baselines").at(rival.key);
    cards.push_back({loss(baseline), "baseline: " + baseline.at("name").get<std::string>(), /*beside=*/true});
  }
  cards.push_back({percent_text(summary.at("metrics").at("test").at("accuracy").get<double>()),
                   "accuracy on the test rows"});
  return cards;
}

ReportPage tune_page(const TuneSetup& setup, const std::vector<LearnedValue>& values, const Json& summary,
                     const std::vector<TuneRival>& rivals, const std::vector<Figure>& figures) {
  ReportPage page =
      job_page(title_of(setup.options(), setup.options().tune), summary, provenance_of(setup.context().out));
  page.cards = tune_cards(summary, rivals);
  page.verdict = verdict_of_learning(rivals);
  if (summary.contains("not_compared"))
    page.remarks = fmt::format("<p class=\"subtle\">{}</p>\n", text_of(summary.at("not_compared")));
  page.notes = setup.notes();
  const Json rows = setup.cross_fitted()
                        ? Json{{"in folds", setup.data().train.size()}, {"test", setup.test().size()}}
                        : Json{{"training", setup.data().train.size()},
                               {"validation", setup.data().valid.size()},
                               {"test", setup.test().size()}};
  page.sections = {{"What learning the regularization brought", scores_markup(summary)},
                   {"Learned values", values_markup(values)},
                   {"What the model looks at", explanation_markup(summary)},
                   {"Curves", figures_markup(figures)},
                   data_section(summary, table_of("Rows", rows), setup.features().facts()),
                   use_section(summary),
                   cost_section(summary)};
  return page;
}

}  // namespace

std::vector<LearnedValue> learned_values(const TuneSetup& setup, const TuneModel& model) {
  std::vector<LearnedValue> values{{"strength", "common", std::exp(model.x()[0].item<double>())}};
  const torch::Tensor strengths = model.strengths().contiguous();
  const auto strength = [&](size_t i) { return strengths[static_cast<int64_t>(i)].item<double>(); };
  const TuneKind kind = value_named<TuneKind>(setup.options().tune, "tune");
  std::vector<std::string> names;
  if (kind == TuneKind::l2_per_feature || kind == TuneKind::l2_by_evidence) {
    names = setup.features().names(setup.data_files().by_file(setup.data().train));
    const torch::Tensor used = model.used_features();
    for (size_t j = 0; j < names.size(); ++j) {
      if (used[static_cast<int64_t>(j)].item<bool>() && !names[j].empty())
        values.push_back({"strength", names[j], strength(j)});
    }
  } else if (kind == TuneKind::l2_per_class) {
    names = setup.class_names();
    for (size_t c = 0; c < names.size(); ++c) values.push_back({"strength", names[c], strength(c)});
  }
  for (size_t i = 0; i < model.other_groups().size(); ++i)
    values.push_back({"strength", model.other_groups()[i], strength(names.size() + i)});
  const torch::Tensor slopes = model.slopes();
  for (int64_t i = 0; i < slopes.numel(); ++i)
    values.push_back({"slope", kEvidenceNames[i], slopes[i].item<double>()});
  if (kind == TuneKind::label_smoothing) values.push_back({"smoothing", "epsilon", model.smoothing()});
  if (kind == TuneKind::elastic_net) {
    values.push_back({"l1_share", "share of the strength that goes to |w|", model.l1_share()});
    values.push_back(
        {"left_out", "features without a weight", static_cast<double>(model.features_left_out())});
  }
  if (kind == TuneKind::class_weights) {
    const torch::Tensor w = model.class_weights();
    for (size_t c = 0; c < setup.class_names().size(); ++c)
      values.push_back({"class_weight", setup.class_names()[c], w[static_cast<int64_t>(c)].item<double>()});
  }
  return values;
}

Json learned_json(const std::vector<LearnedValue>& values) {
  Json learned{{"common_strength", values.front().value}};
  for (const LearnedValue& v : values) {
    if (v.kind == "smoothing") learned["smoothing"] = v.value;
    if (v.kind == "l1_share") learned["l1_share"] = v.value;
    if (v.kind == "left_out") learned["features_left_out"] = static_cast<int64_t>(v.value);
    if (v.kind == "class_weight") learned["class_weights"][v.name] = v.value;
    if (v.kind == "slope") learned["slopes"][v.name] = v.value;
  }
  const auto [least, greatest] = extremes(values, 10);
  for (const auto& [key, list] : {std::pair{"smallest", &least}, {"largest", &greatest}}) {
    for (const LearnedValue& v : *list) learned[key][v.name] = v.value;
  }
  return learned;
}

void write_hyperparameters(const std::string& path, std::vector<LearnedValue> values) {
  std::stable_sort(values.begin() + 1, values.end(), [](const LearnedValue& a, const LearnedValue& b) {
    const bool strength = a.kind == "strength";
    if (strength != (b.kind == "strength")) return strength;
    return strength && a.value < b.value;
  });
  std::vector<Column> columns{{"kind"}, {"name"}, {"value"}};
  for (const LearnedValue& v : values) {
    columns[0].cells.push_back(v.kind);
    columns[1].cells.push_back(v.name);
    columns[2].cells.push_back(fmt::format("{:.9g}", v.value));
  }
  write_tsv(path, columns);
}

void write_tune_report(const TuneSetup& setup, const std::vector<LearnedValue>& values, const Json& summary,
                       const std::vector<TuneRival>& rivals) {
  const Trace trace = read_trace(setup.path("trace.jsonl"));
  const LinePlot loss{.title = "Validation loss while learning",
                      .x_label = "step",
                      .y_label = "loss",
                      .series = {series_from_trace(trace, "step", "valid_loss", "validation rows")},
                      .markers = {{summary.at("best_step").get<double>(), "chosen step"}}};
  std::vector<NamedFigure> figures{
      {"loss.svg", {draw(loss), "The weights follow the hyperparameters; before their last training."}}};
  Series sizes{.label = "strengths", .x = {}, .y = {}};
  for (const LearnedValue& v : values) {
    if (v.kind == "strength" && v.name != "common") sizes.y.push_back(v.value);
  }
  if (sizes.y.size() > 1) {
    std::sort(sizes.y.begin(), sizes.y.end());
    for (size_t i = 0; i < sizes.y.size(); ++i) sizes.x.push_back(static_cast<double>(i + 1));
    figures.push_back({"strengths.svg",
                       {draw({.title = "Learned strengths, by size",
                              .x_label = "rank",
                              .y_label = "L2 strength",
                              .series = {sizes},
                              .log_y = true}),
                        ""}});
  }
  write_page(setup.context(),
             tune_page(setup, values, summary, rivals, write_figures(setup.context(), figures)));
}

std::string tune_text(const TuneSetup& setup, const Json& summary, const std::vector<TuneRival>& rivals) {
  std::string text = fmt::format("\n{:<26}{:>11}{:>10}{:>10}{:>9}{:>8}\n", "", "valid loss", "test loss",
                                 "accuracy", "AUC", "passes");
  for_each_score(summary, [&](const std::string& name, const auto& number, const auto& passes) {
    text += fmt::format("{:<26}{:>11}{:>10}{:>10}{:>9}{:>8}\n", name, metric_text(number("valid", "loss")),
                        metric_text(number("test", "loss")), percent_text(number("test", "accuracy")),
                        metric_text(number("test", "auc")),
                        passes ? fmt::format("{}", *passes) : std::string(kAbsent));
  });
  text += "\n" + verdict_of_learning(rivals) + "\n";
  if (summary.contains("not_compared")) text += summary.at("not_compared").get<std::string>() + "\n";
  const Json& learned = summary.at("learned");
  text += fmt::format("\ncommon strength {:.3g}", learned.at("common_strength").get<double>());
  for (const auto& [key, title] :
       {std::pair{"smallest", "least regularized"}, {"largest", "most regularized"}}) {
    if (!learned.contains(key)) continue;
    text += fmt::format("\n{}:", title);
    int shown = 0;
    for (const auto& [name, value] : learned.at(key).items()) {
      if (shown++ == 5) break;
      text += fmt::format("{} {} ({:.3g})", shown > 1 ? "," : "", shortened(printable(name), 40),
                          value.get<double>());
    }
  }
  if (learned.contains("slopes")) {
    text += "\nlog strength a standard deviation of:";
    for (const auto& [name, value] : learned.at("slopes").items())
      text += fmt::format(" {} {:+.3g}", name, value.get<double>());
  }
  if (learned.contains("smoothing"))
    text += fmt::format("\nlabel smoothing {:.3g}", learned.at("smoothing").get<double>());
  if (learned.contains("l1_share"))
    text += fmt::format("\nL1 share of the strength {:.3g}; features without a weight: {}",
                        std::round(1e5 * learned.at("l1_share").get<double>()) / 1e5,
                        learned.at("features_left_out").get<int64_t>());
  if (learned.contains("class_weights")) {
    text += "\nclass weights:";
    for (const auto& [name, value] : learned.at("class_weights").items())
      text += fmt::format(" {} {:.3g}", shortened(printable(name), 40), value.get<double>());
  }
  return text + fmt::format("\n\nreport: {}/report.html\n", setup.context().out);
}

}  // namespace bilevel
