#include "bilevel/task/meta/meta_report.h"

#include <fmt/format.h>

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

void write_meta_report(const MetaSetup& setup, const Json& summary) {
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
  const std::vector<Figure> figures = write_figures(
      setup.context(),
      {{"accuracy.svg",
        {draw(accuracy), "The chosen step is the latest within one standard error of the best."}},
       {"loss.svg", {draw(loss), ""}}});
  Json measured{{"this model", accuracy_text(summary["metrics"]["test"])}};
  for (const auto& [name, found] : summary["baselines"].items()) measured[name] = accuracy_text(found);
  const std::string body =
      run_markup(summary) + "<section>\n" + table_of("Accuracy on test tasks", measured) +
      table_of("Tasks", summary["tasks"]) + table_of("Classes or domains of the parts", summary["parts"]) +
      table_of("Head", summary["head"]) + notes_markup(summary["warnings"].get<std::vector<std::string>>()) +
      notes_markup(summary["notes"].get<std::vector<std::string>>()) +
      table_of("Features", object_of(setup.features().facts())) + columns_markup(summary) + "</section>\n" +
      figures_section("Training", figures) + "<section>\n" + table_of("Options", summary["options"]) +
      "</section>\n";
  write_file_atomically(setup.path("report.html"),
                        html_page("Few-shot learning: " + setup.options().train, body));
}

}  // namespace bilevel
