#include "bilevel/task/meta/meta.h"

#include <fmt/format.h>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/meta/meta_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// What the intervals are of, and what not.
std::string about_intervals(const MetaSetup& setup) {
  const std::string& units = setup.parts().units;
  const int64_t count = units == "rows"      ? setup.test().rows()
                        : units == "domains" ? static_cast<int64_t>(setup.test().groups().size())
                                             : setup.test().classes();
  return fmt::format(
      "the intervals are over more tasks from the same {} test {}: they say nothing about other {}", count,
      units, units);
}

/// The tasks, the classes or domains of the parts, and the head, into the summary.
void describe(const MetaSetup& setup, const MetaModel& model, Json& summary) {
  const MetaJobOptions& o = setup.options();
  summary["tasks"] = {{"ways", *o.ways},
                      {"shots", o.shots},
                      {"queries", o.queries},
                      {"divided_by", setup.parts().units},
                      {"meta_batch", o.meta_batch}};
  for (const auto& [name, source] :
       {std::pair{"train", &setup.train()}, {"valid", &setup.valid()}, {"test", &setup.test()}}) {
    Json& list = summary["parts"][name] = Json::array();
    for (const TaskGroup& group : source->groups()) {
      if (!group.name.empty()) {
        list.push_back(group.name);
      } else {
        for (const TaskClass& one : group.classes) list.push_back(one.name);
      }
    }
  }
  summary["head"] = {{"kind", name_of(o.head)}};
  if (model.shared()) {
    summary["head"]["l2"] = *o.l2;
  } else {
    summary["head"]["lambda"] = model.lambda();
    summary["head"]["scale"] = model.scale();
  }
}

void save(const MetaSetup& setup, const MetaModel& model) {
  const MetaJobOptions& o = setup.options();
  std::map<std::string, torch::Tensor> head = model.tensors();
  std::erase_if(head, [](const auto& item) { return !item.first.starts_with("task_head."); });
  save_model(setup.context(), o, *model.network(), setup.features(), head,
             {{"head", name_of(o.head)},
              {"pair", !o.pair.empty()},
              {"l2", *o.l2},
              {"adapt_steps", o.adapt_steps},
              {"classes", model.shared() ? setup.parts().classes : std::vector<std::string>{}}});
}

std::string meta_text(const MetaSetup& setup, const Json& summary) {
  const Json& test = summary.at("metrics").at("test");
  std::string text = fmt::format("\ntest accuracy {} over {} tasks{}\n", accuracy_text(test),
                                 test.at("episodes").get<int64_t>(),
                                 setup.parts().units == "rows" ? "" : " of classes or domains never seen");
  for (const auto& [name, measured] : summary.at("baselines").items())
    text += fmt::format("{:<19} {}\n", name, accuracy_text(measured));
  return text + fmt::format("{}\n\nreport: {}/report.html\n", about_intervals(setup), setup.context().out);
}

JobResult run_meta(MetaSetup& setup) {
  const MetaJobOptions& o = setup.options();
  const JobContext& context = setup.context();
  const std::unique_ptr<MetaModel> model = setup.model(o.seed);
  const Problem problem = setup.problem(*model);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  setup.note(out_of_theory(*method, setup.traits(problem)));

  const FolderLock lock = context.open(o, setup.files());
  Passes passes = context.passes();
  const PassOutcome* chosen = passes.run({.name = "train",
                                          .shown = "training",
                                          .steps = setup.default_steps(),
                                          .schedule_steps = setup.default_steps(),
                                          .evaluations = 10,
                                          .max_seconds = o.seconds_allowed(),
                                          .seed = o.seed},
                                         problem, *method, [&] { return setup.evaluate(*model); });
  if (chosen == nullptr) return unfinished(context, o, passes);
  set_from_flat(problem.upper.parameters, chosen->upper);
  if (model->shared()) set_from_flat(problem.lower.parameters, chosen->lower);

  context.say("measuring on test tasks");
  const TaskAccuracy valid = setup.accuracy(*model, setup.valid(), o.valid_episodes);
  const TaskAccuracy test = setup.test_accuracy(*model);
  const std::optional<Json> baselines = measure_baselines(setup);
  if (!baselines) return interrupted(context, o, passes, "interrupted while the baselines were trained");
  Json summary = summary_of(context, o, passes);
  summary["best_step"] = chosen->chosen_step;
  summary["metrics"] = {{"valid", accuracy_json(valid)}, {"test", accuracy_json(test)}};
  summary["baselines"] = *baselines;
  describe(setup, *model, summary);
  for (const std::string& note : setup.notes()) summary["warnings"].push_back(note);
  summary["notes"] = Json::array({about_intervals(setup), kUncalibrated});  // of every run: no warnings
  if (setup.measures("nearest-class-mean") && !baselines->contains("nearest_class_mean"))
    summary["notes"].push_back("no nearest class mean: it needs word vectors (--embedding)");
  save(setup, *model);
  const auto episodes = static_cast<int64_t>(test.of_task.size());
  Column numbers = row_column(episodes);
  numbers.name = "episode";
  write_tsv(setup.path("episodes.tsv"),
            {numbers, number_column("accuracy", torch::tensor(test.of_task, torch::kFloat64), 6)});
  write_meta_report(setup, summary);
  return finished(context, passes, summary, meta_text(setup, summary));
}

/// Where there are texts in several domains, or of many classes.
std::optional<Suggestion> suggest_meta(const DataDescription& d) {
  if (d.texts.empty()) return std::nullopt;
  const auto large = std::ranges::count_if(d.classes, [](const LabelCount& c) { return c.rows >= 20; });
  const auto domain = std::ranges::find_if(d.columns, [&](const DescribedColumn& column) {
    return column.name != d.label && column.type == ColumnType::category && column.label_like &&
           column.distinct >= 4;
  });
  const bool domains = domain != d.columns.end();
  if (!domains && large < 9) return std::nullopt;
  const auto classes = static_cast<int64_t>(d.classes.size());
  return Suggestion{
      (d.texts.size() == 2 ? " --pair " + shell_word(d.texts[1]) : "") +
          (domains ? " --domain " + shell_word(domain->name) : "") +
          fmt::format(" --ways {} --shots 5", domains ? std::min<int64_t>(5, classes) : 5),
      domains ? fmt::format("learn an encoder that adapts to new values of '{}'", domain->name)
              : fmt::format("learn to tell new classes apart from few examples ({} classes)", large)};
}

}  // namespace

JobEntry meta_entry() {
  return {
      .name = "meta",
      .summary = "learn an encoder for tasks with few labelled rows",
      .first_try = "--data headlines.tsv --text text --label topic --ways 5 --shots 5 --embedding glove.txt",
      .score = "accuracy",
      .make = [] { return std::make_unique<JobOf<MetaJobOptions, MetaSetup>>(run_meta); },
      .predict = predict_meta,
      .predicts_from_shots = true,
      .suggest = suggest_meta};
}

}  // namespace bilevel
