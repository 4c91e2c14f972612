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
#include "bilevel/task/tune/tune_learning.h"
#include "bilevel/task/tune/tune_report.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostTuneParts = 100;  // at a time: two searches, at most 50 points each

/// In passes over the data, which the parts spend side by side.
void plan_phases(const TuneSetup& setup, Solver& method, double side_by_side) {
  const double baseline = setup.options().baseline_passes;
  const Spent expected = expected_passes(setup, method);
  for (const Part& fold : folds(setup, method, {})) setup.context().phases->plan({{fold.name, fold.cost}});
  setup.context().phases->plan({{"start", side_by_side * expected.start},
                                {"learn", side_by_side * expected.learn},
                                {"finish", side_by_side * expected.finish},
                                {"grid", baseline * expected.all()},
                                {"random", baseline * expected.all()},
                                {kReportPhase, side_by_side}});
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
  plan_phases(setup, method, side_by_side);
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

SearchOptions search_options(const TuneSetup& setup, const TuneModel& model, double passes) {
  const TuneJobOptions& o = setup.options();
  return {.passes = passes,
          .training = {.steps = setup.default_steps(),
                       .batch_size = *o.batch_size,
                       .step_size = kNetworkStep,
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

/// Searches with as many passes, at all points or at one; or judges a fold of the validation rows.
PartWork tune_work(TuneSetup& setup) {
  return [&setup, model = std::shared_ptr<TuneModel>()](const Part& part) mutable -> Json {
    if (part.request.contains("fold")) return judge_fold(setup, part);
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
    measured.update(difference_json(difference, /*lower_is_better=*/true));
    if (outcome.valid_loss < best) rival = {name, difference};
    best = std::min(best, outcome.valid_loss);
  }
  model.set_x(x);
  model.set_y(y);
  return rival;
}

/// What is made once the hyperparameters are learned.
struct Afterwards {
  std::vector<Json> folds;
  std::map<std::string, SearchOutcome> found;  // by grid and random search, with as many passes
};

Afterwards make_parts(const TuneSetup& setup, JobParts& all, Solver& method, const TuneModel& model,
                      const Learned& learned) {
  std::vector<Part> parts = folds(setup, method, learned);
  const size_t count = parts.size();
  const double allowed = setup.options().baseline_passes * learned.spent.all();
  if (allowed > 0) {
    for (const char* name : {"grid", "random"}) add_parts(setup, model, name, allowed, parts);
  }
  std::vector<Phase> phases{{"grid", 0}, {"random", 0}};  // made of the parts
  for (const Part& part : parts) phases.push_back({part.name, part.cost});
  setup.context().phases->plan(phases);
  Afterwards made;
  all.make(parts, [&](size_t i, const Json& answer) {
    if (i < count)
      made.folds.push_back(answer);
    else
      made.found[parts[i].request.at("search")].add(SearchOutcome::from_json(answer));
    return true;
  });
  if (std::ranges::any_of(made.folds, [](const Json& answer) { return answer.empty(); })) made.folds.clear();
  return made;
}

Calibration calibrate(TuneSetup& setup, const TuneModel& model, const std::vector<Json>& folds) {
  if (folds.empty()) {
    setup.note(
        "the probabilities are calibrated, by a temperature, on the validation rows that the hyperparameters "
        "were fitted to: there are "
        "too few of them (below 40), or of their groups, to judge each by hyperparameters that others chose; "
        "on new rows they may be "
        "too sure");
  }
  const Calibration calibration = calibration_of(setup, model, folds);
  setup.note(calibration.warning());
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
  const Learned learned = learn_all(setup, model, problem, *method, parts.side_by_side(), passes);
  if (learned.outcome == nullptr) return unfinished(context, o, passes);
  Json summary = summary_of(context, o, passes);
  summary["tune"] = o.tune;
  summary["best_step"] = learned.outcome->chosen_step;
  summary["metrics"] = {{"train", setup.scores(model, setup.data().train).to_json()},
                        {"valid", setup.scores(model, setup.data().valid).to_json()},
                        {"test", setup.scores(model, setup.test()).to_json()}};
  const Spent& spent = learned.spent;
  summary["passes"] = spent.all();
  summary["passes_apart"] = {{"start", spent.start}, {"learn", spent.learn}, {"finish", spent.finish}};
  const std::vector<LearnedValue> values = learned_values(setup, model);
  summary["learned"] = learned_json(values);
  summary["baselines"] = Json::object();
  Afterwards made;
  try {
    made = make_parts(setup, parts, *method, model, learned);
  } catch (const Interrupted&) {
    return interrupted(context, o, passes, "interrupted after the strengths were learned");
  }
  const std::optional<TuneRival> rival = measure_found(setup, model, made.found, summary["baselines"]);
  summary["verdict"] = verdicts_of(summary.at("baselines"));
  const Calibration calibration = calibrate(setup, model, made.folds);
  const torch::Tensor test = calibration.apply(model.probabilities(setup.test()));
  summary["calibration"] = calibration.to_json();
  summary["metrics"]["test_calibrated"] =
      class_scores(test, classes_at(setup.data().classes, setup.test())).to_json();
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
  return finished(context, passes, summary, tune_text(setup, summary, rival));
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
