// The job behind `bilevel meta`: few-shot learning from files, in one folder.
//
// Options: MetaJobOptions. A run trains an encoder on tasks of the training part, chooses the step by the accuracy on
// validation tasks, and measures it on test tasks beside the baselines. It writes options.json and a checkpoint before step
// 1, and at the end trace.jsonl, summary.json, model.safetensors, model.json, episodes.tsv (the accuracy of every test
// task, and of each baseline there), accuracy.svg, loss.svg, report.html.
//
// `predict` adapts the saved encoder to the labelled rows of `shots` (any number of classes and rows; with a shared head, the
// classes it was trained on) and classifies the rows of `input`. It writes, tab-separated: row (from 1), predicted, one
// column "p(NAME)" per class, and label where the input has it; its summary has shots, classes, rows, predicted,
// mean_probability, and with labels accuracy. The saved model stays as it is.
#include <fmt/format.h>

#include "bilevel/core/device.h"
#include "bilevel/report/escape.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/predicted_rows.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/meta/meta_report.h"
#include "bilevel/task/meta/meta_setup.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPass = "train";
constexpr double kMeasuring = 0.1;     // share of the training part: its model on validation and test tasks
constexpr int64_t kMostMetaParts = 5;  // at a time: the training and four baselines

/// What is said with every prediction.
constexpr const char* kUncalibrated =
    "the probabilities of 'predict --shots' are not calibrated: they order the classes of a row, but are not "
    "the share of rows that are right";

/// What each test task came to, with the model and with each baseline: the paired intervals of the verdict follow from it.
void write_episodes(const MetaSetup& setup, const TaskAccuracy& test, const Json& baselines) {
  Column numbers = row_column(static_cast<int64_t>(test.of_task.size()));
  numbers.name = "episode";
  const auto accuracies = [](const std::string& name, const std::vector<double>& of_task) {
    return number_column(name, torch::tensor(of_task, torch::kFloat64), 6);
  };
  std::vector<Column> columns{std::move(numbers), accuracies("accuracy", test.of_task)};
  for (const auto& [name, measured] : baselines.items())
    columns.push_back(accuracies(name, measured.at("of_task").get<std::vector<double>>()));
  write_tsv(setup.path("episodes.tsv"), columns);
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

void set_variables(const MetaModel& model, const Problem& problem, const PassOutcome& chosen) {
  set_from_flat(problem.upper.parameters, chosen.upper);
  if (model.shared()) set_from_flat(problem.lower.parameters, chosen.lower);
}

/// The training: its passes, and the accuracies of the chosen step on validation and test tasks.
Json train(MetaSetup& setup, const std::string& part) {
  const MetaJobOptions& o = setup.options();
  const std::unique_ptr<MetaModel> model = setup.model(o.seed);
  const Problem problem = setup.problem(*model);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  Passes passes = setup.context().passes(part);
  setup.context().phases->stretch(1 - kMeasuring);
  const PassOutcome* chosen = passes.run({.name = kPass,
                                          .shown = "training",
                                          .steps = setup.default_steps(),
                                          .schedule_steps = setup.default_steps(),
                                          .evaluations = 10,
                                          .max_seconds = o.seconds_allowed(),
                                          .seed = o.seed},
                                         problem, *method, [&] { return setup.evaluate(*model); });
  Json answer = answer_of(passes);
  if (chosen == nullptr) return answer;
  set_variables(*model, problem, *chosen);
  setup.context().phases->stretch(kMeasuring);
  answer["valid"] = setup.accuracy(*model, setup.valid(), o.valid_episodes).of_task;
  answer["test"] = setup.test_accuracy(*model).of_task;
  return answer;
}

PartWork meta_work(MetaSetup& setup) {
  return [&setup](const Part& part) {
    const Json& request = part.request;
    return request.contains("baseline") ? measure_baseline(setup, request.at("baseline"))
                                        : train(setup, part.name);
  };
}

/// The training and the baselines beside it.
struct Made {
  const PassOutcome* chosen = nullptr;
  TaskAccuracy valid, test;
  Json baselines = Json::object();
};

Made make_parts(const MetaSetup& setup, JobParts& parts, Passes& passes) {
  std::vector<Part> all{{.name = kPass, .shown = "training", .request = Json::object()}};
  for (Part& part : baseline_parts(setup)) all.push_back(std::move(part));
  Made made;
  setup.context().phases->plan({{kReportPhase, 0.02}});
  parts.make(all, [&](size_t i, const Json& answer) {
    if (i > 0) {
      made.baselines.update(answer);
      return true;
    }
    made.chosen = passes.adopt(kPass, answer.at("passes"));
    if (made.chosen == nullptr) return false;
    made.valid = TaskAccuracy(answer.at("valid").get<std::vector<double>>());
    made.test = TaskAccuracy(answer.at("test").get<std::vector<double>>());
    return true;
  });
  return made;
}

JobResult run_meta(MetaSetup& setup, JobParts& parts) {
  const MetaJobOptions& o = setup.options();
  const JobContext& context = setup.context();
  const std::unique_ptr<MetaModel> model = setup.model(o.seed);
  const Problem problem = setup.problem(*model);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  setup.note(out_of_theory(*method, setup.traits(problem)));

  const FolderLock lock = context.open(o, setup.files());
  Passes passes({.trace = context.path("trace.jsonl")});
  Made made;
  try {
    made = make_parts(setup, parts, passes);
  } catch (const Interrupted& stop) {
    return interrupted(context, o, passes, stop.message);
  }
  if (made.chosen == nullptr) return unfinished(context, o, passes);
  context.phases->begin(kReportPhase, "writing the report");
  set_variables(*model, problem, *made.chosen);
  Json summary = summary_of(context, o, passes);
  summary["best_step"] = made.chosen->chosen_step;
  summary["metrics"] = {{"valid", accuracy_json(made.valid)}, {"test", accuracy_json(made.test)}};
  write_episodes(setup, made.test, made.baselines);
  const std::optional<MetaRival> rival = compare_with_baselines(made.test, made.baselines);
  summary["baselines"] = made.baselines;
  summary["verdict"] = verdicts_of(made.baselines);
  describe(setup, *model, summary);
  for (const std::string& note : setup.notes()) summary["warnings"].push_back(note);
  summary["notes"] = Json::array({about_intervals(setup), kUncalibrated});  // of every run: no warnings
  note_absent_baselines(setup, summary);
  save(setup, *model);
  note_time(context, summary);
  write_meta_report(setup, summary, rival);
  return finished(context, passes, summary, meta_text(setup, summary, rival));
}

/// The classes of the rows that a model adapts to; those that it knows, where it has a head for these.
ClassLabels classes_of_shots(const DataFile& shots, const std::string& label,
                             const std::vector<std::string>* known) {
  if (const auto* table = std::get_if<Table>(&shots)) {
    const size_t column = table->column(label);
    return known != nullptr ? read_classes(*table, column, *known, "the model")
                            : read_classes(*table, column);
  }
  const auto& sparse = std::get<SparseTable>(shots);
  return known != nullptr ? read_classes(sparse, *known, "the model") : read_classes(sparse);
}

Prediction predict_meta(const PredictRequest& request) {
  const SavedModel saved = model_of(request);
  const MetaModelOptions options{.network = saved.network,
                                 .head = value_named<HeadKind>(saved.at<std::string>("head"), "head"),
                                 .pair = saved.at<bool>("pair"),
                                 .l2 = saved.at<double>("l2")};
  const auto label = saved.at<std::string>("label");
  const auto known = saved.at<std::vector<std::string>>("classes");
  MetaModel model(options, saved.features.shape(), static_cast<int64_t>(known.size()), 0,
                  device_named(request.device));
  model.load(saved.tensors);

  const auto inputs_of = [&](const DataFile& file) {
    return meta_rows(saved.features, {&file}, options.pair, saved.features.apply(file));
  };
  const DataFile labelled = read_input(saved, request.shots, request.read);
  const ClassLabels classes = classes_of_shots(labelled, label, model.shared() ? &known : nullptr);
  PredictedRows predicted(saved, request);
  const KnownLabels truth = predicted.labels(classes.names, request.shots);
  const MetaRows rows = inputs_of(predicted.file());
  const auto count = static_cast<int64_t>(classes.names.size());
  const torch::Tensor probabilities = torch::softmax(
      model
          .adapted_scores(inputs_of(labelled), classes.classes, count, rows, saved.at<int64_t>("adapt_steps"))
          .to(torch::kFloat64),
      1);
  Json result{{"command", "predict"},
              {"rows", predicted.rows()},
              {"predicted", predicted_counts(probabilities, classes.names)},
              {"out", request.out},
              {"shots", classes.rows()},
              {"classes", classes.names},
              {"mean_probability", probabilities.amax(1).mean().item<double>()},
              {"notes", Json::array({kUncalibrated})}};
  std::string text = fmt::format("adapted to {} rows of {} classes; {} rows classified, written to {}\n",
                                 classes.rows(), count, predicted.rows(), request.out);
  if (!truth.rows.empty()) {
    result["accuracy"] =
        class_scores(at_rows(probabilities, truth.rows), classes_at(truth.classes, truth.rows)).accuracy;
    text +=
        fmt::format("accuracy on their labels: {:.4f}, mean probability of the predicted classes: {:.4f}\n",
                    result["accuracy"].get<double>(), result["mean_probability"].get<double>());
  }
  return predicted.finish(class_columns(probabilities, classes.names), truth, classes.names,
                          std::move(result), text + kUncalibrated + "\n");
}

/// Where there are texts in several domains, or of many classes. A fifth of these, and enough for a task, go to each of
/// validation and test.
std::optional<Suggestion> suggest_meta(const DataDescription& d) {
  constexpr int64_t kShots = 5, kRows = kShots + 10;  // of a class in a task, with the queries
  if (d.texts.empty()) return std::nullopt;
  const auto domain = std::ranges::find_if(d.columns, [&](const DescribedColumn& column) {
    return column.type == ColumnKind::category && column.distinct >= 4 && column.of_class >= kRows;
  });
  const bool domains = domain != d.columns.end();
  const auto classes = static_cast<int64_t>(d.classes.size());
  if (!domains && (classes < 9 || d.classes.back().rows < kRows)) return std::nullopt;
  return Suggestion{
      (d.texts.size() == 2 ? " --pair " + shell_word(d.texts[1]) : "") +
          (domains ? " --domain " + shell_word(domain->name) : "") +
          fmt::format(" --ways {} --shots {}", std::min<int64_t>(5, domains ? classes : classes / 3), kShots),
      domains ? fmt::format("learn an encoder that adapts to new values of '{}'", domain->name)
              : fmt::format("learn to tell new classes apart from few examples ({} classes)", classes)};
}

}  // namespace

JobEntry meta_entry() {
  return {
      .name = "meta",
      .summary = "learn an encoder for tasks with few labelled rows",
      .first_try = "--data headlines.tsv --text text --label topic --ways 5 --shots 5 --embedding glove.txt",
      .score = "accuracy",
      .make =
          [] {
            return std::make_unique<JobInParts<MetaJobOptions, MetaSetup>>(run_meta, meta_work,
                                                                           kMostMetaParts);
          },
      .predict = predict_meta,
      .predicts_from_shots = true,
      .in_parts = true,
      .measure = JobMeasure{"/metrics/test/accuracy", "accuracy on test tasks"},
      .tested = "episodes.tsv",
      .suggest = suggest_meta};
}

}  // namespace bilevel
