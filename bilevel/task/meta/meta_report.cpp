#include "bilevel/task/meta/meta_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {

using Json = nlohmann::ordered_json;

Json accuracy_json(const TaskAccuracy& accuracy) {
  return {{"accuracy", accuracy.mean},
          {"interval", interval_json(accuracy)},
          {"episodes", accuracy.of_task.size()}};
}

std::string accuracy_text(const Json& measured) {
  const Json& interval = measured.at("interval");
  if (interval.is_null()) {
    return fmt::format("{:.4f} (no interval: the tasks do not differ)",
                       measured.at("accuracy").get<double>());
  }
  return fmt::format("{:.4f} (95 % interval {:.4f} to {:.4f})", measured.at("accuracy").get<double>(),
                     interval[0].get<double>(), interval[1].get<double>());
}

std::optional<MetaRival> compare_with_baselines(const TaskAccuracy& model, Json& baselines) {
  std::optional<MetaRival> rival;
  double best = -1;
  for (auto& [name, measured] : baselines.items()) {
    const PairedDifference difference =
        paired_difference(model.of_task, measured.at("of_task").template get<std::vector<double>>(), "tasks");
    measured.erase("of_task");
    measured.update(difference_json(difference));
    if (const double accuracy = measured.at("accuracy"); accuracy > best) {
      best = accuracy;
      rival = {name, difference};
    }
  }
  return rival;
}

namespace {

/// Of a baseline, for a person.
std::string shown_name(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name == "untrained" ? "the untrained encoder" : name == "maml" ? "first-order MAML" : name;
}

std::vector<Figure> meta_figures(const MetaSetup& setup, const Json& summary) {
  const Trace trace = read_trace(setup.path("trace.jsonl"));
  const Marker chosen{summary.at("best_step").get<double>(), "chosen step"};
  const LinePlot accuracy{.title = "Accuracy on validation tasks",
                          .x_label = "step",
                          .y_label = "accuracy",
                          .series = {series_from_trace(trace, "step", "valid_accuracy", "validation")},
                          .markers = {chosen}};
  const LinePlot loss{.title = "Query loss of the step's meta-batch",
                      .x_label = "step",
                      .y_label = "loss",
                      .series = {series_from_trace(trace, "step", "upper_loss", "training tasks")},
                      .markers = {chosen}};
  return write_figures(
      setup.context(),
      {{"accuracy.svg",
        {draw(accuracy), "The chosen step is the latest within one standard error of the best."}},
       {"loss.svg", {draw(loss), ""}}});
}

std::vector<Card> meta_cards(const Json& summary, const std::optional<MetaRival>& rival) {
  const auto card = [](const Json& measured, const std::string& meaning, bool beside) {
    const Json& interval = measured.at("interval");
    return Card{metric_text(measured.at("accuracy").get<double>()),
                meaning + (interval.is_null() ? "\nno interval: the tasks do not differ"
                                              : fmt::format("\n95\u00a0% interval {} to {}",
                                                            metric_text(interval[0].get<double>()),
                                                            metric_text(interval[1].get<double>()))),
                beside};
  };
  const Json& test = summary.at("metrics").at("test");
  std::vector<Card> cards{card(
      test, fmt::format("accuracy on {} test tasks", grouped(test.at("episodes").get<int64_t>())), false)};
  if (rival)
    cards.push_back(
        card(summary.at("baselines").at(rival->name), "best baseline: " + shown_name(rival->name), true));
  return cards;
}

std::string accuracies_markup(const Json& summary) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const Json& measured) {
    const auto range = [&](const char* key, const char* format) {
      const Json interval = measured.value(key, Json());
      return interval.is_array()
                 ? fmt::format(fmt::runtime(format), interval[0].get<double>(), interval[1].get<double>())
                 : std::string(kAbsent);
    };
    rows.push_back({name, metric_text(measured.at("accuracy").get<double>()),
                    range("interval", "{:.4f} to {:.4f}"),
                    range("difference_interval", "{:+.4f} to {:+.4f}")});
  };
  add("<b>this model</b>", summary.at("metrics").at("test"));
  for (const auto& [name, found] : summary.at("baselines").items())
    add(escape_markup(shown_name(name)), found);
  return table_markup({{"on the test tasks", "heading"},
                       {"accuracy", "number"},
                       {"95\u00a0% interval", "number"},
                       {"this model is better by", "number"}},
                      rows);
}

}  // namespace

std::string meta_verdict(const std::optional<MetaRival>& rival) {
  if (!rival) return "Whether the model is better than a baseline is not known: none was measured.";
  return verdict_on(rival->difference, shown_name(rival->name), "accuracy", false, "tasks");
}

std::string about_intervals(const MetaSetup& setup) {
  const std::string& units = setup.parts().units;
  const int64_t count = units == "rows"      ? setup.test().rows()
                        : units == "domains" ? static_cast<int64_t>(setup.test().groups().size())
                                             : setup.test().classes();
  return fmt::format(
      "the intervals are over more tasks from the same {} test {}: they say nothing about other {}", count,
      units, units);
}

std::string meta_text(const MetaSetup& setup, const Json& summary, const std::optional<MetaRival>& rival) {
  const Json& test = summary.at("metrics").at("test");
  std::string text = fmt::format("\ntest accuracy {} over {} tasks{}\n", accuracy_text(test),
                                 test.at("episodes").get<int64_t>(),
                                 setup.parts().units == "rows" ? "" : " of classes or domains never seen");
  for (const auto& [name, measured] : summary.at("baselines").items())
    text += fmt::format("{:<19} {}\n", name, accuracy_text(measured));
  return text + fmt::format("{}\n{}\n\nreport: {}/report.html\n", meta_verdict(rival), about_intervals(setup),
                            setup.context().out);
}

void write_meta_report(const MetaSetup& setup, const Json& summary, const std::optional<MetaRival>& rival) {
  ReportPage page =
      job_page(title_of(setup.options(), "few-shot learning"), summary, provenance_of(setup.context().out));
  page.cards = meta_cards(summary, rival);
  page.verdict = meta_verdict(rival);
  for (const Json& note : summary.at("notes"))
    page.remarks += fmt::format("<p class=\"subtle\">{}</p>\n", text_of(note));
  page.sections = {
      {"Accuracy", accuracies_markup(summary)},
      {"Curves", figures_markup(meta_figures(setup, summary))},
      {"Tasks", table_of("Tasks", summary.at("tasks")) +
                    table_of("Classes or domains of the parts", summary.at("parts")) +
                    table_of("Head", summary.at("head"))},
      data_section(summary, "", setup.features().facts()),
      use_section(summary, "<p>Adapt the encoder to new classes, by a few labelled rows of each:</p>\n", "",
                  "predictions.tsv", " --shots LABELLED_ROWS_FILE"),
      cost_section(summary)};
  write_page(setup.context(), page);
}

}  // namespace bilevel
