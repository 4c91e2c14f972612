// The job behind `bilevel tune`: regularization learned by gradient, with its baselines and its report.
//
// A run trains the weights at the starting strength (convex models), learns hyperparameters and weights together (pass
// "learn"), trains the weights at the learned hyperparameters (convex models), lets the baselines spend as many passes,
// and writes model, predictions.tsv, hyperparameters.tsv, plots, report.html and summary.json. `predict` is
// `predict_classes`.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/tune/tune_report.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFinish = 30;  // evaluations of g that make the weights those of the learned strengths
constexpr int64_t kEvaluations = 10;

/// Passes over the data.
struct Spent {
  double start = 0, learn = 0, finish = 0;
  double all() const { return start + learn + finish; }
};

Evaluation evaluate(const TuneSetup& setup, const TuneModel& model) {
  const ClassScores valid = setup.scores(model, setup.data().valid);
  return {.score = -valid.loss,
          .standard_error = 0,  // the same rows measure every step: their noise is common to all
          .fields = {{"valid_loss", valid.loss},
                     {"valid_accuracy", valid.accuracy},
                     {"median_strength", model.strengths().median().item<double>()}}};
}

/// Learns hyperparameters and weights, which the model then has. Null when it came to no outcome.
const PassOutcome* learn(TuneSetup& setup, TuneModel& model, const Problem& problem, Solver& method,
                         Passes& passes, Spent& spent) {
  const TuneJobOptions& o = setup.options();
  setup.note(out_of_theory(method, setup.traits(problem)));
  if (!setup.convex() && solver_registry().at(o.solver).lower_descends_upper) {
    setup.note(
        fmt::format("{} moves the weights down the validation loss too: the validation figures are those of "
                    "rows that were fitted",
                    o.solver));
  }
  if (setup.convex()) spent.start = setup.start(model);
  const PassOutcome* learned = passes.run({.name = "learn",
                                           .shown = "learning",
                                           .steps = setup.default_steps(),
                                           .evaluations = kEvaluations,
                                           .max_seconds = o.seconds_allowed(),
                                           .seed = o.seed},
                                          problem, method, [&] { return evaluate(setup, model); });
  if (learned == nullptr) return nullptr;
  model.set_x(learned->upper);
  model.set_y(learned->lower);
  const auto train = static_cast<int64_t>(setup.data().train.size());
  spent.learn =
      passes_of(passes.oracle_calls(), std::min(*o.batch_size, train),
                std::min(*o.upper_batch_size, static_cast<int64_t>(setup.data().valid.size())), train) +
      static_cast<double>(kEvaluations) * static_cast<double>(setup.data().valid.size()) /
          static_cast<double>(train);
  if (setup.convex()) spent.finish = minimize_weights(model, kFinish);
  return learned;
}

/// Searches, and measures what it found; null when interrupted.
Json baseline(const TuneSetup& setup, TuneModel& model, const std::string& name, double passes) {
  const TuneJobOptions& o = setup.options();
  const SearchOptions options{.passes = passes,
                              .training = {.steps = setup.default_steps(),
                                           .batch_size = *o.batch_size,
                                           .step_size = kNetworkStep,
                                           .measurements = kEvaluations,
                                           .seed = o.seed},
                              .high = setup.convex() ? 1e2 : model.strength_range().second,
                              .seed = o.seed,
                              .interrupt = setup.context().callbacks.interrupt};
  const SearchOutcome found = name == "grid" ? grid_search(model, setup.data(), options)
                                             : random_search(model, setup.data(), options);
  if (found.interrupted) return nullptr;
  const Json nothing{{"loss", nullptr}, {"accuracy", nullptr}};
  Json result{{"valid", nothing}, {"test", nothing}};
  if (found.x.defined()) {  // some point gave a finite loss
    model.set_x(found.x);
    model.set_y(found.y);
    result = {{"valid", setup.scores(model, setup.data().valid).to_json()},
              {"test", setup.scores(model, setup.test()).to_json()},
              {"strength", found.strength}};
  }
  result["points"] = found.points;
  result["passes"] = found.passes;
  return result;
}

/// What grid and random search find with as many passes; the model is then what it was. False when interrupted.
bool measure_baselines(const TuneSetup& setup, TuneModel& model, double passes, Json& baselines) {
  const torch::Tensor x = model.x().detach().clone(), y = model.flat_y();
  for (const char* name : {"grid", "random"}) {
    setup.context().say(fmt::format("{} search with {:.0f} passes", name, passes));
    const Json found = baseline(setup, model, name, passes);
    if (found.is_null()) return false;
    baselines[name] = found;
  }
  model.set_x(x);
  model.set_y(y);
  return true;
}

JobResult run_tune(TuneSetup& setup) {
  const TuneJobOptions& o = setup.options();
  const JobContext& context = setup.context();
  TuneModel model = setup.model(o.seed);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  const Problem problem = setup.problem(model);
  { Oracles(problem, o.seed); }  // what is impossible is refused before there is a folder

  const FolderLock lock = context.open(o, setup.files());
  Passes passes = context.passes();
  Spent spent;
  const PassOutcome* learned = learn(setup, model, problem, *method, passes, spent);
  if (learned == nullptr) return unfinished(context, o, passes);
  Json summary = summary_of(context, o, passes);
  summary["tune"] = o.tune;
  summary["best_step"] = learned->chosen_step;
  summary["metrics"] = {{"train", setup.scores(model, setup.data().train).to_json()},
                        {"valid", setup.scores(model, setup.data().valid).to_json()},
                        {"test", setup.scores(model, setup.test()).to_json()}};
  summary["passes"] = spent.all();
  summary["passes_apart"] = {{"start", spent.start}, {"learn", spent.learn}, {"finish", spent.finish}};
  const std::vector<LearnedValue> values = learned_values(setup, model);
  summary["learned"] = learned_json(values);
  const torch::Tensor test = model.probabilities(setup.test());
  summary["baselines"] = Json::object();
  if (const double share = o.baseline_passes;
      share > 0 && !measure_baselines(setup, model, share * spent.all(), summary["baselines"]))
    return interrupted(context, o, passes, "interrupted while the baselines were searched");
  save_model(context, o, *model.write_network(), setup.features(), {}, {{"classes", setup.class_names()}});
  write_test_predictions(context, setup.data_files(), setup.test(), test, setup.class_names(),
                         classes_at(setup.data().classes, setup.test()));
  write_hyperparameters(setup.path("hyperparameters.tsv"), values);
  for (const std::string& warning : passes.warnings()) setup.note(warning, /*say=*/false);
  write_tune_report(setup, values, summary);
  return finished(context, passes, summary, tune_text(setup, summary));
}

}  // namespace

JobEntry tune_entry() {
  return {.name = "tune",
          .summary = "learn the regularization of a classifier by gradient",
          .first_try = "--train rows.csv --label class",
          .score = "loss",
          .score_is_loss = true,
          .make = [] { return std::make_unique<JobOf<TuneJobOptions, TuneSetup>>(run_tune); },
          .predict = predict_classes,
          .suggest =
              [](const DataDescription&) {
                return Suggestion{"", "learn the regularization by gradient"};
              }};
}

}  // namespace bilevel
