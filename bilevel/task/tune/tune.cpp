// The job behind `bilevel tune`: regularization learned by gradient, with its baselines and its report.
//
// A run trains the weights at the starting strength (convex models), learns hyperparameters and weights together (pass
// "learn"), trains the weights at the learned hyperparameters (convex models), lets the baselines spend as many passes,
// and writes model, predictions.tsv, hyperparameters.tsv, explain.tsv, plots, report.html and summary.json. `predict` is
// `predict_classes`.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <optional>

#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/boosting.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/tune/tune_baselines.h"
#include "bilevel/task/tune/tune_learning.h"
#include "bilevel/task/tune/tune_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostTuneParts = 100;  // at a time: two searches, at most 50 points each

/// In passes over the data, which the parts spend side by side.
void plan_phases(const TuneSetup& setup, const TuneModel& model, Solver& method, double side_by_side) {
  const Spent expected = expected_passes(setup, method);
  for (const Part& fold : folds(setup, method, {})) setup.context().phases->plan({{fold.name, fold.cost}});
  setup.context().phases->plan({{"start", side_by_side * expected.start},
                                {"learn", side_by_side * expected.learn},
                                {"finish", side_by_side * expected.finish},
                                {kReportPhase, side_by_side}});
  setup.context().phases->plan(
      baseline_phases(setup, model, setup.options().baseline_passes * expected.all()));
}

/// Learns hyperparameters and weights, which the model then has.
Learned learn_all(TuneSetup& setup, TuneModel& model, const Problem& problem, Solver& method,
                  double side_by_side, Passes& passes) {
  const TuneJobOptions& o = setup.options();
  setup.note(out_of_theory(method, setup.traits(problem)));
  if (!setup.convex() && solver_registry().at(o.solver).lower_descends_upper) {
    setup.note(
        fmt::format("{} moves the weights down the validation loss too: the validation figures are those of "
                    "rows that were fitted",
                    o.solver));
  }
  plan_phases(setup, model, method, side_by_side);
  const LearningPlan plan{.pass = {.name = "learn",
                                   .shown = "learning",
                                   .steps = setup.default_steps(),
                                   .max_seconds = o.seconds_allowed(),
                                   .seed = o.seed}};
  return learn(setup, model, problem, method, plan, passes,
               [&](const char* name, const char* shown, double Spent::*) {
                 setup.context().phases->begin(name, shown);
               });
}

/// Makes the baselines, or judges a fold of the validation rows.
PartWork tune_work(TuneSetup& setup) {
  return [&setup, model = std::shared_ptr<TuneModel>()](const Part& part) mutable -> Json {
    if (part.request.contains("fold")) return judge_fold(setup, part);
    if (!model) model = std::make_shared<TuneModel>(setup.model(setup.options().seed));
    return baseline_answer(setup, *model, part);
  };
}

/// What is made once the hyperparameters are learned.
struct Afterwards {
  std::vector<Json> folds;
  TuneBaselines baselines;
};

Afterwards make_parts(const TuneSetup& setup, JobParts& all, Solver& method, const TuneModel& model,
                      const Learned& learned) {
  std::vector<Part> parts = folds(setup, method, learned);
  const size_t count = parts.size();
  for (Part& part : baseline_parts(setup, model, setup.options().baseline_passes * learned.spent.all()))
    parts.push_back(std::move(part));
  std::vector<Phase> phases{{"grid", 0}, {"random", 0}};  // made of the parts
  for (const Part& part : parts) phases.push_back({part.name, part.cost});
  setup.context().phases->plan(phases);
  Afterwards made;
  all.make(parts, [&](size_t i, const Json& answer) {
    if (i < count)
      made.folds.push_back(answer);
    else
      made.baselines.take(parts[i], answer);
    return true;
  });
  if (std::ranges::any_of(made.folds, [](const Json& answer) { return answer.empty(); })) made.folds.clear();
  return made;
}

/// Which model is saved, into the summary: what was learned or, with `TuneJobOptions::keep_best`, the point of the search with the least
/// validation loss, where that is less than what was learned has; the model then is that one. True: it is.
bool keep_best(TuneSetup& setup, TuneModel& model, const TuneBaselines& baselines, Json& summary) {
  const double own = summary.at("metrics").at("valid").at("loss");
  const bool wanted = setup.options().keep_best;
  const auto best =
      std::ranges::min_element(baselines.found, {}, [](const auto& one) { return one.second.valid_loss; });
  const bool better = best != baselines.found.end() && best->second.valid_loss < own;
  summary["kept"] = {{"model", wanted && better ? best->first : "learned"},
                     {"why", !wanted                   ? "--keep-best was not given"
                             : baselines.found.empty() ? "nothing was searched (--baseline-passes 0)"
                             : better                  ? "its validation loss is the lowest"
                                                       : "no search has a lower validation loss"}};
  if (!better) return false;
  setup.note(fmt::format("{} search has a lower validation loss ({:.4f}) than what was learned ({:.4f}){}",
                         best->first, best->second.valid_loss, own,
                         setup.options().folds ? ""
                         : wanted              ? "; its model is saved (--keep-best)"
                                               : "; --keep-best saves its model instead"));
  if (!wanted) return false;
  model.set_x(best->second.x);
  model.set_y(best->second.y);
  return true;
}

Calibration calibrate(TuneSetup& setup, const TuneModel& model, const std::vector<Json>& folds,
                      bool searched) {
  if (searched) {
    setup.note(
        "the probabilities are calibrated, by a temperature, on the validation rows that chose the model of "
        "the search; on new rows they may be too sure");
  } else if (folds.empty() && !setup.cross_fitted() && !setup.validates_plenty()) {
    setup.note(
        "the probabilities are calibrated, by a temperature, on the validation rows that the hyperparameters "
        "were fitted to: there are "
        "too few of them (below 40), or of their groups, to judge each by hyperparameters that others chose; "
        "on new rows they may be "
        "too sure");
  }
  const Calibration calibration = calibration_of(setup, model, searched ? std::vector<Json>() : folds);
  setup.note(calibration.warning());
  return calibration;
}

void explain(const TuneSetup& setup, TuneModel& model, Json& summary) {
  explain_model(setup.context(),
                {.network = *model.write_network(),
                 .inputs = setup.data().inputs,
                 .rows = setup.data().train,
                 .input_names = explained_names(setup.features(), setup.data_files(), setup.data().train),
                 .outputs = setup.class_names(),
                 .device = setup.options().torch_device()},
                summary);
}

/// What learning came to, into the summary.
void add_figures(TuneSetup& setup, const TuneModel& model, const Learned& learned, Json& summary) {
  const auto measured = [&](const torch::Tensor& probabilities, const std::vector<int64_t>& rows) {
    return scores_json(probabilities, classes_at(setup.data().classes, rows));
  };
  const std::vector<int64_t>&train = setup.data().train, &test = setup.test();
  summary["metrics"] = {{"train", measured(model.probabilities(train), train)},
                        {"valid", measured(model.held_out(), setup.data().valid)},
                        {"test", measured(model.probabilities(test), test)}};
  summary["cross_fitted"] = setup.cross_fitted();
  if (learned.settled) {
    summary["settled"] = learned.settled->to_json();
    if (learned.settled->common) {
      setup.note(
          "what was learned is not better on held-out rows than one common strength, by more than one "
          "standard error: the common strength is kept");
    }
  }
  const Spent& spent = learned.spent;
  summary["passes"] = spent.all();
  summary["passes_apart"] = {{"start", spent.start}, {"learn", spent.learn}, {"finish", spent.finish}};
}

JobResult run_tune(TuneSetup& setup, JobParts& parts) {
  const TuneJobOptions& o = setup.options();
  const JobContext& context = setup.context();
  TuneModel model = setup.model(o.seed);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  const Problem problem = setup.problem(model);
  { Oracles(problem, o.seed); }  // what is impossible is refused before there is a folder

  const FolderLock lock = context.open(o, setup.files());
  Passes passes = context.passes();
  const Learned learned = learn_all(setup, model, problem, *method, parts.side_by_side(), passes);
  if (learned.outcome == nullptr) return unfinished(context, o, passes);
  Json summary = summary_of(context, o, passes);
  summary["tune"] = o.tune;
  summary["best_step"] = learned.outcome->chosen_step;
  add_figures(setup, model, learned, summary);
  Afterwards made;
  try {
    made = make_parts(setup, parts, *method, model, learned);
  } catch (const Interrupted&) {
    return interrupted(context, o, passes, "interrupted after the strengths were learned");
  }
  const MeasuredBaselines baselines = measure_baselines(setup, model, made.baselines);
  summary["baselines"] = baselines.summary;
  summary["verdict"] = verdicts_of(baselines.summary);
  if (const std::string lacks = lacks_boosting(o); !lacks.empty() && o.baseline_passes > 0)
    summary["not_compared"] = lacks;
  const bool searched = keep_best(setup, model, made.baselines, summary);
  const std::vector<LearnedValue> values = learned_values(setup, model);  // of the model that is saved
  summary["learned"] = learned_json(values);
  const Calibration calibration = calibrate(setup, model, made.folds, searched);
  const torch::Tensor test = calibration.apply(model.probabilities(setup.test()));
  summary["calibration"] = calibration.to_json();
  summary["metrics"]["test_calibrated"] = scores_json(test, classes_at(setup.data().classes, setup.test()));
  context.phases->begin(kReportPhase, "writing the report");
  save_model(context, o, *model.write_network(), setup.features(), {},
             {{"classes", setup.class_names()}, {"calibration", calibration.to_json()}});
  write_test_predictions(context, setup.data_files(), setup.test(), test, setup.class_names(),
                         classes_at(setup.data().classes, setup.test()), baselines.predictions);
  write_hyperparameters(setup.path("hyperparameters.tsv"), values);
  explain(setup, model, summary);
  for (const std::string& warning : passes.warnings()) setup.note(warning, /*say=*/false);
  summary["warnings"] = setup.notes();
  note_time(context, summary);
  write_tune_report(setup, values, summary, baselines.rivals);
  return finished(context, passes, summary, tune_text(setup, summary, baselines.rivals));
}

}  // namespace

JobEntry tune_entry() {
  return {.name = "tune",
          .summary = "learn the regularization of a classifier by gradient",
          .first_try = "--train rows.csv --label class",
          .score = "loss",
          .score_is_loss = true,
          .make =
              [] {
                return std::make_unique<JobInParts<TuneJobOptions, TuneSetup>>(run_tune, tune_work,
                                                                               kMostTuneParts);
              },
          .predict = predict_classes,
          .in_parts = true,
          .measure = JobMeasure{"/metrics/test/loss", "test loss", /*lower_is_better=*/true},
          .suggest = [](const DataDescription& d) -> std::optional<Suggestion> {
            if (d.classes.back().rows < 3) return std::nullopt;  // one for each part
            return Suggestion{"", "learn the regularization by gradient"};
          }};
}

}  // namespace bilevel
