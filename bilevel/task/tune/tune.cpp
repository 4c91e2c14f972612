// The job behind `bilevel tune`: regularization learned by gradient, with its baselines and its report.
//
// A run trains the weights at the starting strength (convex models), learns hyperparameters and weights together (pass
// "learn"), trains the weights at the learned hyperparameters (convex models), lets the baselines spend as many passes,
// and writes model, predictions.tsv, hyperparameters.tsv, explain.tsv, plots, report.html and summary.json. `predict` is
// `predict_classes`.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/tune/tune_report.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFinish = 30;  // evaluations of g that make the weights those of the learned strengths
constexpr int64_t kEvaluations = 10;
constexpr int64_t kMostTuneParts = 100;  // at a time: two searches, at most 50 points each

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

/// In passes over the data, which baselines spend side by side.
void plan_phases(const TuneSetup& setup, Solver& method, double side_by_side) {
  const TuneJobOptions& o = setup.options();
  const auto train = static_cast<int64_t>(setup.data().train.size());
  const auto& of_steps = solver_registry().at(o.solver).documented_calls;
  Spent expected{.learn = kEvaluations * setup.measurement()};
  if (of_steps) {
    expected.learn += passes_of({.steps = of_steps(method, setup.default_steps())},
                                std::min(*o.batch_size, train), setup.upper_rows(), train);
  }
  if (setup.convex()) expected = {.start = setup.start_passes(), .learn = expected.learn, .finish = kFinish};
  setup.context().phases->plan({{"start", side_by_side * expected.start},
                                {"learn", side_by_side * expected.learn},
                                {"finish", side_by_side * expected.finish},
                                {"grid", o.baseline_passes * expected.all()},
                                {"random", o.baseline_passes * expected.all()},
                                {kReportPhase, side_by_side}});
}

/// Learns hyperparameters and weights, which the model then has. Null when it came to no outcome.
const PassOutcome* learn(TuneSetup& setup, TuneModel& model, const Problem& problem, Solver& method,
                         double side_by_side, Passes& passes, Spent& spent) {
  const TuneJobOptions& o = setup.options();
  setup.note(out_of_theory(method, setup.traits(problem)));
  if (!setup.convex() && solver_registry().at(o.solver).lower_descends_upper) {
    setup.note(
        fmt::format("{} moves the weights down the validation loss too: the validation figures are those of "
                    "rows that were fitted",
                    o.solver));
  }
  Phases& phases = *setup.context().phases;
  plan_phases(setup, method, side_by_side);
  phases.begin("start", "starting strength");
  if (setup.convex()) spent.start = setup.start(model);
  phases.begin("learn", "learning");
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
  spent.learn = passes_of(passes.oracle_calls(), std::min(*o.batch_size, train), setup.upper_rows(), train) +
                static_cast<double>(kEvaluations) * static_cast<double>(setup.data().valid.size()) /
                    static_cast<double>(train);
  phases.begin("finish", "training at what was learned");
  if (setup.convex()) spent.finish = minimize_weights(model, kFinish);
  return learned;
}

SearchOptions search_options(const TuneSetup& setup, const TuneModel& model, double passes) {
  const TuneJobOptions& o = setup.options();
  return {.passes = passes,
          .training = {.steps = setup.default_steps(),
                       .batch_size = *o.batch_size,
                       .step_size = kNetworkStep,
                       .measurements = kEvaluations,
                       .seed = o.seed},
          .high = setup.convex() ? 1e2 : model.strength_range().second,
          .seed = o.seed,
          .interrupt = setup.context().callbacks.interrupt,
          .advance = [&setup](double share) { setup.context().phases->advance(share); }};
}

std::vector<torch::Tensor> candidates_of(const std::string& name, const TuneModel& model,
                                         const TuneData& data, const SearchOptions& options) {
  return name == "grid" ? grid_candidates(model, data, options) : random_candidates(model, data, options);
}

/// Searches with as many passes, at all points or at one.
PartWork tune_work(TuneSetup& setup) {
  return [&setup, model = std::shared_ptr<TuneModel>()](const Part& part) mutable {
    if (!model) model = std::make_shared<TuneModel>(setup.model(setup.options().seed));
    const Json& request = part.request;
    const SearchOptions options = search_options(setup, *model, request.at("passes"));
    std::vector<torch::Tensor> points = candidates_of(request.at("search"), *model, setup.data(), options);
    if (!request.at("point").is_null()) points = {points.at(request.at("point"))};
    const SearchOutcome found = search(*model, setup.data(), options, points);
    if (found.interrupted) throw Interrupted{};
    return found.to_json();
  };
}

/// Of a search that follows its points one part, else one for each point.
void add_parts(const TuneSetup& setup, const TuneModel& model, const std::string& name, double passes,
               std::vector<Part>& parts) {
  const SearchOptions options = search_options(setup, model, passes);
  const int64_t points = search_points(model, options, setup.data().train.size(), setup.data().valid.size());
  Part part{.name = name,
            .shown = fmt::format("{} search with {:.0f} passes", name, passes),
            .request = {{"search", name}, {"passes", passes}, {"point", nullptr}},
            .cost = passes};
  if (setup.convex()) parts.push_back(part);
  part.cost = passes / static_cast<double>(points);
  for (int64_t i = 0; !setup.convex() && i < points; ++i) {
    part.name = fmt::format("{}-{}", name, i + 1);
    part.shown = fmt::format("{} search with {:.0f} passes, point {} of {}", name, passes, i + 1, points);
    part.request["point"] = i;
    parts.push_back(part);
  }
}

torch::Tensor test_losses(const TuneSetup& setup, const TuneModel& model) {
  return class_losses(model.probabilities(setup.test()), classes_at(setup.data().classes, setup.test()));
}

/// Measures what a search found.
Json baseline_json(const TuneSetup& setup, TuneModel& model, const SearchOutcome& found) {
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

/// What was found, measured, into the summary; which of it the validation rows prefer. The model is then what it was.
std::optional<TuneRival> measure_found(const TuneSetup& setup, TuneModel& model,
                                       const std::map<std::string, SearchOutcome>& found, Json& summary) {
  const torch::Tensor x = model.x().detach().clone(), y = model.flat_y(), learned = test_losses(setup, model);
  std::optional<TuneRival> rival;
  double best = std::numeric_limits<double>::infinity();
  for (const auto& [name, outcome] : found) {
    Json& measured = summary[name] = baseline_json(setup, model, outcome);
    if (!outcome.x.defined()) continue;
    const PairedDifference difference = paired_difference(learned, test_losses(setup, model));
    measured.update(difference_json(difference));
    if (outcome.valid_loss < best) rival = {name, difference};
    best = std::min(best, outcome.valid_loss);
  }
  model.set_x(x);
  model.set_y(y);
  return rival;
}

/// What grid and random search find with as many passes.
std::optional<TuneRival> measure_baselines(const TuneSetup& setup, JobParts& all, TuneModel& model,
                                           double passes, Json& summary) {
  std::vector<Part> parts;
  for (const char* name : {"grid", "random"}) add_parts(setup, model, name, passes, parts);
  std::vector<Phase> phases{{"grid", 0}, {"random", 0}};  // made of the parts
  for (const Part& part : parts) phases.push_back({part.name, part.cost});
  setup.context().phases->plan(phases);
  std::map<std::string, SearchOutcome> found;
  all.make(parts, [&](size_t i, const Json& answer) {
    found[parts[i].request.at("search")].add(SearchOutcome::from_json(answer));
    return true;
  });
  return measure_found(setup, model, found, summary);
}

/// By the validation rows; it and what it makes of the test rows go into the summary.
Calibration calibrate(const TuneSetup& setup, const TuneModel& model, Json& summary) {
  const auto classes = [&](const std::vector<int64_t>& rows) {
    return classes_at(setup.data().classes, rows);
  };
  const std::vector<int64_t>& valid = setup.data().valid;
  const Calibration calibration = fit_temperature(model.probabilities(valid), classes(valid));
  summary["calibration"] = calibration.to_json();
  summary["metrics"]["test_calibrated"] =
      class_scores(calibration.apply(model.probabilities(setup.test())), classes(setup.test())).to_json();
  return calibration;
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
  Spent spent;
  const PassOutcome* learned = learn(setup, model, problem, *method, parts.side_by_side(), passes, spent);
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
  const Calibration calibration = calibrate(setup, model, summary);
  const torch::Tensor test = calibration.apply(model.probabilities(setup.test()));
  summary["baselines"] = Json::object();
  std::optional<TuneRival> rival;
  try {
    if (const double share = o.baseline_passes; share > 0)
      rival = measure_baselines(setup, parts, model, share * spent.all(), summary["baselines"]);
  } catch (const Interrupted&) {
    return interrupted(context, o, passes, "interrupted while the baselines were searched");
  }
  context.phases->begin(kReportPhase, "writing the report");
  save_model(context, o, *model.write_network(), setup.features(), {},
             {{"classes", setup.class_names()}, {"calibration", calibration.to_json()}});
  write_test_predictions(context, setup.data_files(), setup.test(), test, setup.class_names(),
                         classes_at(setup.data().classes, setup.test()));
  write_hyperparameters(setup.path("hyperparameters.tsv"), values);
  explain_model(context,
                {.network = *model.write_network(),
                 .inputs = setup.data().inputs,
                 .rows = setup.data().train,
                 .input_names = explained_names(setup.features(), setup.data_files(), setup.data().train),
                 .outputs = setup.class_names(),
                 .device = o.torch_device()},
                summary);
  for (const std::string& warning : passes.warnings()) setup.note(warning, /*say=*/false);
  summary["warnings"] = setup.notes();
  note_time(context, summary);
  write_tune_report(setup, values, summary, rival);
  return finished(context, passes, summary, tune_text(setup, summary));
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
          .suggest = [](const DataDescription& d) -> std::optional<Suggestion> {
            if (d.classes.back().rows < 3) return std::nullopt;  // one for each part
            return Suggestion{"", "learn the regularization by gradient"};
          }};
}

}  // namespace bilevel
