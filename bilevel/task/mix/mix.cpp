// The job behind `bilevel mix`: how much of each source to train on, learned by gradient, with its baselines and its report.
//
// A run finds the strength that suits equal weights, learns weights and strength together (pass "learn"; the classifiers of
// `MixModel` follow), learns them once more without each fold of the target rows, measures the usual mixtures and what leaving a
// source out costs, trains one classifier on all rows at what was learned, and writes model, sources.tsv, predictions.tsv (with a
// test file), explain.tsv, loss.svg, report.html and summary.json. `predict` is `predict_classes`.
#include <fmt/format.h>
#include <torch/types.h>

#include "bilevel/core/tensor_json.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/mix/mix_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostMixParts = 40;  // at a time

PartWork mix_work(MixSetup& setup) {
  return [&setup](const Part& part) { return mix_part(setup, part); };
}

const PassOutcome* learn(MixSetup& setup, MixModel& model, Passes& passes, const JobParts& parts) {
  const MixOptions& o = setup.options();
  setup.note(out_of_theory(*setup.solver(o.solver), setup.traits(setup.problem(model))));
  if (solver_registry().at(o.solver).lower_descends_upper)
    setup.note(fmt::format(
        "{} moves the classifiers down the loss of the target rows too while it learns; they are trained "
        "anew at what was learned",
        o.solver));
  setup.context().phases->plan(mix_phases(setup, parts.side_by_side()));
  setup.context().phases->begin("start", "starting strength");
  setup.find_strength(model);
  setup.context().say(fmt::format("learning starts at the strength {:.0e}", model.strength()));
  setup.context().phases->begin("learn", "learning");
  return learn_mixture(setup, model, passes,
                       {.name = "learn",
                        .shown = "learning",
                        .steps = setup.default_steps(),
                        .evaluations = kMixEvaluations,
                        .max_seconds = o.seconds_allowed(),
                        .seed = o.seed},
                       model.strength(), /*choose=*/true);
}

/// Of the target rows, fold by fold, by models whose weights and classifiers have not seen them; undefined without folds.
torch::Tensor out_of_fold(const MixAnswers& answers) {
  std::vector<torch::Tensor> predicted;
  for (const Json& fold : answers.folds) {
    if (fold.empty()) return {};
    predicted.push_back(tensor_from(fold.at("predicted")));
  }
  return predicted.empty() ? torch::Tensor() : torch::cat(predicted);
}

/// Null where there are no rows that tell.
Json calibration_of(MixSetup& setup, const torch::Tensor& judged, const torch::Tensor& classes) {
  if (!judged.defined() || judged.size(0) < 4 * kFewRows) {
    setup.note(
        fmt::format("the probabilities are not calibrated: {}",
                    setup.options().intervals
                        ? "fewer than 40 target rows were judged by models that have not seen them"
                        : "no target row is judged by weights that have not seen it (--no-intervals)"));
    return nullptr;
  }
  const Calibration calibration = fit_judged(judged, classes, /*by_others=*/true);
  setup.note(calibration.warning());
  return calibration.to_json();
}

void measure(MixSetup& setup, const torch::Tensor& test, Json& summary) {
  const torch::Tensor classes = classes_at(setup.data().classes, setup.test());
  summary["metrics"]["test"] = scores_json(test, classes);
  if (!summary.at("calibration").is_null())
    summary["metrics"]["test_calibrated"] =
        scores_json(Calibration::from_json(summary.at("calibration")).apply(test), classes);
}

std::vector<int64_t> training_rows(const MixSetup& setup) { return setup.whole(setup.all()).rows(); }

/// Everything that follows from what was learned.
void describe(MixSetup& setup, const MixModel& model, const MixModel& whole, const MixAnswers& answers,
              Json& summary, MixBaselines& baselines) {
  const torch::Tensor judged = out_of_fold(answers),
                      classes = classes_at(setup.data().classes, model.judged());
  const bool tests = !setup.test().empty();
  summary["strength"] = model.strength();
  summary["sources"] = sources_json(source_weights(setup, model, answers), answers);
  summary["metrics"] = {{"target", judged.defined() ? Json(scores_json(judged, classes)) : Json(nullptr)},
                        {"test", nullptr}};
  summary["measured_on"] = tests ? "test" : "target";
  summary["calibration"] = calibration_of(setup, judged, classes);
  MixMeasured measured{
      .own = judged, .classes = classes, .rows = "target", .units = setup.unit_numbers(model.judged())};
  if (tests) {
    const torch::Tensor predicted = whole.probabilities(setup.test());
    measure(setup, predicted, summary);
    measured = {.own = predicted,
                .classes = classes_at(setup.data().classes, setup.test()),
                .rows = "test",
                .units = setup.unit_numbers(setup.test())};
  }
  baselines = measure_mixtures(setup, answers, measured);
  summary["baselines"] = baselines.summary;
  summary["verdict"] = verdicts_of(baselines.summary);
}

void write_files(MixSetup& setup, const MixModel& whole, const MixBaselines& baselines, Json& summary) {
  save_model(setup.context(), setup.options(), *setup.whole_network(whole), setup.features(), {},
             {{"classes", setup.class_names()}, {"calibration", summary.at("calibration")}});
  if (const auto& test = setup.test(); !test.empty()) {
    torch::Tensor predicted = whole.probabilities(test);
    OtherPredictions others = baselines.predictions;
    others["learned"] = predicted;
    if (!summary.at("calibration").is_null())
      predicted = Calibration::from_json(summary.at("calibration")).apply(predicted);
    write_test_predictions(setup.context(), setup.data_files(), test, predicted, setup.class_names(),
                           classes_at(setup.data().classes, test), others);
  }
  write_sources(setup.path("sources.tsv"), summary.at("sources"));
  const std::vector<int64_t> rows = training_rows(setup);
  std::vector<std::string> names = explained_names(setup.features(), setup.data_files(), rows);
  if (setup.columns()) names = setup.columns()->names(names);
  explain_model(setup.context(),
                {.network = *whole.write_network(),
                 .inputs = setup.data().inputs,
                 .rows = rows,
                 .input_names = std::move(names),
                 .outputs = setup.class_names(),
                 .device = torch::kCPU},
                summary);
}

JobResult run_mix(MixSetup& setup, JobParts& parts) {
  const MixOptions& o = setup.options();
  const JobContext& context = setup.context();
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  MixModel model = setup.model(setup.all(), setup.target());

  const FolderLock lock = context.open(o, setup.files());
  Passes passes = context.passes();
  try {
    MixAnswers answers;
    const PassOutcome* learned = learn(setup, model, passes, parts);
    if (learned == nullptr) return unfinished(context, o, passes);
    Json summary = summary_of(context, o, passes);
    summary["best_step"] = learned->chosen_step;
    std::vector<Part> all = mix_parts(setup);
    hand_over(all, model, learned->chosen_step);
    parts.make(all, [&](size_t i, const Json& answer) {
      answers.take(all[i], answer);
      return true;
    });
    context.phases->begin(kReportPhase, "writing the report");
    MixModel whole = setup.whole(setup.all());
    whole.set(model.weights(), model.strength());
    setup.minimize(whole, kMixEffort.finish);
    MixBaselines baselines;
    describe(setup, model, whole, answers, summary, baselines);
    write_files(setup, whole, baselines, summary);
    for (const std::string& warning : passes.warnings()) setup.note(warning, /*say=*/false);
    summary["warnings"] = setup.notes();
    note_time(context, summary);
    write_mix_report(setup, summary, baselines);
    return finished(context, passes, summary, mix_text(setup, summary, baselines));
  } catch (const Interrupted&) {
    return interrupted(context, o, passes, "interrupted");
  }
}

}  // namespace

JobEntry mix_entry() {
  return {
      .name = "mix",
      .summary = "learn how much of each source to train on, for a few rows of a target",
      .first_try = "--target mine.csv --sources others.csv --source origin --label class",
      .score = "loss",
      .score_is_loss = true,
      .make =
          [] { return std::make_unique<JobInParts<MixOptions, MixSetup>>(run_mix, mix_work, kMostMixParts); },
      .predict = predict_classes,
      .linear = true,
      .in_parts = true,
      .measure = JobMeasure{"/metrics/test/accuracy", "test accuracy"}};
}

}  // namespace bilevel
