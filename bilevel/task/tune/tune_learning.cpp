#include "bilevel/task/tune/tune_learning.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/streams.h"
#include "bilevel/core/tensor_json.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/tune/tune_search.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kEvaluations = 10;
constexpr int64_t kTuneFolds = 4;

Evaluation evaluate(const TuneSetup& setup, const TuneModel& model) {
  const ClassScores valid = setup.valid_scores(model);
  return {.score = -valid.loss,
          .standard_error = 0,  // the same rows measure every step: their noise is common to all
          .fields = {{"valid_loss", valid.loss},
                     {"valid_accuracy", valid.accuracy},
                     {"median_strength", model.strengths().median().item<double>()}}};
}

std::vector<Fold> validation_folds(const TuneSetup& setup) {
  return setup.cut_folds(setup.data().valid, kTuneFolds, setup.options().seed);
}

}  // namespace

Spent expected_passes(const TuneSetup& setup, Solver& method) {
  const TuneJobOptions& o = setup.options();
  const auto train = static_cast<int64_t>(setup.data().train.size());
  const auto& of_steps = solver_registry().at(o.solver).documented_calls;
  Spent expected{.learn = kEvaluations * setup.measurement()};
  if (of_steps) {
    expected.learn += passes_of({.steps = of_steps(method, setup.default_steps())},
                                std::min(*o.batch_size, train), setup.upper_rows(), train);
  }
  if (setup.convex())
    return {
        .start = setup.start_passes(), .learn = expected.learn, .finish = settling_passes(o.tune == "l2")};
  return expected;
}

Learned learn(const TuneSetup& setup, TuneModel& model, const Problem& problem, Solver& method,
              LearningPlan plan, Passes& passes, const Stretch& begin) {
  Learned learned;
  begin("start", "starting strength", &Spent::start);
  if (setup.convex()) {
    learned.spent.start = setup.start(model, plan.strength);
    learned.strength = std::exp(model.x()[0].item<double>());
  }
  begin("learn", "learning", &Spent::learn);
  plan.pass.schedule_steps = setup.default_steps();
  plan.pass.evaluations = kEvaluations;
  const auto choose = [&] { return evaluate(setup, model); };
  learned.outcome =
      plan.choose ? passes.run(plan.pass, problem, method, choose) : passes.run(plan.pass, problem, method);
  if (learned.outcome == nullptr) return learned;
  model.set_x(learned.outcome->upper);
  model.set_y(learned.outcome->lower);
  const auto train = static_cast<int64_t>(setup.data().train.size());
  learned.spent.learn = passes_of(passes.oracle_calls(), std::min(*setup.options().batch_size, train),
                                  setup.upper_rows(), train) +
                        static_cast<double>(kEvaluations) * static_cast<double>(model.data().valid.size()) /
                            static_cast<double>(train);
  begin("finish", "training at what was learned", &Spent::finish);
  if (!setup.convex()) return learned;
  learned.settled = settle(setup, model, learned.spent.finish);
  return learned;
}

std::vector<Part> folds(const TuneSetup& setup, Solver& method, const Learned& learned) {
  std::vector<Part> parts;
  if (setup.cross_fitted() || setup.validates_plenty()) return parts;  // every row is as good as held out
  if (static_cast<int64_t>(setup.data().valid.size()) < kTuneFolds * kFewRows) return parts;
  const Json steps =
      learned.outcome == nullptr ? Json(setup.default_steps()) : Json(learned.outcome->chosen_step);
  for (const Fold& fold : validation_folds(setup)) {
    if (fold.judged.empty() || fold.others.empty()) return {};  // few groups, or rows that are the same
    const size_t k = parts.size();
    parts.push_back({.name = fmt::format("fold-{}", k + 1),
                     .shown = fmt::format("calibration {} of {}", k + 1, kTuneFolds),
                     .request = {{"fold", k}, {"steps", steps}, {"strength", learned.strength}},
                     .cost = expected_passes(setup, method).all()});
  }
  return parts;
}

Json judge_fold(TuneSetup& setup, const Part& part) {
  const TuneJobOptions& o = setup.options();
  const auto [judged, others] = validation_folds(setup).at(part.request.at("fold").get<size_t>());
  const LearningPlan plan{.pass = {.name = part.name,
                                   .shown = part.shown,
                                   .steps = part.request.at("steps"),
                                   .max_seconds = o.seconds_allowed(),
                                   .seed = derive_seed(o.seed, part.name)},
                          .strength = part.request.at("strength").get<double>(),
                          .choose = false};
  TuneModel model = setup.model(plan.pass.seed, others);
  const std::unique_ptr<Solver> method = setup.solver(o.solver);
  assign(*method, o.set);
  Passes passes = setup.context().passes(part.name);
  const Spent expected = expected_passes(setup, *method);
  const Learned learned = learn(setup, model, setup.problem(model), *method, plan, passes,
                                [&](const char*, const char*, double Spent::*stretch) {
                                  setup.context().phases->stretch(expected.*stretch / expected.all());
                                });
  if (passes.reason() == StopReason::interrupted) throw Interrupted{passes.message()};
  Json answer = Json::object();
  if (learned.outcome != nullptr) answer["predicted"] = tensor_json(model.probabilities(judged));
  return answer;
}

Calibration calibration_of(const TuneSetup& setup, const TuneModel& model, const std::vector<Json>& answers) {
  std::vector<torch::Tensor> predicted;
  std::vector<int64_t> rows;
  const std::vector<Fold> folds = answers.empty() ? std::vector<Fold>() : validation_folds(setup);
  for (size_t k = 0; k < answers.size(); ++k) {
    const std::vector<int64_t>& judged = folds.at(k).judged;
    predicted.push_back(tensor_from(answers[k].at("predicted")));
    rows.insert(rows.end(), judged.begin(), judged.end());
  }
  if (answers.empty()) {
    rows = model.data().valid;
    predicted.push_back(model.held_out());
  }
  const torch::Tensor classes = classes_at(setup.data().classes, rows), p = torch::cat(predicted);
  if (setup.cross_fitted()) return fit_judged(p, classes, /*by_others=*/true, Given::frequencies);
  return fit_judged(p, classes, /*by_others=*/!answers.empty() || setup.validates_plenty());
}

}  // namespace bilevel
